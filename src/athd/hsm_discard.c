/* A key made in a token for somebody who has gone is destroyed again. */
#include <stdlib.h>

#include "athd/athd.h"
#include "athd/hsm_unit.h"
#include "base/clock.h"

static void
on_discarded(void *ctx, const struct hsm_outcome *outcome)
{
    const struct hsm_unit *unit = ctx;

    if (outcome->err != ATH_OK)
        log_warning("event=key_orphan hsm=%s reason=\"a key that nobody uses stays in the token: "
                    "%s\"",
                    unit->name, why_text(&outcome->why, outcome->err));
}

void
hsm_unit_discard(struct hsm_unit *unit, struct ath_slice blob)
{
    struct hsm_job *job = calloc(1, sizeof(*job));

    if (job != NULL) {
        job->data.max = HSM_WIRE_MAX_BLOB;
        ath_buf_put_slice(&job->data, blob);
    }
    if (job == NULL || job->data.err != ATH_OK || unit->is_closing) {
        if (job != NULL)
            hsm_job_free(job);
        on_discarded(unit, &(struct hsm_outcome){.err = unit->is_closing ? ATH_ERR_HSM_UNAVAILABLE
                                                                         : ATH_ERR_NOMEM});
        return;
    }
    job->unit = unit;
    job->op = HSM_OP_KEY_DELETE;
    job->key = hsm_pool_next_key_number(unit->pool);
    job->key_blob = ath_buf_slice(&job->data);
    job->deadline_ms = clock_monotonic_ms() + REQUEST_DEADLINE_MS;
    job->queued_us = clock_monotonic_us();
    job->done = on_discarded;
    job->ctx = unit;
    hsm_queue_push(&unit->queue, &job->item);
    hsm_pool_want_ticks(unit->pool);
    hsm_unit_pump(unit);
}
