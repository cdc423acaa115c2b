/* What is on its way between athd and one helper: keys opened before their first signature, jobs
 * sent, answers matched with them, and what becomes of them when the helper is lost. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/hsm_key_login.h"
#include "base/clock.h"

static struct hsm_job *
job_of(struct hsm_queue_item *item)
{
    return (struct hsm_job *)((char *)item - offsetof(struct hsm_job, item));
}

/* ---- to the helper ---- */

static void
on_turn_end(void *ctx)
{
    const struct hsm_unit *unit = ctx;

    if (unit->process != NULL)
        hsm_process_flush(unit->process);
}

/* At once to hardware that has nothing to do; what will wait there goes with the rest of this turn,
 * for one wake-up of the helper. */
static void
send_bytes(struct hsm_unit *unit, const struct hsm_request *request)
{
    if (unit->flying_count <= unit->parallel) {
        hsm_process_send(unit->process, request);
        return;
    }
    hsm_process_queue(unit->process, request);
    if (!unit->turn_end.waiting)
        deferred_add_at_end(&unit->athd->deferred, &unit->turn_end, on_turn_end, unit);
}

void
hsm_unit_send_request(struct hsm_unit *unit, struct hsm_job *job, const struct hsm_request *request)
{
    job->id = request->id;
    job->sent_us = clock_monotonic_us();
    job->moved_ms = clock_monotonic_ms();
    job->is_flying = true;
    TAILQ_INSERT_TAIL(&unit->flying, job, flying);
    unit->by_id[job->id % HSM_IDS] = job;
    unit->flying_count++;
    send_bytes(unit, request);
}

uint32_t
hsm_unit_next_id(struct hsm_unit *unit)
{
    do { /* 0 is for requests whose answer nobody waits for */
        unit->next_id++;
    } while (unit->next_id == 0 || unit->by_id[unit->next_id % HSM_IDS] != NULL);
    return unit->next_id;
}

/* The job's id, where it is not 0, was spoken of before. */
static ath_err
send_job(struct hsm_unit *unit, struct hsm_job *job, const struct hsm_pin_request *pin)
{
    uint32_t id = job->id;
    struct hsm_request request = {.op = job->op,
                                  .key = job->key,
                                  .algorithm = job->algorithm,
                                  .usage = (uint8_t)job->usage,
                                  .count = job->count,
                                  .version = HSM_WIRE_VERSION,
                                  .name = ath_slice_of_string(job->label),
                                  .data = ath_buf_slice(&job->data)};
    ath_err err;

    if (pin != NULL)
        request.pin = *pin;
    if (job->op == HSM_OP_COUNTER)
        request.nonce = ath_slice_of(job->nonce, sizeof(job->nonce));
    if ((err = hsm_opened_before(unit, job)) != ATH_OK)
        return err;
    if (job->op == HSM_OP_KEY_OPEN) {
        hsm_unit_forget(unit, job->key);
        if ((err = hsm_opened_note(unit, job->key)) != ATH_OK)
            return err;
    }
    request.id = id != 0 ? id : hsm_unit_next_id(unit);
    hsm_unit_send_request(unit, job, &request);
    return ATH_OK;
}

/* Those that the hardware is at, in the order they were sent. */
static void
tell_begun(const struct hsm_unit *unit)
{
    struct hsm_job *job = TAILQ_FIRST(&unit->flying);

    for (unsigned i = 0; job != NULL && i < unit->parallel; job = TAILQ_NEXT(job, flying)) {
        void (*sent)(void *ctx) = job->sent;

        job->sent = NULL;
        if (sent != NULL && job->done != NULL)
            sent(job->ctx);
        i += hsm_job_holds_nobody_up(job) ? 0 : 1;
    }
}

void
hsm_unit_send_now(struct hsm_unit *unit, struct hsm_job *job, const struct hsm_pin_request *pin)
{
    ath_err err = send_job(unit, job, pin);

    if (err != ATH_OK) {
        hsm_pin_sign_end(job, err);
        hsm_job_fail_later(job, err, NULL);
    } else {
        tell_begun(unit);
    }
}

static unsigned
window(const struct hsm_unit *unit)
{
    unsigned jobs = HSM_WINDOW * unit->parallel;

    return (jobs < HSM_WINDOW_MAX ? jobs : HSM_WINDOW_MAX) + unit->flying_dialogues;
}

/* A token that is not there is waited for by nobody. */
static void
turn_away(struct hsm_unit *unit)
{
    struct hsm_outcome failure = {.err = ATH_ERR_HSM_UNAVAILABLE};

    why_set(&failure.why, failure.err, "%s is not there: %s", unit->name, unit->why.text);
    hsm_unit_fail_queued(unit, &failure);
}

static bool
wants_prompter(const struct hsm_unit *unit, const struct hsm_job *job)
{
    return job->op == HSM_OP_KEY_CREATE || unit->login.kind != HSM_LOGIN_NONE;
}

void
hsm_unit_pump(struct hsm_unit *unit)
{
    struct hsm_queue_item *item;
    struct hsm_job *job;

    if (unit->turns_away)
        turn_away(unit);
    while (unit->is_open && !unit->is_leaving && unit->flying_count < window(unit) &&
           unit->flying_count < HSM_IDS / 2 + HSM_WINDOW_MAX / 2 && hsm_login_is_ready(unit) &&
           (item = hsm_queue_pop(&unit->queue)) != NULL) {
        job = job_of(item);
        job->id = 0;
        if (job->wants_pin && wants_prompter(unit, job))
            hsm_pin_sign_start(unit, job);
        else if (!job->needs_login || !hsm_key_login_takes(unit, job))
            hsm_unit_send_now(unit, job, NULL);
    }
}

ath_err
hsm_unit_submit(struct hsm_unit *unit, struct hsm_job *job)
{
    unsigned total = unit->queue.len + unit->waiting_count, own;

    if (unit->is_closing)
        return ATH_ERR_HSM_UNAVAILABLE;
    if (total >= HSM_QUEUE_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    own = hsm_queue_len_of(&unit->queue, job->item.identity) +
          hsm_key_login_count_of(unit, job->item.identity);
    /* who has as many as there is room left for gets no more: a few cannot take it all */
    if (own >= HSM_QUEUE_CALLER_MAX || own >= HSM_QUEUE_MAX - total)
        return ATH_ERR_HSM_BUSY;
    job->unit = unit;
    job->queued_us = clock_monotonic_us();
    hsm_queue_push(&unit->queue, &job->item);
    hsm_login_note_waiter(unit, job);
    hsm_unit_pump(unit);
    return ATH_OK;
}

/* ---- from the helper ---- */

static void
land(struct hsm_unit *unit, struct hsm_job *job, ath_err how)
{
    hsm_pin_sign_end(job, how);
    TAILQ_REMOVE(&unit->flying, job, flying);
    unit->by_id[job->id % HSM_IDS] = NULL;
    unit->flying_count--;
    job->is_flying = false;
}

/* Those that were sent after an answered one have come nearer to their own turn. */
static void
move_up(struct hsm_job *answered)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct hsm_job *job;

    for (job = TAILQ_NEXT(answered, flying); job != NULL; job = TAILQ_NEXT(job, flying))
        job->moved_ms = now_ms;
}

/* Done again it does no harm. A key made twice leaves nothing in a TPM; in a token it stays. A
 * counter made or stepped twice is another. A PIN may have been wrong. */
static bool
may_be_repeated(const struct hsm_job *job)
{
    if (job->op == HSM_OP_COUNTER && (job->count > 0 || job->data.len == 0))
        return false;
    if (job->wants_pin && job->pin_from != HSM_PIN_NONE && !job->unit->was_removed)
        return false;
    return !job->is_repeated && (job->op != HSM_OP_KEY_CREATE || !job->unit->is_token);
}

static void
tell_loss(const struct hsm_job *job, struct why *why)
{
    const struct hsm_unit *unit = job->unit;
    bool leaves_key = job->op == HSM_OP_KEY_CREATE && unit->is_token;
    const char *orphan = leaves_key ? "; one that nobody uses may be left in the token" : "";

    if (unit->was_removed)
        why_set(why, ATH_ERR_HSM_UNAVAILABLE, "%s: %s%s", unit->name, unit->why.text, orphan);
    else
        why_set(why, ATH_ERR_HSM_UNAVAILABLE, "the process that holds %s was lost%s%s", unit->name,
                leaves_key ? " while it made the key" : "", orphan);
}

/* A job whose helper was lost. A PIN that it was trying may have been wrong. */
static void
lose(struct hsm_unit *unit, struct hsm_job *job)
{
    struct why why;

    land(unit, job, ATH_ERR_HSM_UNAVAILABLE);
    if (job->op == HSM_OP_SIGN && job->wants_pin && job->pin_from != HSM_PIN_NONE &&
        !unit->was_removed && !unit->is_closing)
        hsm_login_count_wrong(unit, NULL, NULL, NULL);
    if (job->done == NULL && !job->deferred.waiting) {
        hsm_job_free(job);
    } else if (job->done != NULL && !job->deferred.waiting && may_be_repeated(job) &&
               !unit->is_closing) {
        job->is_repeated = true;
        job->failed.err = ATH_OK;
        hsm_job_go_on(job);
        hsm_queue_push_front(&unit->queue, &job->item);
    } else if (job->done != NULL) {
        tell_loss(job, &why);
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
    if (response->op == HSM_OP_SIGN)
        outcome->tries_left = response->tries_left;
    if (response->err != ATH_OK && job->failed.err != ATH_OK && !job->deferred.waiting)
        *outcome = job->failed; /* the key could not be opened: say that */
    if (job->over != ATH_OK && outcome->err != ATH_OK && outcome->err != ATH_ERR_PIN_INCORRECT)
        *outcome = (struct hsm_outcome){.err = job->over};
}

static void
measure(struct hsm_unit *unit, const struct hsm_response *response)
{
    if (response->op == HSM_OP_SIGN && response->err == ATH_OK)
        unit->service_us = unit->service_us == 0
                               ? response->hardware_us
                               : (unit->service_us * 7 + response->hardware_us) / 8;
}

/* Somebody else logged out, or the token did: once more, after a login. */
static bool
relog(struct hsm_unit *unit, struct hsm_job *job)
{
    if (job->needs_login)
        hsm_key_login_is_lost(unit, job->key);
    else if (unit->login.kind == HSM_LOGIN_NONE)
        return false;
    else
        hsm_login_is_lost(unit);
    if (job->is_relogged || job->done == NULL || job->deferred.waiting)
        return false;
    job->is_relogged = true;
    job->failed.err = ATH_OK;
    hsm_queue_push_front(&unit->queue, &job->item);
    hsm_login_note_waiter(unit, job);
    return true;
}

/* A key that was made, or opened, for somebody who has gone meanwhile. */
static void
undo_unwanted(struct hsm_unit *unit, const struct hsm_job *job, const struct hsm_response *response)
{
    if (response->err != ATH_OK || job->is_own)
        return;
    if (job->op == HSM_OP_KEY_CREATE && unit->is_token)
        hsm_unit_discard(unit, response->blob);
    if (job->op == HSM_OP_KEY_OPEN)
        hsm_unit_forget(unit, job->key);
}

void
hsm_unit_take_response(struct hsm_unit *unit, struct hsm_job *job,
                       const struct hsm_response *response)
{
    struct hsm_outcome outcome;

    move_up(job);
    land(unit, job, job->over != ATH_OK && response->err != ATH_OK ? job->over : response->err);
    tell_begun(unit);
    measure(unit, response);
    fill_outcome(job, response, &outcome);
    unit->has_served = unit->has_served || response->err == ATH_OK;
    if (job->op == HSM_OP_KEY_OPEN && outcome.err != ATH_OK)
        hsm_opened_fails(unit, job, &outcome);
    if (job->op == HSM_OP_KEY_DELETE && outcome.err == ATH_OK)
        hsm_opened_clear(unit, job->key);
    if (outcome.err == ATH_ERR_PIN_REQUIRED && relog(unit, job))
        return;
    if (job->op == HSM_OP_SIGN && job->wants_pin &&
        hsm_pin_sign_take(unit, job, response, &outcome))
        return;
    if (job->needs_login && outcome.err == ATH_ERR_PIN_INCORRECT)
        hsm_key_login_is_lost(unit, job->key); /* it was right before */
    if (job->done == NULL || job->deferred.waiting)
        undo_unwanted(unit, job, response);
    if (job->deferred.waiting)
        return; /* cancelled: ends at the loop's next turn */
    hsm_job_complete(job, &outcome);
}

struct hsm_job *
hsm_unit_find_flying(const struct hsm_unit *unit, uint32_t id, enum hsm_op op)
{
    struct hsm_job *job = unit->by_id[id % HSM_IDS];

    return job != NULL && job->id == id && job->op == op ? job : NULL;
}

void
hsm_unit_lose_flying(struct hsm_unit *unit)
{
    struct hsm_job *job, *before;

    if (unit->opened != NULL)
        memset(unit->opened, 0, unit->opened_len);
    /* who was to be asked for a PIN is asked again by the next helper */
    while ((job = TAILQ_LAST(&unit->asking, hsm_jobs)) != NULL) {
        hsm_pin_sign_end(job, ATH_ERR_HSM_UNAVAILABLE);
        hsm_job_go_on(job);
        if (!job->deferred.waiting)
            hsm_queue_push_front(&unit->queue, &job->item);
    }
    /* from the last, so that the first is first in the queue again */
    for (job = TAILQ_LAST(&unit->flying, hsm_jobs); job != NULL; job = before) {
        before = TAILQ_PREV(job, hsm_jobs, flying);
        lose(unit, job);
    }
}
