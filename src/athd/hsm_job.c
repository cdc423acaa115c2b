/* The ends of a job: each has one completion, from the loop, however it ends. */
#include <stddef.h>
#include <stdlib.h>

#include "athd/athd.h"
#include "athd/hsm_key_login.h"
#include "base/clock.h"

static struct hsm_job *
job_of(struct hsm_queue_item *item)
{
    return (struct hsm_job *)((char *)item - offsetof(struct hsm_job, item));
}

void
hsm_job_free(struct hsm_job *job)
{
    ath_buf_done(&job->data);
    free(job->label);
    free(job);
}

/* The job stays while it flies: its response will find it. */
void
hsm_job_complete(struct hsm_job *job, struct hsm_outcome *outcome)
{
    hsm_done_fn *done = job->done;
    uint64_t now_us = clock_monotonic_us();

    outcome->queue_us = (uint32_t)((job->sent_us == 0 ? now_us : job->sent_us) - job->queued_us);
    job->done = NULL;
    if (done != NULL)
        done(job->ctx, outcome);
    if (!job->is_flying)
        hsm_job_free(job);
}

static void
run_failed(void *ctx)
{
    struct hsm_job *job = ctx;
    struct hsm_outcome outcome = job->failed;

    job->failed.err = ATH_OK; /* what its answer says is another matter: a PIN may be wrong */
    hsm_job_complete(job, &outcome);
}

void
hsm_job_fail_with(struct hsm_job *job, const struct hsm_outcome *failure)
{
    if (job->deferred.waiting)
        return;
    job->failed = *failure;
    deferred_add(&job->unit->athd->deferred, &job->deferred, run_failed, job);
}

void
hsm_job_fail_later(struct hsm_job *job, ath_err err, const struct why *why)
{
    struct hsm_outcome failure = {.err = err};

    if (why != NULL)
        failure.why = *why;
    hsm_job_fail_with(job, &failure);
}

void
hsm_unit_cancel(struct hsm_job *job, ath_err err, const struct why *why)
{
    struct hsm_unit *unit = job->unit;

    if (job->done == NULL || job->deferred.waiting || job->is_noted)
        return;
    if (job->key_login != NULL)
        hsm_key_login_leave(job, err);
    else if (!job->is_flying && !job->is_asking)
        hsm_queue_remove(&unit->queue, &job->item);
    hsm_pin_sign_end(job, err);
    hsm_job_fail_later(job, err, why);
    hsm_login_note_leaver(unit, err);
}

struct failing {
    struct hsm_unit *unit;
    const struct tenant *tenant; /* NULL: of whomever */
    const struct hsm_outcome *failure;
};

static void
fail_queued(void *ctx, struct hsm_queue_item *item)
{
    const struct failing *failing = ctx;
    struct hsm_job *job = job_of(item);

    if (failing->tenant != NULL &&
        (job->done == NULL || job->request == NULL || job->request->tenant != failing->tenant))
        return;
    hsm_queue_remove(&failing->unit->queue, item);
    hsm_job_fail_with(job, failing->failure);
}

void
hsm_unit_fail_queued(struct hsm_unit *unit, const struct hsm_outcome *failure)
{
    struct failing failing = {unit, NULL, failure};

    hsm_queue_each(&unit->queue, fail_queued, &failing);
}

void
hsm_unit_fail_queued_of(struct hsm_unit *unit, const struct tenant *tenant,
                        const struct hsm_outcome *failure)
{
    struct failing failing = {unit, tenant, failure};

    hsm_queue_each(&unit->queue, fail_queued, &failing);
}
