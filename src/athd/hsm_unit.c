#include "athd/hsm_unit.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/events.h"
#include "base/clock.h"

#define RESTART_STEP_MS 50u
#define RESTART_MAX_MS 5000u
#define LIFE_PROVEN_MS 10000u /* a helper that lived so long starts the count of failures anew */

/* How long a helper may say nothing while it has work. The slowest TPMs need a second for a signature
 * and some for a key; the first INFO may have to set up a software TPM. */
#define HANG_MS 10000u
#define HANG_CREATE_MS 25000u
#define HANG_INFO_MS 60000u
#define LEAVE_MS 2000u /* for a clean end */

static void pump(struct hsm_unit *unit);
static void leave(struct hsm_unit *unit, bool kill);

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
    struct hsm_outcome outcome = {.err = job->failed, .why = job->failed_why,
                                  .native = job->failed_native};

    complete(job, &outcome);
}

/* The job ends with err at the loop's next turn; it is not queued any more. */
static void
fail_later(struct hsm_job *job, ath_err err, const struct why *why)
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
    fail_later(job, err, why);
}

/* ---- state ---- */

static const char *const state_names[] = {
    [HSM_UNIT_STARTING] = "absent", [HSM_UNIT_ABSENT] = "absent", [HSM_UNIT_READY] = "ready",
    [HSM_UNIT_FAILED] = "failed",   [HSM_UNIT_LOCKED] = "locked",
};

const char *
hsm_unit_state_name(const struct hsm_unit *unit)
{
    return state_names[unit->state];
}

static void
set_state(struct hsm_unit *unit, enum hsm_unit_state state)
{
    struct json_maker event;

    if (unit->state == state)
        return;
    unit->state = state;
    if (state == HSM_UNIT_READY)
        log_info("event=hsm name=%s state=ready kind=%s%s", unit->name, unit->kind,
                 unit->software ? " software=yes" : "");
    else
        log_warning("event=hsm name=%s state=%s reason=\"%s\"", unit->name, state_names[state],
                    unit->why.text);
    json_object_begin(&event);
    json_put_string(&event, "name", unit->name);
    json_put_string(&event, "state", state_names[state]);
    if (state != HSM_UNIT_READY && unit->why.text[0] != '\0')
        json_put_string(&event, "message", unit->why.text);
    events_publish(unit->athd, EVENT_HSM, &event);
}

static void
copy_text(char *target, size_t size, struct ath_slice text)
{
    snprintf(target, size, "%.*s", (int)(text.len < size ? text.len : size - 1),
             text.len == 0 ? "" : (const char *)text.data);
}

static void
take_info(struct hsm_unit *unit, const struct hsm_response *response)
{
    if (response->err != ATH_OK) {
        unit->has_refused = true;
        why_set(&unit->why, response->err, "%.*s", (int)response->sentence.len,
                response->sentence.len == 0 ? "" : (const char *)response->sentence.data);
        if (unit->why.text[0] == '\0')
            why_set(&unit->why, response->err, "%s", ath_err_sentence(response->err));
        set_state(unit, response->err == ATH_ERR_HSM_UNAVAILABLE ? HSM_UNIT_ABSENT
                        : response->err == ATH_ERR_PIN_LOCKED    ? HSM_UNIT_LOCKED
                                                                 : HSM_UNIT_FAILED);
        leave(unit, false);
        return;
    }
    copy_text(unit->kind, sizeof(unit->kind), response->kind);
    copy_text(unit->manufacturer, sizeof(unit->manufacturer), response->manufacturer);
    copy_text(unit->model, sizeof(unit->model), response->model);
    copy_text(unit->firmware, sizeof(unit->firmware), response->firmware);
    copy_text(unit->serial, sizeof(unit->serial), response->serial);
    unit->software = response->software;
    unit->has_ek_certificate = response->has_ek_certificate;
    unit->is_open = true;
    unit->opened_at_ms = clock_monotonic_ms();
    unit->why.text[0] = '\0';
    set_state(unit, HSM_UNIT_READY);
    pump(unit);
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
    hsm_process_send(unit->process, &(struct hsm_request){.id = 0, .op = HSM_OP_KEY_CLOSE, .key = key});
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

static uint32_t
next_id(struct hsm_unit *unit)
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
    send_request(unit, open, &(struct hsm_request){.id = next_id(unit), .op = HSM_OP_KEY_OPEN,
                                                   .key = sign->key, .data = sign->key_blob});
    return ATH_OK;
}

static ath_err
send_job(struct hsm_unit *unit, struct hsm_job *job)
{
    struct hsm_request request = {.op = job->op, .key = job->key, .algorithm = job->algorithm,
                                  .version = HSM_WIRE_VERSION, .name = ath_slice_of_string(job->label),
                                  .data = ath_buf_slice(&job->data)};
    ath_err err;

    if (job->op == HSM_OP_SIGN && (err = open_key_first(unit, job)) != ATH_OK)
        return err;
    if (job->op == HSM_OP_KEY_OPEN) {
        hsm_unit_forget(unit, job->key);
        if ((err = set_key_opened(unit, job->key, true)) != ATH_OK)
            return err;
    }
    request.id = next_id(unit);
    send_request(unit, job, &request);
    return ATH_OK;
}

static void
pump(struct hsm_unit *unit)
{
    struct hsm_queue_item *item;
    struct hsm_job *job;
    ath_err err;

    while (unit->is_open && !unit->is_leaving && unit->flying_count < HSM_WINDOW &&
           (item = hsm_queue_pop(&unit->queue)) != NULL) {
        job = (struct hsm_job *)((char *)item - offsetof(struct hsm_job, item));
        if ((err = send_job(unit, job)) != ATH_OK)
            fail_later(job, err, NULL);
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
    pump(unit);
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

/* Done again it does no harm. A key made twice leaves nothing in a TPM; in a token it stays. */
static bool
may_be_repeated(const struct hsm_job *job)
{
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
        fail_later(job, ATH_ERR_HSM_UNAVAILABLE, &why);
    }
}

static void
fill_outcome(const struct hsm_job *job, const struct hsm_response *response,
             struct hsm_outcome *outcome)
{
    *outcome = (struct hsm_outcome){.err = response->err, .native = response->native,
                                    .hardware_us = response->hardware_us, .facts = response->facts,
                                    .blob = response->blob, .public_der = response->public_der};
    if (job->op == HSM_OP_SIGN)
        outcome->signature = response->data;
    if (job->op == HSM_OP_RANDOM)
        outcome->random = response->data;
    if (response->err != ATH_OK && response->sentence.len > 0)
        why_set(&outcome->why, response->err, "%.*s", (int)response->sentence.len,
                (const char *)response->sentence.data);
    if (response->err != ATH_OK && job->failed != ATH_OK) { /* the key could not be opened: say that */
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
    TAILQ_FOREACH(job, &unit->flying, flying)
    {
        if (job->op != HSM_OP_SIGN || job->key != open->key || job->deferred.waiting)
            continue;
        job->failed = outcome->err;
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

static void
take_response(struct hsm_unit *unit, struct hsm_job *job, const struct hsm_response *response)
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

static void
on_response(void *ctx, const struct hsm_response *response)
{
    struct hsm_unit *unit = ctx;
    struct hsm_job *job;

    unit->progress_ms = clock_monotonic_ms();
    if (unit->is_leaving)
        return;
    if (response->op == HSM_OP_INFO && !unit->is_open) {
        take_info(unit, response);
        return;
    }
    if (response->id == 0)
        return; /* KEY_CLOSE */
    TAILQ_FOREACH(job, &unit->flying, flying)
    if (job->id == response->id && job->op == response->op)
        break;
    if (job == NULL) {
        log_error("event=hsm name=%s reason=\"an answer to nothing\"", unit->name);
        leave(unit, true);
    } else if (response->err == ATH_ERR_HSM_UNAVAILABLE) {
        /* the device is gone: a helper that opens it anew may find it back */
        why_set(&unit->why, response->err, "%.*s", (int)response->sentence.len,
                response->sentence.len == 0 ? "" : (const char *)response->sentence.data);
        leave(unit, false);
    } else {
        take_response(unit, job, response);
        pump(unit);
    }
}

/* ---- lives ---- */

/* Lets go of the helper; what flies is dealt with when it is gone. */
static void
leave(struct hsm_unit *unit, bool kill)
{
    if (unit->process == NULL)
        return;
    if (!unit->is_leaving)
        unit->left_at_ms = clock_monotonic_ms();
    unit->is_leaving = true;
    hsm_pool_want_ticks(unit->pool);
    if (kill)
        hsm_process_kill(unit->process);
    else
        hsm_process_end(unit->process);
}

/* 0, 50, 100 ... 5,000 ms. */
static uint64_t
restart_delay(unsigned failures)
{
    uint64_t delay = RESTART_STEP_MS;

    if (failures <= 1)
        return 0;
    while (failures-- > 2 && delay < RESTART_MAX_MS)
        delay *= 2;
    return delay < RESTART_MAX_MS ? delay : RESTART_MAX_MS;
}

static void
on_restart(uv_timer_t *timer)
{
    hsm_unit_start(timer->data);
}

static void
restart_later(struct hsm_unit *unit)
{
    uv_timer_start(&unit->restart, on_restart, restart_delay(unit->failures), 0);
}

static void
on_gone(void *ctx)
{
    struct hsm_unit *unit = ctx;
    bool was_proven = unit->is_open && clock_monotonic_ms() - unit->opened_at_ms >= LIFE_PROVEN_MS;
    struct hsm_job *job;

    unit->process = NULL;
    if (!unit->is_closing) {
        if (unit->is_open)
            unit->athd->counters.helper_restarts++;
        if (unit->is_open && unit->why.text[0] == '\0')
            why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "its helper process ended");
        else if (!unit->is_open && !unit->has_refused)
            why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "%s ended before it said anything",
                    unit->athd->config->helper);
        if (!unit->has_refused)
            set_state(unit, unit->is_open ? HSM_UNIT_ABSENT : HSM_UNIT_FAILED);
    }
    unit->is_open = unit->is_leaving = unit->has_refused = false;
    if (unit->opened != NULL)
        memset(unit->opened, 0, unit->opened_len);
    while ((job = TAILQ_LAST(&unit->flying, hsm_jobs)) != NULL)
        lose(unit, job); /* from the last, so that the first is first in the queue again */
    if (unit->is_closing)
        return;
    unit->failures = was_proven ? 1 : unit->failures + 1;
    restart_later(unit);
}

void
hsm_unit_start(struct hsm_unit *unit)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    const struct config *config = unit->athd->config;
    struct hsm_process_params params = {config->helper, unit->uri, config->state_dir,
                                        levels[config->log_level], on_response, on_gone, unit};

    if (unit->is_closing || unit->process != NULL)
        return;
    if (hsm_process_start(unit->athd->loop, &params, &unit->process) != ATH_OK) {
        why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "its helper process cannot be started");
        unit->failures++;
        restart_later(unit);
        return;
    }
    unit->progress_ms = clock_monotonic_ms();
    hsm_pool_want_ticks(unit->pool);
    hsm_process_send(unit->process, &(struct hsm_request){.id = next_id(unit), .op = HSM_OP_INFO,
                                                          .version = HSM_WIRE_VERSION});
}

/* ---- time ---- */

static uint64_t
hang_limit(const struct hsm_unit *unit)
{
    const struct hsm_job *job;

    if (!unit->is_open)
        return HANG_INFO_MS;
    TAILQ_FOREACH(job, &unit->flying, flying)
    if (job->op == HSM_OP_KEY_CREATE)
        return HANG_CREATE_MS;
    return HANG_MS;
}

static bool
is_hanging(const struct hsm_unit *unit, uint64_t now_ms)
{
    bool has_work = !unit->is_open || !TAILQ_EMPTY(&unit->flying);

    return unit->process != NULL && has_work && now_ms > unit->progress_ms &&
           now_ms - unit->progress_ms >= hang_limit(unit);
}

static void
end_if_due(struct hsm_job *job, uint64_t now_ms)
{
    struct hsm_unit *unit = job->unit;
    ath_err err = unit->is_open ? ATH_ERR_HSM_BUSY : ATH_ERR_HSM_UNAVAILABLE;
    struct why why;

    if (job->done == NULL || now_ms < job->deadline_ms)
        return;
    if (unit->is_open)
        why_set(&why, err, "%s was busy with other requests for too long; try again", unit->name);
    else
        why_set(&why, err, "%s is %s: %s", unit->name, state_names[unit->state], unit->why.text);
    hsm_unit_cancel(job, err, &why);
}

static void
each_queued(void *ctx, struct hsm_queue_item *item)
{
    end_if_due((struct hsm_job *)((char *)item - offsetof(struct hsm_job, item)),
               *(const uint64_t *)ctx);
}

void
hsm_unit_tick(struct hsm_unit *unit, uint64_t now_ms)
{
    struct hsm_job *job;

    hsm_queue_each(&unit->queue, each_queued, &now_ms);
    TAILQ_FOREACH(job, &unit->flying, flying)
    end_if_due(job, now_ms);
    if (unit->is_leaving && now_ms - unit->left_at_ms >= LEAVE_MS)
        leave(unit, true);
    if (is_hanging(unit, now_ms) && !unit->is_leaving) {
        why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "its helper process did not answer");
        log_error("event=hsm name=%s reason=\"the helper hangs; it is killed\"", unit->name);
        leave(unit, true);
    }
}

bool
hsm_unit_wants_ticks(const struct hsm_unit *unit)
{
    return unit->queue.len > 0 || !TAILQ_EMPTY(&unit->flying) ||
           (unit->process != NULL && (!unit->is_open || unit->is_leaving));
}

/* ---- life of the unit ---- */

ath_err
hsm_unit_init(struct hsm_unit *unit, struct athd *athd, struct hsm_pool *pool, const char *name,
              const char *uri)
{
    *unit = (struct hsm_unit){.athd = athd, .pool = pool, .name = name, .uri = uri,
                              .state = HSM_UNIT_STARTING};
    hsm_queue_init(&unit->queue);
    TAILQ_INIT(&unit->flying);
    why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "it is being started");
    if (uv_timer_init(athd->loop, &unit->restart) != 0)
        return ATH_ERR_NOMEM;
    unit->restart.data = unit;
    return ATH_OK;
}

static void
fail_queued(void *ctx, struct hsm_queue_item *item)
{
    (void)ctx;
    hsm_unit_cancel((struct hsm_job *)((char *)item - offsetof(struct hsm_job, item)),
                    ATH_ERR_HSM_UNAVAILABLE, &(struct why){"athd is ending"});
}

void
hsm_unit_close(struct hsm_unit *unit)
{
    struct hsm_job *job;

    unit->is_closing = true;
    uv_close((uv_handle_t *)&unit->restart, NULL);
    hsm_queue_each(&unit->queue, fail_queued, NULL);
    TAILQ_FOREACH(job, &unit->flying, flying)
    if (job->done != NULL)
        fail_later(job, ATH_ERR_HSM_UNAVAILABLE, NULL);
    leave(unit, false);
}

void
hsm_unit_kill(struct hsm_unit *unit)
{
    leave(unit, true);
}

bool
hsm_unit_is_gone(const struct hsm_unit *unit)
{
    return unit->process == NULL;
}

void
hsm_unit_done(struct hsm_unit *unit)
{
    free(unit->opened);
    unit->opened = NULL;
}
