/*
 * Logging in to a token. One attempt for all who wait in the queue; whoever waits hears what came
 * of it; the program itself never tries a second time.
 */
#include "athd/athd.h"
#include "athd/hsm_record.h"
#include "athd/hsm_unit.h"
#include "base/clock.h"

#define LOOK_AGAIN_MS 10000u

static const struct hsm_outcome shut = {.err = ATH_ERR_AGENT_LOCKED};
static const char pin_needed[] = "its PIN is needed";

/* ---- the end ---- */

static void
end_dialogue(struct hsm_unit_login *login, ath_err how)
{
    pin_dialogue_end(login->dialogue, how);
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

/* No try was made: a no, no answer, or a prompter that is of no use. */
static bool
is_of_person(ath_err err)
{
    return err == ATH_ERR_USER_DENIED || err == ATH_ERR_CONSENT_TIMEOUT ||
           err == ATH_ERR_NO_PROMPTER;
}

void
hsm_login_refuse(struct hsm_unit *unit, struct hsm_outcome *failure)
{
    struct hsm_unit_login *login = &unit->login;
    const struct tenant *asked = login->asked;

    login->asked = NULL;
    end_dialogue(login, failure->err);
    end_try(unit);
    log_warning("event=login hsm=%s err=%s reason=\"%s\"", unit->name, ath_err_reason(failure->err),
                why_text(&failure->why, failure->err));
    if (asked == NULL || !is_of_person(failure->err)) {
        hsm_unit_fail_queued(unit, failure);
        return;
    }
    hsm_unit_fail_queued_of(unit, asked, failure);
    hsm_unit_pump(unit);
}

static void
on_noted(void *ctx, ath_err err, const struct why *why)
{
    struct hsm_unit *unit = ctx;
    struct hsm_outcome failure = unit->login.failure;

    hsm_login_log_noted(unit, err, why);
    hsm_login_refuse(unit, &failure);
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

static void
on_logout(uv_timer_t *timer)
{
    struct hsm_unit *unit = timer->data;
    uint64_t left_ms;

    if (!unit->is_open || unit->is_leaving || !unit->login.is_in)
        return;
    if ((left_ms = hsm_login_ttl_left_ms(unit, unit->login.since_ms)) > 0)
        uv_timer_start(timer, on_logout, left_ms, 0);
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
    if (login->is_in && hsm_login_ttl_left_ms(unit, login->since_ms) > 0)
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
        hsm_login_refuse(unit, &failure);
    else
        hsm_login_start(unit);
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
    end_dialogue(login, ATH_ERR_AGENT_LOCKED);
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
                            login->is_locked ? HSM_LOGIN_LOCKED : pin_needed);
    return ATH_OK;
}

static void
take_success(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;

    end_dialogue(login, ATH_OK);
    login->is_in = unit->has_served = true;
    login->since_ms = clock_boot_ms();
    hsm_login_count_right(unit, login->from);
    end_try(unit);
    if (login->ttl_s > 0)
        uv_timer_start(&unit->logout, on_logout, (uint64_t)login->ttl_s * 1000, 0);
    hsm_login_let_go_on(unit);
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

    hsm_login_fill_failure(response, login->over, failure);
    failure->err = reason_of(failure->err);
    if (login->skips_source && failure->err == ATH_ERR_NO_PROMPTER)
        hsm_login_refuse_last_try(unit, failure);
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
    end_dialogue(login, failure.err);
    if (response->err == ATH_ERR_PIN_LOCKED) {
        login->is_locked = true;
        hsm_unit_set_locked(unit, ATH_ERR_PIN_LOCKED, HSM_LOGIN_LOCKED);
    }
    if (response->err != ATH_ERR_PIN_INCORRECT && !response->pin_in_doubt) {
        /* those who wait now came later: they get a question of theirs */
        if (login->is_abandoned) {
            end_try(unit);
            hsm_unit_pump(unit);
        } else {
            hsm_login_refuse(unit, &failure);
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
    end_dialogue(login, ATH_ERR_HSM_UNAVAILABLE);
    if (login->stage == HSM_LOGIN_ASKING) { /* nothing was tried: the next helper is asked to */
        login->stage = HSM_LOGIN_IDLE;
        hsm_login_let_go_on(unit);
    }
    if (login->stage != HSM_LOGIN_TRYING)
        return;
    login->failure = (struct hsm_outcome){.err = ATH_ERR_HSM_UNAVAILABLE};
    why_set(&login->failure.why, ATH_ERR_HSM_UNAVAILABLE,
            "%s was lost while its PIN was being tried", unit->name);
    if (unit->was_removed || (unit->is_closing && login->from != HSM_PIN_SOURCE)) {
        hsm_login_refuse(unit, &login->failure);
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
    end_dialogue(&unit->login, ATH_ERR_HSM_UNAVAILABLE);
    uv_close((uv_handle_t *)&unit->logout, NULL);
}
