#include "athd/hsm_queue.h"

#include <limits.h>
#include <stddef.h>

#define URGENT 0
#define NORMAL 1
#define LATE 2
#define PASSED_MAX 3u
#define URGENT_PASSED_MAX 7u

void
hsm_queue_init(struct hsm_queue *queue)
{
    unsigned i;

    for (i = 0; i < HSM_QUEUE_PRIORITIES; i++)
        TAILQ_INIT(&queue->heads[i]);
    queue->len = queue->passed = queue->urgent_passed = 0;
}

static struct hsm_queue_item *
find_head(const struct hsm_queue *queue, unsigned priority, uint64_t identity)
{
    struct hsm_queue_item *head;

    TAILQ_FOREACH (head, &queue->heads[priority], entry)
        if (head->identity == identity)
            return head;
    return NULL;
}

static void
become_head(struct hsm_queue_item *item)
{
    item->is_head = true;
    item->head = NULL;
    item->lane_len = 1;
    TAILQ_INIT(&item->followers);
}

void
hsm_queue_push(struct hsm_queue *queue, struct hsm_queue_item *item)
{
    struct hsm_queue_item *head = find_head(queue, item->priority, item->identity);

    queue->len++;
    if (head == NULL) {
        become_head(item);
        TAILQ_INSERT_TAIL(&queue->heads[item->priority], item, entry);
        return;
    }
    item->is_head = false;
    item->head = head;
    head->lane_len++;
    TAILQ_INSERT_TAIL(&head->followers, item, entry);
}

/* The lane's next item takes the head's office (not yet its place among the heads). NULL: none. */
static struct hsm_queue_item *
promote_follower(struct hsm_queue_item *head)
{
    struct hsm_queue_item *next = TAILQ_FIRST(&head->followers), *follower;

    if (next == NULL)
        return NULL;
    TAILQ_REMOVE(&head->followers, next, entry);
    become_head(next);
    TAILQ_CONCAT(&next->followers, &head->followers, entry);
    next->lane_len = head->lane_len - 1;
    TAILQ_FOREACH (follower, &next->followers, entry)
        follower->head = next;
    return next;
}

void
hsm_queue_push_front(struct hsm_queue *queue, struct hsm_queue_item *item)
{
    struct hsm_queue_item *old = find_head(queue, item->priority, item->identity), *follower;

    queue->len++;
    become_head(item);
    if (old != NULL) {
        TAILQ_REMOVE(&queue->heads[item->priority], old, entry);
        TAILQ_CONCAT(&item->followers, &old->followers, entry);
        TAILQ_INSERT_HEAD(&item->followers, old, entry);
        item->lane_len = old->lane_len + 1;
        old->is_head = false;
        TAILQ_FOREACH (follower, &item->followers, entry)
            follower->head = item;
    }
    TAILQ_INSERT_HEAD(&queue->heads[item->priority], item, entry);
}

/* Whose turn it is. */
static unsigned
choose_priority(struct hsm_queue *queue)
{
    bool has_normal = !TAILQ_EMPTY(&queue->heads[NORMAL]);
    bool has_late = !TAILQ_EMPTY(&queue->heads[LATE]);

    if (!TAILQ_EMPTY(&queue->heads[URGENT]) &&
        (!(has_normal || has_late) || queue->urgent_passed < URGENT_PASSED_MAX)) {
        queue->urgent_passed += has_normal || has_late;
        return URGENT;
    }
    queue->urgent_passed = 0;
    if (has_late && (!has_normal || queue->passed >= PASSED_MAX)) {
        queue->passed = 0;
        return LATE;
    }
    queue->passed += has_late;
    return NORMAL;
}

struct hsm_queue_item *
hsm_queue_pop(struct hsm_queue *queue)
{
    struct hsm_queue_item *item = TAILQ_FIRST(&queue->heads[choose_priority(queue)]), *next;

    if (item == NULL)
        return NULL;
    TAILQ_REMOVE(&queue->heads[item->priority], item, entry);
    if ((next = promote_follower(item)) != NULL)
        TAILQ_INSERT_TAIL(&queue->heads[item->priority], next, entry);
    queue->len--;
    return item;
}

struct hsm_queue_item *
hsm_queue_first(const struct hsm_queue *queue)
{
    unsigned i;

    for (i = 0; i < HSM_QUEUE_PRIORITIES; i++)
        if (!TAILQ_EMPTY(&queue->heads[i]))
            return TAILQ_FIRST(&queue->heads[i]);
    return NULL;
}

void
hsm_queue_remove(struct hsm_queue *queue, struct hsm_queue_item *item)
{
    struct hsm_queue_item *next;

    queue->len--;
    if (!item->is_head) {
        TAILQ_REMOVE(&item->head->followers, item, entry);
        item->head->lane_len--;
        return;
    }
    if ((next = promote_follower(item)) != NULL)
        TAILQ_INSERT_AFTER(&queue->heads[item->priority], item, next, entry);
    TAILQ_REMOVE(&queue->heads[item->priority], item, entry);
}

unsigned
hsm_queue_len_of(const struct hsm_queue *queue, uint64_t identity)
{
    unsigned i, len = 0;

    for (i = 0; i < HSM_QUEUE_PRIORITIES; i++) {
        const struct hsm_queue_item *head = find_head(queue, i, identity);

        len += head == NULL ? 0 : head->lane_len;
    }
    return len;
}

/* Of this priority, no more than `most` of a lane; of all lanes but one (NULL: of all). */
static unsigned
count_lanes(const struct hsm_queue *queue, unsigned priority, unsigned most,
            const struct hsm_queue_item *but)
{
    const struct hsm_queue_item *head;
    unsigned count = 0;

    TAILQ_FOREACH (head, &queue->heads[priority], entry)
        if (head != but)
            count += head->lane_len < most ? head->lane_len : most;
    return count;
}

unsigned
hsm_queue_ahead_of_late(const struct hsm_queue *queue, uint64_t identity)
{
    const struct hsm_queue_item *own = find_head(queue, LATE, identity);
    unsigned mine = own == NULL ? 0 : own->lane_len;
    unsigned late = mine + count_lanes(queue, LATE, mine + 1, own);
    unsigned normal = count_lanes(queue, NORMAL, UINT_MAX, NULL);
    unsigned urgent = count_lanes(queue, URGENT, UINT_MAX, NULL);

    normal = normal < PASSED_MAX * (late + 1) ? normal : PASSED_MAX * (late + 1);
    late += normal;
    return late + (urgent < URGENT_PASSED_MAX * (late + 1) ? urgent : URGENT_PASSED_MAX * (late + 1));
}

static void
each_of_lane(struct hsm_queue_item *head, void (*each)(void *ctx, struct hsm_queue_item *item),
             void *ctx)
{
    struct hsm_queue_item *item = TAILQ_FIRST(&head->followers), *next;

    for (; item != NULL; item = next) {
        next = TAILQ_NEXT(item, entry);
        each(ctx, item);
    }
    each(ctx, head); /* last: removed, it makes one of the others the head */
}

void
hsm_queue_each(struct hsm_queue *queue, void (*each)(void *ctx, struct hsm_queue_item *item),
               void *ctx)
{
    struct hsm_queue_item *head, *next;
    unsigned i;

    for (i = 0; i < HSM_QUEUE_PRIORITIES; i++) {
        for (head = TAILQ_FIRST(&queue->heads[i]); head != NULL; head = next) {
            next = TAILQ_NEXT(head, entry);
            each_of_lane(head, each, ctx);
        }
    }
}
