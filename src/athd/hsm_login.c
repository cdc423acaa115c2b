/*
 * Logging in to a token. One attempt for all who wait in the queue: from the URI's pin-source, from
 * a person by a prompter, or at the reader's pad. Whoever waits hears what came of it; the program
 * itself never tries a second time.
 */
#include <stddef.h>

#include "athd/athd.h"
#include "athd/hsm_record.h"
#include "athd/hsm_unit.h"
#include "base/clock.h"

#define LOGIN_MS 10000u /* a token's own time for a PIN */
#define GRACE_MS 5000u  /* after a person's time is up */
#define LOOK_AGAIN_MS 10000u

static const struct hsm_outcome shut = {.err = ATH_ERR_AGENT_LOCKED};
static const char pin_needed[] = "its PIN is needed";
static const char pin_locked[] =
    "too many wrong PINs: it takes none until it is unblocked (with its PUK or SO PIN)";

/* ---- who waits ---- */

static struct hsm_job *
job_of(struct hsm_queue_item *item)
{
    return (struct hsm_job *)((char *)item - offsetof(struct hsm_job, item));
}

static bool
asks_person(const struct hsm_unit_login *login)
{
    return (login->stage == HSM_LOGIN_ASKING || login->stage == HSM_LOGIN_TRYING) &&
           login->from != HSM_PIN_SOURCE;
}

static void
let_wait(void *ctx, struct hsm_queue_item *item)
{
    hsm_job_wait_for_person(job_of(item), *(const uint64_t *)ctx);
}

static void
let_go_on(void *ctx, struct hsm_queue_item *item)
{
    (void)ctx;
    hsm_job_go_on(job_of(item));
}

void
hsm_login_note_waiter(struct hsm_unit *unit, struct hsm_job *job)
{
    if (asks_person(&unit->login))
        hsm_job_wait_for_person(job, unit->login.limit_ms);
}

void
hsm_login_note_leaver(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;

    if (unit->queue.len > 0 || login->dialogue == NULL)
        return;
    pin_dialogue_end(login->dialogue);
    login->dialogue = NULL;
    if (login->stage == HSM_LOGIN_ASKING)
        login->stage = HSM_LOGIN_IDLE;
    login->is_abandoned = true;
}

/* ---- the end ---- */

static void
end_dialogue(struct hsm_unit_login *login)
{
    pin_dialogue_end(login->dialogue);
    login->dialogue = NULL;
}

/* No try is under way any more. Another hsm of the same token may try its PIN now. */
static void
end_try(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;

    login->stage = HSM_LOGIN_IDLE;
    if (login->tries_with == NULL)
        return;
    login->tries_with->trying = NULL;
    login->tries_with = NULL;
    hsm_pool_pump_others(unit->pool, unit);
}

/* Everybody who waits is told. */
static void
refuse_all(struct hsm_unit *unit, struct hsm_outcome *failure)
{
    struct hsm_unit_login *login = &unit->login;

    end_dialogue(login);
    end_try(unit);
    log_warning("event=login hsm=%s err=%s reason=\"%s\"", unit->name, ath_err_reason(failure->err),
                why_text(&failure->why, failure->err));
    hsm_unit_fail_queued(unit, failure);
}

static void
on_noted(void *ctx, ath_err err, const struct why *why)
{
    struct hsm_unit *unit = ctx;
    struct hsm_outcome failure = unit->login.failure;

    if (err != ATH_OK)
        log_error("event=login hsm=%s reason=\"the wrong PIN could not be written down: %s\"",
                  unit->name, why_text(why, err));
    refuse_all(unit, &failure);
}

/* ---- counting ---- */

void
hsm_login_count_wrong(struct hsm_unit *unit, const struct hsm_response *response,
                      store_done_fn *done, void *ctx)
{
    struct hsm_throttle *throttle = unit->login.throttle;
    struct ath_slice stamp = {0};

    /* one failure that leaves a doubt may be a fault of the moment; two may cost all but the last
     * try of a card */
    if (response != NULL && (!response->pin_in_doubt || throttle->wrong > 0))
        stamp = response->stamp;
    if (response != NULL)
        unit->login.tries_left = response->tries_left;
    hsm_throttle_failed(hsm_pool_throttles(unit->pool), throttle, stamp, done, ctx);
}

void
hsm_login_count_right(struct hsm_unit *unit, enum hsm_pin_from from)
{
    unit->login.tries_left = 0;
    hsm_throttle_passed(hsm_pool_throttles(unit->pool), unit->login.throttle,
                        from == HSM_PIN_SOURCE);
}

bool
hsm_login_is_refused(struct hsm_unit *unit, struct hsm_outcome *ret_failure)
{
    uint32_t wait_s = hsm_throttle_wait_s(unit->login.throttle);

    *ret_failure = (struct hsm_outcome){
        .err = ATH_ERR_PIN_LOCKED, .tries_left = unit->login.tries_left, .retry_after_s = wait_s};
    if (unit->login.is_locked) {
        why_set(&ret_failure->why, ATH_ERR_PIN_LOCKED, "%s: %s", unit->name, pin_locked);
        return true;
    }
    if (wait_s > 0)
        why_set(
            &ret_failure->why, ATH_ERR_PIN_LOCKED,
            "%u tries of a PIN failed for %s: athd makes a pause (the token is not locked); try "
            "again in %u s",
            unit->login.throttle->wrong, unit->name, (unsigned)wait_s);
    return wait_s > 0;
}

/* ---- asking ---- */

static void
send_login(struct hsm_unit *unit, struct hsm_pin_request *pin)
{
    struct hsm_unit_login *login = &unit->login;
    const struct hsm_throttle *throttle = login->throttle;

    pin->from = login->from;
    pin->keep = login->ttl_s > 0;
    if (login->from == HSM_PIN_SOURCE)
        pin->refused = ath_slice_of(throttle->refused, throttle->refused_len);
    login->stage = HSM_LOGIN_TRYING;
    hsm_pool_want_ticks(unit->pool);
    hsm_process_send(unit->process,
                     &(struct hsm_request){.id = login->id, .op = HSM_OP_LOGIN, .pin = *pin});
}

static void
on_shown(void *ctx, int fd, uint32_t timeout_s)
{
    struct hsm_unit *unit = ctx;
    struct hsm_queue_item *first = hsm_queue_first(&unit->queue);
    struct hsm_pin_request pin = {.timeout_s = timeout_s};
    struct ath_buf words = {.max = HSM_WIRE_MAX_TEXT};
    struct hsm_outcome failure = {.err = ATH_ERR_NO_PROMPTER};

    if (unit->is_leaving)
        return; /* the next helper asks anew (hsm_login_lose) */
    hsm_pin_text_make(unit->login.throttle->wrong, first == NULL ? NULL : job_of(first),
                      unit->queue.len > 0 ? unit->queue.len - 1 : 0, &words, &pin);
    hsm_pin_text_place(unit, &pin);
    if (hsm_process_send_fd(unit->process, unit->login.id, fd) == ATH_OK)
        send_login(unit, &pin);
    else
        refuse_all(unit, &failure);
    ath_buf_done(&words);
}

static void
on_dialogue_failed(void *ctx, ath_err err)
{
    struct hsm_unit *unit = ctx;
    struct hsm_unit_login *login = &unit->login;
    struct hsm_outcome failure = {.err = err};

    if (login->stage == HSM_LOGIN_TRYING) {
        login->is_timed_out = true; /* the helper has lost its prompter and answers */
        return;
    }
    if (err == ATH_ERR_NO_PROMPTER && login->skips_source)
        failure.err = why_set(&failure.why, ATH_ERR_PIN_REQUIRED,
                              "one try is left for %s: a person must enter the PIN, and nobody can "
                              "be asked",
                              unit->name);
    refuse_all(unit, &failure);
}

static void
ask_person(struct hsm_unit *unit)
{
    const struct pin_dialogue_events events = {on_shown, on_dialogue_failed, unit};
    struct hsm_outcome failure = {.err = ATH_ERR_NOMEM};
    struct hsm_unit_login *login = &unit->login;

    login->stage = HSM_LOGIN_ASKING;
    if ((failure.err = pin_dialogue_check(unit->athd, &failure.why)) != ATH_OK ||
        (failure.err = pin_dialogue_start(unit->athd, &events, &login->dialogue)) != ATH_OK)
        refuse_all(unit, &failure);
}

static enum hsm_pin_from
choose_source(struct hsm_unit_login *login)
{
    login->skips_source = login->has_source && login->tries_left == 1;
    return login->kind == HSM_LOGIN_PAD                ? HSM_PIN_NONE
           : login->has_source && !login->skips_source ? HSM_PIN_SOURCE
                                                       : HSM_PIN_PROMPTER;
}

/* Two hsms of one token never try a PIN by themselves at once: the second is to know what became of
 * the first. */
static bool
takes_try(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;

    if (login->throttle->trying != NULL)
        return false;
    login->throttle->trying = unit;
    login->tries_with = login->throttle;
    return true;
}

static void
start(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t person_ms = (uint64_t)unit->athd->config->consent_timeout_s * 1000 + GRACE_MS;
    struct hsm_pin_request pin = {.from = HSM_PIN_NONE};

    login->from = choose_source(login);
    if (login->from == HSM_PIN_SOURCE && !takes_try(unit))
        return;
    login->is_abandoned = login->is_timed_out = false;
    login->limit_ms = now_ms + (login->from == HSM_PIN_SOURCE ? LOGIN_MS : person_ms);
    login->id = hsm_unit_next_id(unit);
    hsm_queue_each(&unit->queue, let_go_on, NULL); /* a question before was for naught */
    if (login->from != HSM_PIN_SOURCE)
        hsm_queue_each(&unit->queue, let_wait, &login->limit_ms);
    if (login->from == HSM_PIN_PROMPTER)
        ask_person(unit);
    else
        send_login(unit, &pin);
}

/* ---- being logged in ---- */

static void
log_out(struct hsm_unit *unit)
{
    unit->login.is_in = false;
    uv_timer_stop(&unit->logout);
    hsm_record_logout(unit, NULL);
    hsm_unit_set_locked(unit, ATH_ERR_PIN_REQUIRED, pin_needed);
}

/* The time that a PIN is good for (pin_ttl) is over. */
static void
expire(struct hsm_unit *unit)
{
    hsm_process_send(unit->process, &(struct hsm_request){.id = 0, .op = HSM_OP_LOGOUT});
    log_out(unit);
}

static uint64_t
ttl_left_ms(const struct hsm_unit_login *login)
{
    uint64_t past_ms = clock_boot_ms() - login->since_ms; /* it runs while the machine sleeps */
    uint64_t ttl_ms = (uint64_t)login->ttl_s * 1000;

    return past_ms >= ttl_ms ? 0 : ttl_ms - past_ms;
}

static void
on_logout(uv_timer_t *timer)
{
    struct hsm_unit *unit = timer->data;

    if (!unit->is_open || unit->is_leaving || !unit->login.is_in)
        return;
    if (ttl_left_ms(&unit->login) > 0)
        uv_timer_start(timer, on_logout, ttl_left_ms(&unit->login), 0);
    else
        expire(unit);
}

bool
hsm_login_looks_again(struct hsm_unit *unit)
{
    if (!unit->login.is_locked || clock_monotonic_ms() - unit->opened_at_ms < LOOK_AGAIN_MS)
        return false;
    hsm_unit_renew(unit);
    return true;
}

bool
hsm_login_is_ready(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;
    struct hsm_outcome failure;

    if (login->kind == HSM_LOGIN_NONE)
        return true;
    if (login->is_in && (login->ttl_s == 0 || ttl_left_ms(login) > 0))
        return true;
    if (login->is_in)
        expire(unit);
    if (unit->queue.len == 0 || login->stage != HSM_LOGIN_IDLE)
        return false;
    if (hsm_pool_is_shut(unit->pool)) {
        hsm_unit_fail_queued(unit, &shut);
        return false;
    }
    if (hsm_login_looks_again(unit))
        return false;
    if (hsm_login_is_refused(unit, &failure))
        refuse_all(unit, &failure);
    else
        start(unit);
    return false;
}

void
hsm_login_is_lost(struct hsm_unit *unit)
{
    if (unit->login.is_in)
        log_out(unit);
}

/* A PIN that the helper is trying is answered: take_success logs out then. */
void
hsm_login_shut(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;

    if (!unit->is_open || unit->is_leaving)
        return;
    hsm_process_send(unit->process, &(struct hsm_request){.id = 0, .op = HSM_OP_LOGOUT});
    if (login->is_in)
        log_out(unit);
    end_dialogue(login);
    if (login->stage == HSM_LOGIN_ASKING)
        end_try(unit);
    if (login->stage == HSM_LOGIN_IDLE && login->kind != HSM_LOGIN_NONE)
        hsm_unit_fail_queued(unit, &shut);
}

/* ---- what the helper says ---- */

ath_err
hsm_login_take_info(struct hsm_unit *unit, const struct hsm_response *response)
{
    struct hsm_unit_login *login = &unit->login;

    login->kind = response->login;
    login->is_in = false;
    login->is_locked = response->pin_locked;
    login->tries_left = response->tries_left;
    login->throttle = hsm_throttle_of(hsm_pool_throttles(unit->pool), unit->name,
                                      unit->manufacturer, unit->model, unit->serial);
    if (login->throttle == NULL)
        return ATH_ERR_NOMEM;
    if (login->kind == HSM_LOGIN_NONE)
        hsm_unit_set_ready(unit);
    else
        hsm_unit_set_locked(unit, login->is_locked ? ATH_ERR_PIN_LOCKED : ATH_ERR_PIN_REQUIRED,
                            login->is_locked ? pin_locked : pin_needed);
    return ATH_OK;
}

static void
take_success(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;

    end_dialogue(login);
    login->is_in = unit->has_served = true;
    login->since_ms = clock_boot_ms();
    hsm_login_count_right(unit, login->from);
    end_try(unit);
    if (login->ttl_s > 0)
        uv_timer_start(&unit->logout, on_logout, (uint64_t)login->ttl_s * 1000, 0);
    hsm_queue_each(&unit->queue, let_go_on, NULL);
    if (hsm_pool_is_shut(unit->pool)) {
        expire(unit);
        hsm_unit_fail_queued(unit, &shut);
        return;
    }
    hsm_unit_set_ready(unit);
    hsm_unit_pump(unit);
}

/* What a module answers to a PIN says nothing of the request that waits for it. */
static ath_err
reason_of(ath_err err)
{
    return err == ATH_ERR_INVALID_PARAMS || err == ATH_ERR_UNSUPPORTED_ALGORITHM ||
                   err == ATH_ERR_NOMEM
               ? ATH_ERR_HSM_ERROR
               : err;
}

static void
fill_failure(const struct hsm_unit *unit, const struct hsm_response *response,
             struct hsm_outcome *failure)
{
    const struct hsm_unit_login *login = &unit->login;

    *failure = (struct hsm_outcome){.err = reason_of(response->err),
                                    .native = response->native,
                                    .tries_left = response->tries_left};
    if (response->sentence.len > 0)
        why_set(&failure->why, response->err, "%.*s", (int)response->sentence.len,
                (const char *)response->sentence.data);
    if (login->is_timed_out && response->err != ATH_ERR_PIN_INCORRECT)
        *failure = (struct hsm_outcome){.err = ATH_ERR_CONSENT_TIMEOUT};
    else if (login->skips_source && response->err == ATH_ERR_NO_PROMPTER)
        failure->err = why_set(&failure->why, ATH_ERR_PIN_REQUIRED,
                               "one try is left for %s: a person must enter the PIN, and nobody "
                               "can be asked",
                               unit->name);
}

void
hsm_login_take_response(struct hsm_unit *unit, const struct hsm_response *response)
{
    struct hsm_unit_login *login = &unit->login;
    struct hsm_outcome failure;

    hsm_record_login(unit, NULL, response->err, response->tries_left);
    if (response->err == ATH_OK) {
        take_success(unit);
        return;
    }
    fill_failure(unit, response, &failure);
    end_dialogue(login);
    if (response->err == ATH_ERR_PIN_LOCKED) {
        login->is_locked = true;
        hsm_unit_set_locked(unit, ATH_ERR_PIN_LOCKED, pin_locked);
    }
    if (response->err != ATH_ERR_PIN_INCORRECT && !response->pin_in_doubt) {
        /* those who wait now came later: they get a question of theirs */
        if (login->is_abandoned) {
            end_try(unit);
            hsm_unit_pump(unit);
        } else {
            refuse_all(unit, &failure);
        }
        return;
    }
    login->stage = HSM_LOGIN_NOTING;
    hsm_login_count_wrong(unit, response, on_noted, unit);
    failure.retry_after_s = hsm_throttle_wait_s(login->throttle);
    login->failure = failure;
}

/* ---- the helper is gone ---- */

void
hsm_login_lose(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;

    login->is_in = false;
    uv_timer_stop(&unit->logout);
    end_dialogue(login);
    if (login->stage == HSM_LOGIN_ASKING) { /* nothing was tried: the next helper is asked to */
        login->stage = HSM_LOGIN_IDLE;
        hsm_queue_each(&unit->queue, let_go_on, NULL);
    }
    if (login->stage != HSM_LOGIN_TRYING)
        return;
    login->failure = (struct hsm_outcome){.err = ATH_ERR_HSM_UNAVAILABLE};
    why_set(&login->failure.why, ATH_ERR_HSM_UNAVAILABLE,
            "%s was lost while its PIN was being tried", unit->name);
    if (unit->was_removed || (unit->is_closing && login->from != HSM_PIN_SOURCE)) {
        refuse_all(unit, &login->failure);
        return;
    }
    /* it may have been a wrong one: a module that dies of them is not to use up all tries, nor are
     * starts of athd that come to nothing, one after the other */
    login->stage = HSM_LOGIN_NOTING;
    hsm_login_count_wrong(unit, NULL, on_noted, unit);
}

bool
hsm_login_hangs(const struct hsm_unit *unit, uint64_t now_ms)
{
    return unit->login.stage == HSM_LOGIN_TRYING && now_ms >= unit->login.limit_ms;
}

void
hsm_login_close(struct hsm_unit *unit)
{
    end_dialogue(&unit->login);
    uv_close((uv_handle_t *)&unit->logout, NULL);
}
