/* Calls that must come from the event loop and never from inside the function that caused them: a
 * completion of something that failed (or was done) at once; and calls that are better made once
 * for all that one turn of the loop brings: bytes to write, records to sync. The storage is the
 * owner's, so that deferring cannot fail. */
#ifndef ATHD_DEFERRED_H
#define ATHD_DEFERRED_H

#include <stdbool.h>

#include <uv.h>

#include "ath/err.h"

struct deferred {
    void (*run)(void *ctx);
    void *ctx;
    struct deferred *next;
    struct deferred_list *list; /* it waits in */
    bool waiting;
};

/* Tells `done` (cast back to what it is) of a failure. */
typedef void deferred_fail_fn(void (*done)(void), void *ctx, ath_err err);

#define DEFERRED_SPARES 64

struct deferred_list {
    struct deferred *first, *last;
    size_t count;
};

struct deferred_queue {
    uv_idle_t idle;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    struct deferred_list next_turn, turn_end;
    /* for those whose storage could not be allocated */
    struct deferred_spare {
        struct deferred deferred;
        deferred_fail_fn *call;
        void (*done)(void);
        void *ctx;
        ath_err err;
        bool is_on_heap;
    } spares[DEFERRED_SPARES];
};

/* ATH_ERR_NOMEM. */
ath_err deferred_queue_init(struct deferred_queue *queue, uv_loop_t *loop) ATH_MUST_USE;
void deferred_queue_close(struct deferred_queue *queue);

/* run(ctx) at the loop's next turn; `deferred` must live until then and must not be waiting. */
void deferred_add(struct deferred_queue *queue, struct deferred *deferred, void (*run)(void *ctx),
                  void *ctx);
/* run(ctx) when this turn of the loop has no more to do, before it waits again; also when all comes
 * from outside of a turn. */
void deferred_add_at_end(struct deferred_queue *queue, struct deferred *deferred,
                         void (*run)(void *ctx), void *ctx);
/* call(done, ctx, err) at the loop's next turn, for what failed before it had storage. When there
 * is no memory and all spares wait, nobody could be told of it, and the process ends (abort). */
void deferred_fail(struct deferred_queue *queue, deferred_fail_fn *call, void (*done)(void),
                   void *ctx, ath_err err);
/* It will not be run; fine if it was not waiting. */
void deferred_remove(struct deferred_queue *queue, struct deferred *deferred);

#endif
