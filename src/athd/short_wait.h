/* Waits of microseconds, which libuv's timers of milliseconds are too coarse for. */
#ifndef ATHD_SHORT_WAIT_H
#define ATHD_SHORT_WAIT_H

#include <uv.h>

#include "ath/err.h"
#include "base/buf.h"

struct short_wait;

/* over(ctx) is called from the loop, which no wait keeps running. ATH_ERR_NOMEM (also: no
 * descriptors). */
ath_err short_wait_new(uv_loop_t *loop, void (*over)(void *ctx), void *ctx,
                       struct short_wait **ret_wait) ATH_MUST_USE;
/* Ends what is under way; the handle closes with the loop's next turn. NULL is fine. */
void short_wait_free(struct short_wait *wait);

/* over(ctx), once, after at least as long; us > 0. One that is under way is replaced. */
void short_wait_begin(struct short_wait *wait, uint64_t us);
void
short_wait_end(struct short_wait *wait); /* over will not be called; fine if none is under way */

#endif
