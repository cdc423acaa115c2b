/* What is on its way between athd and one helper: keys opened before their first signature, jobs
 * sent, answers matched with them, and what becomes of them when the helper is lost. */
#include "athd/hsm_unit.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "base/clock.h"

/* ---- completions ---- */

void
hsm_job_free(struct hsm_job *job)
{
    ath_buf_done(&job->data);
    free(job->label);
    free(job);
}

/* Calls the completion. The job stays while it flies: its response will find it. */
static void
complete(struct hsm_job *job, struct hsm_outcome *outcome)
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
    struct hsm_outcome outcome = {
        .err = job->failed, .why = job->failed_why, .native = job->failed_native};

    complete(job, &outcome);
}

/* The job ends with err at the loop's next turn; it is not queued any more. */
void
hsm_job_fail_later(struct hsm_job *job, ath_err err, const struct why *why)
{
    if (job->deferred.waiting)
        return;
    job->failed = err;
    job->failed_native = 0;
    job->failed_why = why == NULL ? (struct why){{0}} : *why;
    deferred_add(&job->unit->athd->deferred, &job->deferred, run_failed, job);
}

void
hsm_unit_cancel(struct hsm_job *job, ath_err err, const struct why *why)
{
    if (job->done == NULL || job->deferred.waiting)
        return;
    if (!job->is_flying)
        hsm_queue_remove(&job->unit->queue, &job->item);
    hsm_job_fail_later(job, err, why);
}

/* ---- keys the helper knows ---- */

static bool
key_is_opened(const struct hsm_unit *unit, uint32_t key)
{
    return key / 8 < unit->opened_len && (unit->opened[key / 8] >> (key % 8) & 1) != 0;
}

static ath_err
set_key_opened(struct hsm_unit *unit, uint32_t key, bool opened)
{
    size_t len = (size_t)key / 8 + 1;
    uint8_t bit = (uint8_t)(1u << (key % 8)), *grown;

    if (len > unit->opened_len) {
        if (!opened)
            return ATH_OK;
        len = len < 32 ? 32 : len * 2;
        if ((grown = realloc(unit->opened, len)) == NULL)
            return ATH_ERR_NOMEM;
        memset(grown + unit->opened_len, 0, len - unit->opened_len);
        unit->opened = grown;
        unit->opened_len = len;
    }
    if (opened)
        unit->opened[key / 8] |= bit;
    else
        unit->opened[key / 8] &= (uint8_t)~bit;
    return ATH_OK;
}

void
hsm_unit_forget(struct hsm_unit *unit, uint32_t key)
{
    if (unit->process == NULL || unit->is_leaving || !key_is_opened(unit, key))
        return;
    (void)set_key_opened(unit, key, false); /* cannot fail: nothing grows */
    hsm_process_send(unit->process,
                     &(struct hsm_request){.id = 0, .op = HSM_OP_KEY_CLOSE, .key = key});
}

/* ---- to the helper ---- */

static void
send_request(struct hsm_unit *unit, struct hsm_job *job, const struct hsm_request *request)
{
    if (TAILQ_EMPTY(&unit->flying))
        unit->progress_ms = clock_monotonic_ms();
    job->id = request->id;
    job->sent_us = clock_monotonic_us();
    job->is_flying = true;
    TAILQ_INSERT_TAIL(&unit->flying, job, flying);
    unit->flying_count++;
    hsm_process_send(unit->process, request);
}

uint32_t
hsm_unit_next_id(struct hsm_unit *unit)
{
    if (++unit->next_id == 0) /* 0 is for requests whose answer nobody waits for */
        unit->next_id = 1;
    return unit->next_id;
}

/* The pool's own KEY_OPEN, sent before a key's first signature of a helper's life. */
static ath_err
open_key_first(struct hsm_unit *unit, const struct hsm_job *sign)
{
    struct hsm_job *open;
    ath_err err;

    if (key_is_opened(unit, sign->key))
        return ATH_OK;
    if ((open = calloc(1, sizeof(*open))) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = set_key_opened(unit, sign->key, true)) != ATH_OK) {
        free(open);
        return err;
    }
    open->unit = unit;
    open->op = HSM_OP_KEY_OPEN;
    open->key = sign->key;
    open->queued_us = clock_monotonic_us();
    send_request(unit, open,
                 &(struct hsm_request){.id = hsm_unit_next_id(unit),
                                       .op = HSM_OP_KEY_OPEN,
                                       .key = sign->key,
                                       .data = sign->key_blob});
    return ATH_OK;
}

/* Is its key to be opened first? */
static bool
uses_key(const struct hsm_job *job)
{
    return job->op == HSM_OP_SIGN || job->op == HSM_OP_COUNTER;
}

static ath_err
send_job(struct hsm_unit *unit, struct hsm_job *job)
{
    struct hsm_request request = {.op = job->op,
                                  .key = job->key,
                                  .algorithm = job->algorithm,
                                  .usage = (uint8_t)job->usage,
                                  .count = job->count,
                                  .version = HSM_WIRE_VERSION,
                                  .name = ath_slice_of_string(job->label),
                                  .data = ath_buf_slice(&job->data)};
    ath_err err;

    if (job->op == HSM_OP_COUNTER)
        request.nonce = ath_slice_of(job->nonce, sizeof(job->nonce));
    if (uses_key(job) && (err = open_key_first(unit, job)) != ATH_OK)
        return err;
    if (job->op == HSM_OP_KEY_OPEN) {
        hsm_unit_forget(unit, job->key);
        if ((err = set_key_opened(unit, job->key, true)) != ATH_OK)
            return err;
    }
    request.id = hsm_unit_next_id(unit);
    send_request(unit, job, &request);
    return ATH_OK;
}

void
hsm_unit_pump(struct hsm_unit *unit)
{
    struct hsm_queue_item *item;
    struct hsm_job *job;
    ath_err err;

    while (unit->is_open && !unit->is_leaving && unit->flying_count < HSM_WINDOW &&
           (item = hsm_queue_pop(&unit->queue)) != NULL) {
        job = (struct hsm_job *)((char *)item - offsetof(struct hsm_job, item));
        if ((err = send_job(unit, job)) != ATH_OK)
            hsm_job_fail_later(job, err, NULL);
        else if (job->sent != NULL && job->done != NULL)
            job->sent(job->ctx);
    }
}

ath_err
hsm_unit_submit(struct hsm_unit *unit, struct hsm_job *job)
{
    if (unit->is_closing)
        return ATH_ERR_HSM_UNAVAILABLE;
    if (unit->queue.len >= HSM_QUEUE_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    if (hsm_queue_len_of(&unit->queue, job->item.identity) >= HSM_QUEUE_CALLER_MAX)
        return ATH_ERR_HSM_BUSY;
    job->unit = unit;
    job->queued_us = clock_monotonic_us();
    hsm_queue_push(&unit->queue, &job->item);
    hsm_unit_pump(unit);
    return ATH_OK;
}

/* ---- from the helper ---- */

static void
land(struct hsm_unit *unit, struct hsm_job *job)
{
    TAILQ_REMOVE(&unit->flying, job, flying);
    unit->flying_count--;
    job->is_flying = false;
}

/* Done again it does no harm. A key made twice leaves nothing in a TPM; in a token it stays. A
 * counter made or stepped twice is another. */
static bool
may_be_repeated(const struct hsm_job *job)
{
    if (job->op == HSM_OP_COUNTER && (job->count > 0 || job->data.len == 0))
        return false;
    return !job->is_repeated &&
           (job->op != HSM_OP_KEY_CREATE || strcmp(job->unit->kind, "tpm") == 0);
}

/* A job whose helper was lost. */
static void
lose(struct hsm_unit *unit, struct hsm_job *job)
{
    struct why why;

    land(unit, job);
    if (job->done == NULL && !job->deferred.waiting) {
        hsm_job_free(job);
    } else if (job->done != NULL && !job->deferred.waiting && may_be_repeated(job) &&
               !unit->is_closing) {
        job->is_repeated = true;
        job->failed = ATH_OK;
        hsm_queue_push_front(&unit->queue, &job->item);
    } else if (job->done != NULL) {
        why_set(&why, ATH_ERR_HSM_UNAVAILABLE, "the process that holds %s was lost", unit->name);
        hsm_job_fail_later(job, ATH_ERR_HSM_UNAVAILABLE, &why);
    }
}

static void
fill_outcome(const struct hsm_job *job, const struct hsm_response *response,
             struct hsm_outcome *outcome)
{
    *outcome = (struct hsm_outcome){.err = response->err,
                                    .native = response->native,
                                    .hardware_us = response->hardware_us,
                                    .facts = response->facts,
                                    .blob = response->blob,
                                    .public_der = response->public_der,
                                    .counter = response->counter};
    if (job->op == HSM_OP_SIGN)
        outcome->signature = response->data;
    if (job->op == HSM_OP_RANDOM)
        outcome->random = response->data;
    if (job->op == HSM_OP_COUNTER)
        outcome->evidence = response->data;
    if (response->err != ATH_OK && response->sentence.len > 0)
        why_set(&outcome->why, response->err, "%.*s", (int)response->sentence.len,
                (const char *)response->sentence.data);
    if (response->err != ATH_OK &&
        job->failed != ATH_OK) { /* the key could not be opened: say that */
        outcome->err = job->failed;
        outcome->why = job->failed_why;
        outcome->native = job->failed_native;
    }
}

/* A key that could not be opened: the signatures sent behind it will fail for the same reason. */
static void
spread_open_failure(struct hsm_unit *unit, const struct hsm_job *open,
                    const struct hsm_outcome *outcome)
{
    struct hsm_job *job;

    (void)set_key_opened(unit, open->key, false); /* cannot fail: nothing grows */
    TAILQ_FOREACH (job, &unit->flying, flying) {
        if (!uses_key(job) || job->key != open->key || job->deferred.waiting)
            continue;
        /* the caller's parameters are right: it is our file that the hardware does not take */
        job->failed = outcome->err == ATH_ERR_INVALID_PARAMS ? ATH_ERR_HSM_ERROR : outcome->err;
        job->failed_why = outcome->why;
        job->failed_native = outcome->native;
    }
}

static void
measure(struct hsm_unit *unit, const struct hsm_response *response)
{
    if (response->op == HSM_OP_SIGN && response->err == ATH_OK)
        unit->service_us = unit->service_us == 0
                               ? response->hardware_us
                               : (unit->service_us * 7 + response->hardware_us) / 8;
}

void
hsm_unit_take_response(struct hsm_unit *unit, struct hsm_job *job,
                       const struct hsm_response *response)
{
    struct hsm_outcome outcome;

    land(unit, job);
    measure(unit, response);
    fill_outcome(job, response, &outcome);
    if (job->op == HSM_OP_KEY_OPEN && outcome.err != ATH_OK)
        spread_open_failure(unit, job, &outcome);
    if (job->deferred.waiting)
        return; /* cancelled: ends at the loop's next turn */
    complete(job, &outcome);
}

struct hsm_job *
hsm_unit_find_flying(const struct hsm_unit *unit, uint32_t id, enum hsm_op op)
{
    struct hsm_job *job;

    TAILQ_FOREACH (job, &unit->flying, flying)
        if (job->id == id && job->op == op)
            return job;
    return NULL;
}

void
hsm_unit_lose_flying(struct hsm_unit *unit)
{
    struct hsm_job *job, *before;

    if (unit->opened != NULL)
        memset(unit->opened, 0, unit->opened_len);
    /* from the last, so that the first is first in the queue again */
    for (job = TAILQ_LAST(&unit->flying, hsm_jobs); job != NULL; job = before) {
        before = TAILQ_PREV(job, hsm_jobs, flying);
        lose(unit, job);
    }
}
