/*
 * Signatures with keys that want their PIN each time (CKA_ALWAYS_AUTHENTICATE, PIV slot 9c), and
 * new keys of a TPM that get a PIN. Where a person has to be asked, the job stands beside the queue
 * until its prompter is up and nobody else waits for it.
 */
#include <stdlib.h>

#include "athd/athd.h"
#include "athd/hsm_record.h"
#include "athd/hsm_unit.h"
#include "base/clock.h"

#define GRACE_MS 5000u

static void
leave_asking(struct hsm_unit *unit, struct hsm_job *job)
{
    TAILQ_REMOVE(&unit->asking, job, flying);
    job->is_asking = false;
}

void
hsm_pin_sign_end(struct hsm_job *job, ath_err how)
{
    if (job->dialogue == NULL)
        return;
    pin_dialogue_end(job->dialogue, how);
    job->dialogue = NULL;
    if (job->is_asking)
        leave_asking(job->unit, job);
    if (job->is_flying)
        job->unit->flying_dialogues--;
}

static void
send_with_pin(struct hsm_unit *unit, struct hsm_job *job, struct hsm_pin_request *pin)
{
    const struct hsm_throttle *throttle = unit->login.throttle;

    pin->from = job->pin_from;
    if (job->pin_from == HSM_PIN_SOURCE)
        pin->refused = ath_slice_of(throttle->refused, throttle->refused_len);
    hsm_unit_send_now(unit, job, pin);
}

static void
on_shown(void *ctx, const struct pin_shown *shown)
{
    struct hsm_job *job = ctx;
    struct hsm_unit *unit = job->unit;
    struct hsm_pin_request pin = {.timeout_s = shown->timeout_s};
    struct ath_buf words = {.max = HSM_WIRE_MAX_TEXT};
    uint32_t id = hsm_unit_next_id(unit);
    struct hsm_outcome failure;

    if (unit->is_leaving)
        return; /* the next helper asks anew (hsm_unit_lose_flying) */
    /* others' PINs may have been wrong while it waited for the screen */
    if (job->op == HSM_OP_SIGN && hsm_login_is_refused(unit, &failure)) {
        hsm_pin_sign_end(job, failure.err);
        hsm_job_fail_with(job, &failure);
        return;
    }
    hsm_pin_text_make(job->op == HSM_OP_SIGN ? unit->login.throttle->wrong : 0, job, 0, &words,
                      &pin);
    hsm_pin_text_place(shown, &pin);
    if (hsm_process_send_fd(unit->process, id, shown->fd) == ATH_OK) {
        leave_asking(unit, job);
        job->id = id;
        send_with_pin(unit, job, &pin);
        unit->flying_dialogues += job->is_flying;
    } else {
        hsm_pin_sign_end(job, ATH_ERR_NO_PROMPTER);
        hsm_job_fail_later(job, ATH_ERR_NO_PROMPTER, NULL);
    }
    ath_buf_done(&words);
}

static void
on_dialogue_failed(void *ctx, ath_err err)
{
    struct hsm_job *job = ctx;

    job->over = err;
    if (job->is_flying)
        return; /* the helper has lost its prompter and answers */
    hsm_pin_sign_end(job, err);
    hsm_job_fail_later(job, err, NULL);
}

static void
ask_person(struct hsm_unit *unit, struct hsm_job *job)
{
    const struct pin_dialogue_events events = {on_shown, on_dialogue_failed, job};
    uint64_t timeout_ms = (uint64_t)unit->athd->config->consent_timeout_s * 1000;
    struct why why;
    ath_err err;

    if ((err = hsm_pin_text_check(unit, job, &why)) != ATH_OK) {
        hsm_job_fail_later(job, err, &why);
        return;
    }
    hsm_job_wait_for_person(job, clock_monotonic_ms() + timeout_ms + GRACE_MS);
    job->is_asking = true;
    TAILQ_INSERT_TAIL(&unit->asking, job, flying);
    if (hsm_pin_text_ask(unit, job->op == HSM_OP_SIGN ? unit->login.throttle->wrong : 0, job,
                         &events, &job->dialogue) == ATH_OK)
        return;
    leave_asking(unit, job);
    hsm_job_fail_later(job, ATH_ERR_NOMEM, NULL);
}

/* Whoever lets questions pile up takes the screen from everybody. */
static bool
has_questions_enough(const struct hsm_unit *unit, const struct hsm_job *job)
{
    const struct hsm_job *other;
    unsigned count = 0;

    TAILQ_FOREACH (other, &unit->asking, flying)
        count += other->item.identity == job->item.identity;
    TAILQ_FOREACH (other, &unit->flying, flying)
        count += other->dialogue != NULL && other->item.identity == job->item.identity;
    return count >= HSM_PIN_QUESTIONS_CALLER_MAX;
}

void
hsm_pin_question_refuse(struct hsm_job *job)
{
    struct why why;

    why_set(&why, ATH_ERR_LIMIT_EXCEEDED,
            "%u questions for a PIN of this caller's wait for an answer already",
            HSM_PIN_QUESTIONS_CALLER_MAX);
    hsm_job_fail_later(job, ATH_ERR_LIMIT_EXCEEDED, &why);
}

static enum hsm_pin_from
choose_source(const struct hsm_unit_login *login, const struct hsm_job *job)
{
    return job->op == HSM_OP_KEY_CREATE                  ? HSM_PIN_PROMPTER
           : login->kind == HSM_LOGIN_PAD                ? HSM_PIN_NONE
           : login->ttl_s > 0                            ? HSM_PIN_KEPT
           : login->has_source && login->tries_left != 1 ? HSM_PIN_SOURCE
                                                         : HSM_PIN_PROMPTER;
}

void
hsm_pin_sign_start(struct hsm_unit *unit, struct hsm_job *job)
{
    struct hsm_pin_request pin = {.from = HSM_PIN_NONE};
    struct hsm_outcome failure;

    if (job->op == HSM_OP_SIGN && hsm_login_looks_again(unit)) {
        hsm_queue_push_front(&unit->queue, &job->item);
        return;
    }
    if (job->op == HSM_OP_SIGN && hsm_login_is_refused(unit, &failure)) {
        hsm_job_fail_with(job, &failure);
        return;
    }
    job->over = ATH_OK;
    job->pin_from = choose_source(&unit->login, job);
    if (job->pin_from == HSM_PIN_PROMPTER && has_questions_enough(unit, job)) {
        hsm_pin_question_refuse(job);
        return;
    }
    if (job->pin_from == HSM_PIN_PROMPTER) {
        ask_person(unit, job);
        return;
    }
    job->id = hsm_unit_next_id(unit);
    send_with_pin(unit, job, &pin);
}

/* ---- the answer ---- */

static void
on_noted(void *ctx, ath_err err, const struct why *why)
{
    struct hsm_job *job = ctx;
    struct hsm_outcome outcome = job->failed;

    hsm_login_log_noted(job->unit, err, why);
    job->is_noted = false;
    hsm_job_complete(job, &outcome);
}

bool
hsm_pin_sign_take(struct hsm_unit *unit, struct hsm_job *job, const struct hsm_response *response,
                  const struct hsm_outcome *outcome)
{
    bool counts = outcome->err == ATH_ERR_PIN_INCORRECT || response->pin_in_doubt;

    hsm_pin_sign_end(job, outcome->err);
    if (outcome->err == ATH_OK || outcome->err == ATH_ERR_PIN_LOCKED || counts)
        hsm_record_login(unit, NULL, outcome->err, response->tries_left);
    if (outcome->err == ATH_OK) {
        hsm_login_count_right(unit, job->pin_from);
        return false;
    }
    if (outcome->err == ATH_ERR_PIN_LOCKED)
        unit->login.is_locked = true;
    if (!counts)
        return false;
    if (job->done == NULL || job->deferred.waiting) { /* cancelled: it is told of that */
        hsm_login_count_wrong(unit, response, NULL, NULL);
        return false;
    }
    job->failed = (struct hsm_outcome){.err = outcome->err,
                                       .why = outcome->why,
                                       .native = outcome->native,
                                       .tries_left = response->tries_left};
    job->is_noted = true;
    hsm_login_count_wrong(unit, response, on_noted, job);
    job->failed.retry_after_s = hsm_throttle_wait_s(unit->login.throttle);
    return true;
}
