/* Durable writes of small state files, on libuv's thread pool, so that the loop never waits for a
 * disk. Writes to one path keep their order. */
#ifndef ATHD_STORE_H
#define ATHD_STORE_H

#include <sys/queue.h>

#include "base/buf.h"
#include "base/why.h"

struct athd;
struct store_operation;

/* Writes that are not done yet, in the order they came. */
struct store_queue {
    TAILQ_HEAD(store_operations, store_operation) operations;
    unsigned len; /* all of them, those that run included */
    unsigned running;
};

void store_queue_init(struct store_queue *queue);
bool store_queue_is_empty(const struct store_queue *queue);

typedef void store_done_fn(void *ctx, ath_err err, const struct why *why);

/* file_replace(path, content) off the loop; content is taken (emptied; its .err is the call's
 * failure). done from the loop, never from inside this call; NULL: nobody waits. The write is
 * carried out even if the caller has gone. */
void store_replace(struct athd *athd, const char *path, struct ath_buf *taken_content,
                   store_done_fn *done, void *ctx);
void store_remove(struct athd *athd, const char *path, store_done_fn *done, void *ctx);
/* Two files, the second only if the first succeeded (NAME.pem, then NAME.json). */
void store_replace_two(struct athd *athd, const char *first_path, struct ath_buf *taken_first,
                       const char *second_path, struct ath_buf *taken_second, store_done_fn *done,
                       void *ctx);
/* Removes the first, then the second (missing ones are fine). */
void store_remove_two(struct athd *athd, const char *first_path, const char *second_path,
                      store_done_fn *done, void *ctx);

#endif
