#include "athd/deferred.h"

#include <assert.h>
#include <stddef.h>

static void
on_idle(uv_idle_t *idle)
{
    struct deferred_queue *queue = idle->data;
    struct deferred *last = queue->last, *deferred;

    /* what is added meanwhile waits for the next turn, so that sockets get theirs */
    do {
        if ((deferred = queue->first) == NULL)
            break;
        deferred_remove(queue, deferred);
        deferred->run(deferred->ctx);
    } while (deferred != last);
}

ath_err
deferred_queue_init(struct deferred_queue *queue, uv_loop_t *loop)
{
    queue->first = queue->last = NULL;
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
    if (queue->first == NULL)
        uv_idle_stop(&queue->idle);
}
