#include "athd/deferred.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

static void
on_idle(uv_idle_t *idle)
{
    struct deferred_queue *queue = idle->data;
    size_t count = queue->count;
    struct deferred *deferred;

    /* what is added meanwhile waits for the next turn, so that sockets get theirs */
    for (; count > 0 && (deferred = queue->first) != NULL; count--) {
        deferred_remove(queue, deferred);
        deferred->run(deferred->ctx);
    }
}

ath_err
deferred_queue_init(struct deferred_queue *queue, uv_loop_t *loop)
{
    *queue = (struct deferred_queue){0};
    if (uv_idle_init(loop, &queue->idle) != 0)
        return ATH_ERR_NOMEM;
    queue->idle.data = queue;
    return ATH_OK;
}

void
deferred_queue_close(struct deferred_queue *queue)
{
    if (!uv_is_closing((uv_handle_t *)&queue->idle))
        uv_close((uv_handle_t *)&queue->idle, NULL);
}

void
deferred_add(struct deferred_queue *queue, struct deferred *deferred, void (*run)(void *ctx),
             void *ctx)
{
    assert(!deferred->waiting);
    *deferred = (struct deferred){run, ctx, NULL, true};
    if (queue->last == NULL)
        queue->first = deferred;
    else
        queue->last->next = deferred;
    queue->last = deferred;
    queue->count++;
    uv_idle_start(&queue->idle, on_idle);
}

void
deferred_remove(struct deferred_queue *queue, struct deferred *deferred)
{
    struct deferred **link = &queue->first, *before = NULL;

    if (!deferred->waiting)
        return;
    while (*link != NULL && *link != deferred) {
        before = *link;
        link = &before->next;
    }
    assert(*link == deferred);
    *link = deferred->next;
    if (queue->last == deferred)
        queue->last = before;
    deferred->waiting = false;
    queue->count--;
    if (queue->first == NULL)
        uv_idle_stop(&queue->idle);
}

static void
run_spare(void *ctx)
{
    struct deferred_spare *waiting = ctx, spare = *waiting;

    if (spare.is_on_heap)
        free(waiting);
    spare.call(spare.done, spare.ctx, spare.err);
}

/* A caller can make any number of requests fail in one turn: the spares are only for when there is
 * no memory. */
static struct deferred_spare *
spare_of(struct deferred_queue *queue)
{
    struct deferred_spare *spare = calloc(1, sizeof(*spare));
    size_t i;

    if (spare != NULL) {
        spare->is_on_heap = true;
        return spare;
    }
    for (i = 0; i < DEFERRED_SPARES && queue->spares[i].deferred.waiting; i++)
        ;
    if (i == DEFERRED_SPARES)
        abort();
    return &queue->spares[i];
}

void
deferred_fail(struct deferred_queue *queue, deferred_fail_fn *call, void (*done)(void), void *ctx,
              ath_err err)
{
    struct deferred_spare *spare = spare_of(queue);

    spare->call = call;
    spare->done = done;
    spare->ctx = ctx;
    spare->err = err;
    deferred_add(queue, &spare->deferred, run_spare, spare);
}
