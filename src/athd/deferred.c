#include "athd/deferred.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

/* Runs the first `count` of them. */
static void
run_some(struct deferred_queue *queue, struct deferred_list *list, size_t count)
{
    struct deferred *deferred;

    for (; count > 0 && (deferred = list->first) != NULL; count--) {
        deferred_remove(queue, deferred);
        deferred->run(deferred->ctx);
    }
}

static void
on_idle(uv_idle_t *idle)
{
    struct deferred_queue *queue = idle->data;

    /* what is added meanwhile waits for the next turn, so that sockets get theirs */
    run_some(queue, &queue->next_turn, queue->next_turn.count);
}

/* What is added meanwhile is at the end of this turn, too. */
static void
run_turn_end(struct deferred_queue *queue)
{
    while (queue->turn_end.count > 0)
        run_some(queue, &queue->turn_end, queue->turn_end.count);
}

static void
on_before_poll(uv_prepare_t *prepare)
{
    run_turn_end(prepare->data);
}

static void
on_after_poll(uv_check_t *check)
{
    run_turn_end(check->data);
}

ath_err
deferred_queue_init(struct deferred_queue *queue, uv_loop_t *loop)
{
    *queue = (struct deferred_queue){0};
    if (uv_idle_init(loop, &queue->idle) != 0 || uv_prepare_init(loop, &queue->before_poll) != 0 ||
        uv_check_init(loop, &queue->after_poll) != 0)
        return ATH_ERR_NOMEM;
    queue->idle.data = queue->before_poll.data = queue->after_poll.data = queue;
    return ATH_OK;
}

void
deferred_queue_close(struct deferred_queue *queue)
{
    if (uv_is_closing((uv_handle_t *)&queue->idle))
        return;
    uv_close((uv_handle_t *)&queue->idle, NULL);
    uv_close((uv_handle_t *)&queue->before_poll, NULL);
    uv_close((uv_handle_t *)&queue->after_poll, NULL);
}

static void
add(struct deferred_list *list, struct deferred *deferred, void (*run)(void *ctx), void *ctx)
{
    assert(!deferred->waiting);
    *deferred = (struct deferred){run, ctx, NULL, list, true};
    if (list->last == NULL)
        list->first = deferred;
    else
        list->last->next = deferred;
    list->last = deferred;
    list->count++;
}

void
deferred_add(struct deferred_queue *queue, struct deferred *deferred, void (*run)(void *ctx),
             void *ctx)
{
    add(&queue->next_turn, deferred, run, ctx);
    uv_idle_start(&queue->idle, on_idle);
}

/* A turn has two ends: before it waits, for what timers and on_idle brought, and after, for what
 * the sockets did. */
void
deferred_add_at_end(struct deferred_queue *queue, struct deferred *deferred, void (*run)(void *ctx),
                    void *ctx)
{
    add(&queue->turn_end, deferred, run, ctx);
    uv_prepare_start(&queue->before_poll, on_before_poll);
    uv_check_start(&queue->after_poll, on_after_poll);
}

void
deferred_remove(struct deferred_queue *queue, struct deferred *deferred)
{
    struct deferred_list *list = deferred->list;
    struct deferred **link, *before = NULL;

    if (!deferred->waiting)
        return;
    for (link = &list->first; *link != NULL && *link != deferred; link = &before->next)
        before = *link;
    assert(*link == deferred);
    *link = deferred->next;
    if (list->last == deferred)
        list->last = before;
    deferred->waiting = false;
    list->count--;
    if (queue->next_turn.first == NULL)
        uv_idle_stop(&queue->idle);
    if (queue->turn_end.first == NULL) {
        uv_prepare_stop(&queue->before_poll);
        uv_check_stop(&queue->after_poll);
    }
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
