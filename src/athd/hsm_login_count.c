/* What is the same wherever a PIN is tried, of a token or of a key: how tries are counted, what is
 * said of one that failed, and for how long a right one is good. */
#include "athd/athd.h"
#include "athd/hsm_unit.h"
#include "base/clock.h"

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

void
hsm_login_log_noted(const struct hsm_unit *unit, ath_err err, const struct why *why)
{
    if (err != ATH_OK)
        log_error("event=login hsm=%s reason=\"the wrong PIN could not be written down: %s\"",
                  unit->name, why_text(why, err));
}

/* ---- what failed ---- */

bool
hsm_login_is_refused(struct hsm_unit *unit, struct hsm_outcome *ret_failure)
{
    uint32_t wait_s = hsm_throttle_wait_s(unit->login.throttle);

    *ret_failure = (struct hsm_outcome){
        .err = ATH_ERR_PIN_LOCKED, .tries_left = unit->login.tries_left, .retry_after_s = wait_s};
    if (unit->login.is_locked) {
        why_set(&ret_failure->why, ATH_ERR_PIN_LOCKED, "%s: %s", unit->name, HSM_LOGIN_LOCKED);
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

void
hsm_login_refuse_last_try(const struct hsm_unit *unit, struct hsm_outcome *failure)
{
    failure->err = why_set(&failure->why, ATH_ERR_PIN_REQUIRED,
                           "one try is left for %s: a person must enter the PIN, and nobody can be "
                           "asked",
                           unit->name);
}

void
hsm_login_fill_failure(const struct hsm_response *response, ath_err over,
                       struct hsm_outcome *ret_failure)
{
    *ret_failure = (struct hsm_outcome){
        .err = response->err, .native = response->native, .tries_left = response->tries_left};
    if (response->sentence.len > 0)
        why_set(&ret_failure->why, response->err, "%.*s", (int)response->sentence.len,
                (const char *)response->sentence.data);
    if (over != ATH_OK && response->err != ATH_ERR_PIN_INCORRECT)
        *ret_failure = (struct hsm_outcome){.err = over};
}

/* ---- time ---- */

uint64_t
hsm_login_ttl_left_ms(const struct hsm_unit *unit, uint64_t since_ms)
{
    uint64_t past_ms = clock_boot_ms() - since_ms; /* it runs while the machine sleeps */
    uint64_t ttl_ms = (uint64_t)unit->login.ttl_s * 1000;

    return ttl_ms == 0 ? UINT64_MAX : past_ms >= ttl_ms ? 0 : ttl_ms - past_ms;
}
