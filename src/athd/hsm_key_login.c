#include "athd/hsm_key_login.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/hsm_key_login_list.h"
#include "athd/hsm_record.h"
#include "base/clock.h"

#define GRACE_MS 5000u /* after a person's time is up */

static const struct hsm_outcome shut = {.err = ATH_ERR_AGENT_LOCKED};

/* ---- the end of a question ---- */

static void
end_dialogue(struct hsm_key_login *login, ath_err how)
{
    pin_dialogue_end(login->dialogue, how);
    login->dialogue = NULL;
}

/* Everybody who waits is told, and the login is over. */
static void
refuse_all(struct hsm_key_login *login, const struct hsm_outcome *failure)
{
    end_dialogue(login, failure->err);
    login->stage = HSM_LOGIN_IDLE;
    log_warning("event=login hsm=%s key=%s err=%s reason=\"%s\"", login->unit->name,
                login->key_name == NULL ? "" : login->key_name, ath_err_reason(failure->err),
                why_text(&failure->why, failure->err));
    key_login_fail_all(login, failure);
    key_login_requeue_behind(login);
    key_login_free_if_unused(login);
}

static void
leave(struct hsm_key_login *login, ath_err how)
{
    if (!TAILQ_EMPTY(&login->waiting))
        return;
    end_dialogue(login, how);
    if (login->stage == HSM_LOGIN_ASKING)
        login->stage = HSM_LOGIN_IDLE;
    login->is_abandoned = true;
    key_login_free_if_unused(login);
}

void
hsm_key_login_leave(struct hsm_job *job, ath_err how)
{
    struct hsm_key_login *login = job->key_login;

    key_login_take(job);
    leave(login, how);
}

/* ---- asking ---- */

static void
on_shown(void *ctx, const struct pin_shown *shown)
{
    struct hsm_key_login *login = ctx;
    struct hsm_unit *unit = login->unit;
    struct hsm_job *job, *first = TAILQ_FIRST(&login->waiting);
    struct hsm_pin_request pin = {
        .timeout_s = shown->timeout_s, .from = HSM_PIN_PROMPTER, .keep = true};
    struct ath_buf words = {.max = HSM_WIRE_MAX_TEXT};
    struct hsm_outcome failure = {.err = ATH_ERR_NO_PROMPTER};
    unsigned others = 0;

    if (unit->is_leaving)
        return; /* the next helper asks anew (hsm_key_login_lose) */
    TAILQ_FOREACH (job, &login->waiting, flying)
        others += job != first;
    hsm_pin_text_make(login->throttle->wrong, first, others, &words, &pin);
    hsm_pin_text_place(shown, &pin);
    if (hsm_process_send_fd(unit->process, login->id, shown->fd) == ATH_OK) {
        login->stage = HSM_LOGIN_TRYING;
        hsm_pool_want_ticks(unit->pool);
        hsm_process_send(unit->process,
                         &(struct hsm_request){
                             .id = login->id, .op = HSM_OP_LOGIN, .key = login->key, .pin = pin});
    } else {
        refuse_all(login, &failure);
    }
    ath_buf_done(&words);
}

static void
on_dialogue_failed(void *ctx, ath_err err)
{
    struct hsm_key_login *login = ctx;
    struct hsm_outcome failure = {.err = err};

    if (login->stage == HSM_LOGIN_TRYING)
        login->over = err; /* the helper has lost its prompter and answers */
    else
        refuse_all(login, &failure);
}

static void
start(struct hsm_key_login *login)
{
    const struct pin_dialogue_events events = {on_shown, on_dialogue_failed, login};
    struct hsm_unit *unit = login->unit;
    struct hsm_outcome failure = {.err = ATH_ERR_NOMEM};
    struct hsm_job *job, *first = TAILQ_FIRST(&login->waiting);

    login->is_abandoned = false;
    login->over = ATH_OK;
    login->asked_by = first->item.identity;
    login->limit_ms =
        clock_monotonic_ms() + (uint64_t)unit->athd->config->consent_timeout_s * 1000 + GRACE_MS;
    login->id = hsm_unit_next_id(unit);
    login->stage = HSM_LOGIN_ASKING;
    TAILQ_FOREACH (job, &login->waiting, flying)
        hsm_job_wait_for_person(job, login->limit_ms);
    /* nobody is asked for the PIN of a key that cannot be opened */
    if (hsm_opened_before(unit, first) != ATH_OK ||
        hsm_pin_text_ask(unit, login->throttle->wrong, first, &events, &login->dialogue) != ATH_OK)
        refuse_all(login, &failure);
}

/* athd's pause stands against another try. */
static bool
is_throttled(const struct hsm_key_login *login, struct hsm_outcome *ret_failure)
{
    uint32_t wait_s = hsm_throttle_wait_s(login->throttle);

    *ret_failure = (struct hsm_outcome){.err = ATH_ERR_PIN_LOCKED, .retry_after_s = wait_s};
    if (wait_s > 0)
        why_set(&ret_failure->why, ATH_ERR_PIN_LOCKED,
                "%u wrong PINs for the key: athd makes a pause; try again in %u s",
                login->throttle->wrong, (unsigned)wait_s);
    return wait_s > 0;
}

/* Imports of one key that run side by side have numbers of their own; its PIN is tried by one. Who
 * comes while that one's question has ended, and the helper or the disk has yet to say so, waits
 * for it: nobody is asked any more. */
static bool
is_ending(const struct hsm_key_login *login)
{
    return login->stage == HSM_LOGIN_NOTING || login->over != ATH_OK ||
           TAILQ_EMPTY(&login->waiting);
}

static unsigned
count_questions(const struct hsm_unit *unit, uint64_t identity)
{
    const struct hsm_key_login *login;
    unsigned count = 0;

    TAILQ_FOREACH (login, &unit->key_logins, of_unit)
        count += login->dialogue != NULL && login->asked_by == identity;
    return count;
}

/* ---- being logged in ---- */

static void
log_out(struct hsm_key_login *login)
{
    struct hsm_unit *unit = login->unit;

    login->is_in = false;
    hsm_record_logout(unit, login->key_name);
    if (unit->process != NULL && !unit->is_leaving)
        hsm_process_send(unit->process,
                         &(struct hsm_request){.id = 0, .op = HSM_OP_LOGOUT, .key = login->key});
}

/* The times that PINs are good for (pin_ttl) end one by one. */
static void
on_logout(uv_timer_t *timer)
{
    struct hsm_unit *unit = timer->data;
    uint64_t next_ms = UINT64_MAX, left_ms;
    struct hsm_key_login *login, *next;

    for (login = TAILQ_FIRST(&unit->key_logins); login != NULL; login = next) {
        next = TAILQ_NEXT(login, of_unit);
        left_ms = login->is_in ? hsm_login_ttl_left_ms(unit, login->since_ms) : UINT64_MAX;
        if (left_ms == 0) {
            log_out(login);
            key_login_free_if_unused(login);
        } else if (left_ms < next_ms) {
            next_ms = left_ms;
        }
    }
    if (next_ms != UINT64_MAX)
        uv_timer_start(timer, on_logout, next_ms, 0);
}

static bool
is_logged_in(struct hsm_key_login *login)
{
    if (login->is_in && hsm_login_ttl_left_ms(login->unit, login->since_ms) == 0)
        log_out(login);
    return login->is_in;
}

static void
join(struct hsm_key_login *login, struct hsm_job *job)
{
    const struct hsm_key_login *other = key_login_find_busy(login);
    struct hsm_unit *unit = login->unit;
    struct hsm_outcome failure = {.err = ATH_OK};
    struct why why;
    ath_err err;

    if (hsm_pool_is_shut(unit->pool)) {
        hsm_job_fail_with(job, &shut);
    } else if ((err = hsm_pin_text_check(unit, job, &why)) != ATH_OK) {
        hsm_job_fail_later(job, err, &why);
    } else if (login->stage == HSM_LOGIN_IDLE && is_throttled(login, &failure)) {
        hsm_job_fail_with(job, &failure);
    } else if (login->stage == HSM_LOGIN_IDLE && other != NULL && is_ending(other)) {
        key_login_put(login, job); /* its end puts the job into the queue again */
        return;
    } else if (login->stage == HSM_LOGIN_IDLE && other != NULL) {
        why_set(&why, ATH_ERR_HSM_BUSY, "somebody is being asked for this key's PIN already");
        hsm_job_fail_later(job, ATH_ERR_HSM_BUSY, &why);
    } else if (login->stage == HSM_LOGIN_IDLE &&
               count_questions(unit, job->item.identity) >= HSM_PIN_QUESTIONS_CALLER_MAX) {
        hsm_pin_question_refuse(job);
    } else {
        key_login_put(login, job);
        if (login->stage == HSM_LOGIN_IDLE)
            start(login);
        else if (login->stage != HSM_LOGIN_NOTING)
            hsm_job_wait_for_person(job, login->limit_ms);
        return;
    }
    key_login_free_if_unused(login);
}

bool
hsm_key_login_takes(struct hsm_unit *unit, struct hsm_job *job)
{
    struct hsm_key_login *login = key_login_find(unit, job->key);
    bool is_in = login != NULL && is_logged_in(login);

    if (is_in && job->op != HSM_OP_LOGIN)
        return false;
    if (is_in)
        hsm_job_fail_later(job, ATH_OK, NULL); /* that was all it was for */
    else if (login == NULL && (login = key_login_add(unit, job)) == NULL)
        hsm_job_fail_later(job, ATH_ERR_NOMEM, NULL);
    else
        join(login, job);
    return true;
}

/* ---- what the helper says ---- */

static struct hsm_key_login *
find_trying(const struct hsm_unit *unit, uint32_t id)
{
    struct hsm_key_login *login;

    TAILQ_FOREACH (login, &unit->key_logins, of_unit)
        if (login->stage == HSM_LOGIN_TRYING && login->id == id)
            return login;
    return NULL;
}

bool
hsm_key_login_is_answer(const struct hsm_unit *unit, const struct hsm_response *response)
{
    return response->op == HSM_OP_LOGIN && find_trying(unit, response->id) != NULL;
}

static void
take_success(struct hsm_key_login *login)
{
    struct hsm_unit *unit = login->unit;

    hsm_throttle_passed(hsm_pool_throttles(unit->pool), login->throttle, false);
    login->stage = HSM_LOGIN_IDLE;
    login->is_in = true;
    login->since_ms = clock_boot_ms();
    key_login_requeue_behind(login);
    if (TAILQ_EMPTY(&login->waiting)) { /* what nobody waits for is not kept */
        log_out(login);
        key_login_free_if_unused(login);
        return;
    }
    if (unit->login.ttl_s > 0 && !uv_is_active((uv_handle_t *)&unit->logout))
        uv_timer_start(&unit->logout, on_logout, (uint64_t)unit->login.ttl_s * 1000, 0);
    key_login_requeue(login);
}

static void
on_noted(void *ctx, ath_err err, const struct why *why)
{
    struct hsm_key_login *login = ctx;
    struct hsm_unit *unit = login->unit;
    struct hsm_outcome failure = login->failure;

    hsm_login_log_noted(unit, err, why);
    refuse_all(login, &failure);
    hsm_unit_pump(unit);
}

/* It is on disk before anybody is told. */
static void
note_wrong(struct hsm_key_login *login, const struct hsm_outcome *failure)
{
    login->stage = HSM_LOGIN_NOTING;
    login->failure = *failure;
    hsm_throttle_failed(hsm_pool_throttles(login->unit->pool), login->throttle,
                        ath_slice_of(NULL, 0), on_noted, login);
    if (failure->err == ATH_ERR_PIN_INCORRECT)
        login->failure.retry_after_s = hsm_throttle_wait_s(login->throttle);
}

static void
take_failure(struct hsm_key_login *login, const struct hsm_response *response)
{
    struct hsm_outcome failure;

    hsm_login_fill_failure(response, login->over, &failure);
    if (response->err == ATH_ERR_PIN_INCORRECT) {
        note_wrong(login, &failure);
    } else if (login->is_abandoned && !TAILQ_EMPTY(&login->waiting)) {
        key_login_requeue_behind(login);
        start(login); /* those who wait now came later: they get a question of theirs */
    } else {
        refuse_all(login, &failure);
    }
}

void
hsm_key_login_take_response(struct hsm_unit *unit, const struct hsm_response *response)
{
    struct hsm_key_login *login = find_trying(unit, response->id);

    end_dialogue(login,
                 login->over != ATH_OK && response->err != ATH_OK ? login->over : response->err);
    if (response->err == ATH_OK || response->err == ATH_ERR_PIN_INCORRECT ||
        response->err == ATH_ERR_PIN_LOCKED)
        hsm_record_login(unit, login->key_name, response->err, response->tries_left);
    unit->has_served = unit->has_served || response->err == ATH_OK;
    if (response->err == ATH_OK)
        take_success(login);
    else
        take_failure(login, response);
}

bool
hsm_key_login_is_trying(const struct hsm_unit *unit)
{
    const struct hsm_key_login *login;

    TAILQ_FOREACH (login, &unit->key_logins, of_unit)
        if (login->stage == HSM_LOGIN_TRYING)
            return true;
    return false;
}

bool
hsm_key_login_hangs(const struct hsm_unit *unit, uint64_t now_ms)
{
    const struct hsm_key_login *login;

    TAILQ_FOREACH (login, &unit->key_logins, of_unit)
        if (login->stage == HSM_LOGIN_TRYING && now_ms >= login->limit_ms)
            return true;
    return false;
}

/* ---- the end ---- */

void
hsm_key_login_is_lost(struct hsm_unit *unit, uint32_t key)
{
    struct hsm_key_login *login = key_login_find(unit, key);

    if (login == NULL || !login->is_in)
        return;
    log_out(login);
    key_login_free_if_unused(login);
}

/* An answer of the helper's, or of the disk, may still be to come. */
static void
fail(struct hsm_key_login *login, const struct hsm_outcome *failure)
{
    end_dialogue(login, failure->err);
    key_login_fail_all(login, failure);
    login->is_abandoned = true;
    if (login->stage == HSM_LOGIN_ASKING)
        login->stage = HSM_LOGIN_IDLE;
    key_login_free_if_unused(login);
}

void
hsm_key_login_fails(struct hsm_unit *unit, uint32_t key, const struct hsm_outcome *failure)
{
    struct hsm_key_login *login = key_login_find(unit, key);

    if (login == NULL)
        return;
    login->is_in = false;
    fail(login, failure);
}

static void
lose(struct hsm_key_login *login)
{
    struct hsm_unit *unit = login->unit;
    struct hsm_outcome failure = {.err = ATH_ERR_HSM_UNAVAILABLE};

    if (login->is_in)
        hsm_record_logout(unit, login->key_name);
    login->is_in = false;
    end_dialogue(login, ATH_ERR_HSM_UNAVAILABLE);
    if (login->stage == HSM_LOGIN_ASKING) { /* nothing was tried: the next helper is asked to */
        login->stage = HSM_LOGIN_IDLE;
        key_login_requeue(login);
    }
    if (login->stage != HSM_LOGIN_TRYING) {
        key_login_free_if_unused(login);
        return;
    }
    why_set(&failure.why, failure.err, "the process that holds %s was lost while a PIN was entered",
            unit->name);
    if (unit->is_closing)
        refuse_all(login, &failure);
    else
        note_wrong(login, &failure); /* it may have been one */
}

void
hsm_key_login_lose(struct hsm_unit *unit)
{
    struct hsm_key_login *login, *next;

    uv_timer_stop(&unit->logout);
    for (login = TAILQ_FIRST(&unit->key_logins); login != NULL; login = next) {
        next = TAILQ_NEXT(login, of_unit);
        lose(login);
    }
}

void
hsm_key_login_shut(struct hsm_unit *unit, const struct tenant *tenant)
{
    struct hsm_key_login *login, *next;

    for (login = TAILQ_FIRST(&unit->key_logins); login != NULL; login = next) {
        next = TAILQ_NEXT(login, of_unit);
        if (tenant != NULL && login->tenant != tenant)
            continue;
        if (login->is_in)
            log_out(login);
        fail(login, &shut);
    }
}

void
hsm_key_login_close(struct hsm_unit *unit)
{
    struct hsm_key_login *login;

    TAILQ_FOREACH (login, &unit->key_logins, of_unit)
        end_dialogue(login, ATH_ERR_HSM_UNAVAILABLE);
}

void
hsm_key_login_done(struct hsm_unit *unit)
{
    while (!TAILQ_EMPTY(&unit->key_logins))
        key_login_free(TAILQ_FIRST(&unit->key_logins));
}
