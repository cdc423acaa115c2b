/* A process of ours, waited for by the loop: helper, prompter, ath-logind-watch. */
#ifndef ATHD_CHILD_H
#define ATHD_CHILD_H

#include <uv.h>

#include "base/spawn.h"

struct child;

/* It has ended and is no zombie any more. The child is freed. */
typedef void child_ended_fn(void *ctx);

/* ATH_ERR_NOMEM, ATH_ERR_IO (no more processes); then ended is not called. */
ath_err child_start(uv_loop_t *loop, const struct spawn_params *params, child_ended_fn *ended,
                    void *ctx, struct child **ret_child) ATH_MUST_USE;
/* With own_group all its descendants get it, too. */
void child_kill(struct child *child, int signal_number);

#endif
