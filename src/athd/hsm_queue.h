/*
 * The order in which jobs reach an hsm: urgent before normal before late, and within each one job
 * of every caller in turn, whoever has queued how many. So that no stream of normal ones stops the
 * late ones for good, every fourth of both together is late while some wait; and of all together
 * every eighth is one of these, so that nobody's urgent ones stop others'. Never allocates: the items
 * are the queue.
 */
#ifndef ATHD_HSM_QUEUE_H
#define ATHD_HSM_QUEUE_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stdint.h>

#define HSM_QUEUE_PRIORITIES 3

/* Embedded in a job. The first item of a caller heads the caller's lane; the rest hang on it. */
struct hsm_queue_item {
    uint64_t identity;
    unsigned priority; /* below HSM_QUEUE_PRIORITIES; 0 goes first */

    /* private */
    bool is_head;
    TAILQ_ENTRY(hsm_queue_item) entry;                    /* of heads, or of the lane */
    TAILQ_HEAD(hsm_queue_lane, hsm_queue_item) followers; /* of a head */
    struct hsm_queue_item *head;                          /* of a follower */
    unsigned lane_len;                                    /* of a head: with itself */
};

struct hsm_queue {
    TAILQ_HEAD(hsm_queue_heads, hsm_queue_item) heads[HSM_QUEUE_PRIORITIES];
    unsigned len;
    unsigned passed;        /* normal ones that went since a late one waited */
    unsigned urgent_passed; /* urgent ones that went while others waited */
};

void hsm_queue_init(struct hsm_queue *queue);
/* identity and priority are set by the caller. */
void hsm_queue_push(struct hsm_queue *queue, struct hsm_queue_item *item);
/* Before everything of its priority: for work that was taken before and has to be done again. */
void hsm_queue_push_front(struct hsm_queue *queue, struct hsm_queue_item *item);
struct hsm_queue_item *hsm_queue_pop(struct hsm_queue *queue); /* NULL: empty */
/* The first of the most urgent; it stays. NULL: empty. */
struct hsm_queue_item *hsm_queue_first(const struct hsm_queue *queue);
void hsm_queue_remove(struct hsm_queue *queue, struct hsm_queue_item *item);
unsigned hsm_queue_len_of(const struct hsm_queue *queue, uint64_t identity);
/* How many go before a late one that this caller pushes now, at most. */
unsigned hsm_queue_ahead_of_late(const struct hsm_queue *queue, uint64_t identity);
/* Calls each item in no order; `each` may remove that item. */
void hsm_queue_each(struct hsm_queue *queue, void (*each)(void *ctx, struct hsm_queue_item *item),
                    void *ctx);

#endif
