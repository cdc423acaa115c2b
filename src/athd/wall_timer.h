/* A timer by the wall clock, in seconds: for what ends at a time that others know, too. Where the
 * machine slept or its clock was set meanwhile, it is at most a minute late. */
#ifndef ATHD_WALL_TIMER_H
#define ATHD_WALL_TIMER_H

#include <stdint.h>

#include <uv.h>

#include "ath/err.h"

#define WALL_TIMER_NEVER INT64_MAX

struct wall_timer;

/* due is called when it is time, or earlier: it looks at the clock, and sets the timer again for
 * what is left. Not set yet. ATH_ERR_NOMEM. */
ath_err wall_timer_new(uv_loop_t *loop, void (*due)(void *ctx), void *ctx,
                       struct wall_timer **ret_timer) ATH_MUST_USE;
/* due is not called any more. NULL is allowed. */
void wall_timer_free(struct wall_timer *timer);
/* at: seconds since 1970; what is over is due in a second. One that is set for an earlier time
 * stays so. NULL is allowed: there is no timer any more. */
void wall_timer_set(struct wall_timer *timer, int64_t at);

#endif
