#include "athd/wall_timer.h"

#include <stdlib.h>

#include "base/clock.h"

#define WAIT_MAX_S 60

struct wall_timer {
    uv_timer_t handle; /* the first, so that its address is ours; its data: due's ctx */
    int64_t at;        /* WALL_TIMER_NEVER: not set */
    void (*due)(void *ctx);
};

ath_err
wall_timer_new(uv_loop_t *loop, void (*due)(void *ctx), void *ctx, struct wall_timer **ret_timer)
{
    struct wall_timer *timer = calloc(1, sizeof(*timer));

    if (timer == NULL)
        return ATH_ERR_NOMEM;
    (void)uv_timer_init(loop, &timer->handle); /* only fills the handle in (libuv 1.44) */
    timer->handle.data = ctx;
    timer->at = WALL_TIMER_NEVER;
    timer->due = due;
    *ret_timer = timer;
    return ATH_OK;
}

static void
on_closed(uv_handle_t *handle)
{
    free(handle);
}

void
wall_timer_free(struct wall_timer *timer)
{
    if (timer != NULL)
        uv_close((uv_handle_t *)&timer->handle, on_closed);
}

static void
on_time(uv_timer_t *handle)
{
    struct wall_timer *timer = (struct wall_timer *)handle;

    timer->at = WALL_TIMER_NEVER;
    timer->due(handle->data);
}

void
wall_timer_set(struct wall_timer *timer, int64_t at)
{
    int64_t now = clock_now(), wait = at - now;

    if (timer == NULL || timer->at <= at)
        return;
    wait = wait < 1 ? 1 : wait > WAIT_MAX_S ? WAIT_MAX_S : wait;
    timer->at = now + wait;
    uv_timer_start(&timer->handle, on_time, (uint64_t)wait * 1000, 0);
}
