#include "athd/hsm_unit.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/hsm_key_login.h"
#include "athd/hsm_record.h"
#include "base/clock.h"

#define RESTART_STEP_MS 50u
#define RESTART_MAX_MS 5000u
#define LIFE_PROVEN_MS 10000u /* a helper that lived so long starts the count of failures anew */

#define WORTHWHILE_MS 1000u /* a token that was there for so long is no failure when it goes */

/* ---- what the helper says of the hardware ---- */

static void
copy_text(char *target, size_t size, struct ath_slice text)
{
    snprintf(target, size, "%.*s", (int)(text.len < size ? text.len : size - 1),
             text.len == 0 ? "" : (const char *)text.data);
}

static void
set_why(struct hsm_unit *unit, const struct hsm_response *response)
{
    unit->reason = response->err;
    why_set(&unit->why, response->err, "%.*s", (int)response->sentence.len,
            response->sentence.len == 0 ? "" : (const char *)response->sentence.data);
    if (unit->why.text[0] == '\0')
        why_set(&unit->why, response->err, "%s", ath_err_sentence(response->err));
}

/* A token that is not there: nobody waits for it. A TPM is waited for: it will be there. */
static void
take_refusal(struct hsm_unit *unit, const struct hsm_response *response)
{
    unit->has_refused = true;
    unit->is_waiting = response->waits && response->err == ATH_ERR_HSM_UNAVAILABLE;
    unit->turns_away = unit->is_token;
    set_why(unit, response);
    hsm_unit_set_state(unit, response->err == ATH_ERR_HSM_UNAVAILABLE ? HSM_UNIT_ABSENT
                             : response->err == ATH_ERR_PIN_LOCKED    ? HSM_UNIT_LOCKED
                                                                      : HSM_UNIT_FAILED);
    hsm_unit_pump(unit);
    if (!unit->is_waiting)
        hsm_unit_leave(unit, false);
}

/* It was taken out, or the device is gone: a helper that opens it anew may find it back. */
static void
take_removal(struct hsm_unit *unit, const struct hsm_response *response)
{
    set_why(unit, response);
    unit->was_removed = unit->is_token;
    if (unit->is_token)
        hsm_unit_set_state(unit, HSM_UNIT_ABSENT);
    hsm_unit_leave(unit, false);
}

void
hsm_unit_renew(struct hsm_unit *unit)
{
    unit->was_removed = true;
    hsm_unit_leave(unit, false);
}

/* It opens the hardware, and that takes a while: its state is as before. */
static void
take_slowness(struct hsm_unit *unit, const struct hsm_response *response)
{
    unit->is_slow = true;
    set_why(unit, response);
    unit->reason = ATH_ERR_HSM_UNAVAILABLE;
    log_info("event=hsm name=%s state=%s reason=\"%s\"", unit->name, hsm_unit_state_name(unit),
             unit->why.text);
}

static void
take_info(struct hsm_unit *unit, const struct hsm_response *response)
{
    if (response->err == ATH_ERR_HSM_BUSY && response->waits) {
        take_slowness(unit, response);
        return;
    }
    if (response->err != ATH_OK) {
        take_refusal(unit, response);
        return;
    }
    copy_text(unit->kind, sizeof(unit->kind), response->kind);
    copy_text(unit->manufacturer, sizeof(unit->manufacturer), response->manufacturer);
    copy_text(unit->model, sizeof(unit->model), response->model);
    copy_text(unit->firmware, sizeof(unit->firmware), response->firmware);
    copy_text(unit->serial, sizeof(unit->serial), response->serial);
    unit->software = response->software;
    unit->has_ek_certificate = response->has_ek_certificate;
    unit->has_counter = response->has_counter;
    unit->parallel = response->parallel;
    unit->is_open = true;
    unit->is_waiting = unit->turns_away = unit->has_refused = unit->has_served = false;
    unit->opened_at_ms = clock_monotonic_ms();
    if (hsm_login_take_info(unit, response) != ATH_OK) {
        unit->reason = why_set(&unit->why, ATH_ERR_NOMEM, "out of memory");
        hsm_unit_leave(unit, true);
        return;
    }
    hsm_unit_pump(unit);
}

/* ---- answers ---- */

static bool
is_login(const struct hsm_unit *unit, const struct hsm_response *response)
{
    return response->op == HSM_OP_LOGIN && unit->login.stage == HSM_LOGIN_TRYING &&
           response->id == unit->login.id;
}

/* An answer to something, or the second INFO, which comes unasked. */
static bool
is_known(const struct hsm_unit *unit, const struct hsm_response *response)
{
    return is_login(unit, response) || hsm_key_login_is_answer(unit, response) ||
           (response->op == HSM_OP_INFO && response->id == unit->info_id) ||
           hsm_unit_find_flying(unit, response->id, response->op) != NULL;
}

static void
on_response(void *ctx, const struct hsm_response *response)
{
    struct hsm_unit *unit = ctx;
    struct hsm_job *job;

    if (unit->is_leaving)
        return;
    if (response->op == HSM_OP_INFO && response->id == unit->info_id && !unit->is_open) {
        take_info(unit, response);
        return;
    }
    if (response->id == 0)
        return; /* KEY_CLOSE, LOGOUT */
    if (response->err == ATH_ERR_HSM_UNAVAILABLE && is_known(unit, response)) {
        take_removal(unit, response);
    } else if (is_login(unit, response)) {
        hsm_login_take_response(unit, response);
    } else if (hsm_key_login_is_answer(unit, response)) {
        hsm_key_login_take_response(unit, response);
        hsm_unit_pump(unit);
    } else if ((job = hsm_unit_find_flying(unit, response->id, response->op)) == NULL) {
        log_error("event=hsm name=%s reason=\"an answer to nothing\"", unit->name);
        hsm_unit_leave(unit, true);
    } else {
        hsm_unit_take_response(unit, job, response);
        hsm_unit_pump(unit);
    }
}

/* ---- lives ---- */

void
hsm_unit_leave(struct hsm_unit *unit, bool kill)
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

/* The helper is gone: why, as far as it is not known. */
static void
note_loss(struct hsm_unit *unit)
{
    if (unit->is_open && !unit->was_removed) {
        unit->athd->counters.helper_restarts++;
        unit->restarts++;
    }
    /* the PIN that is needed says nothing of the loss */
    if (unit->is_open && (unit->why.text[0] == '\0' || unit->state == HSM_UNIT_LOCKED))
        why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "its helper process ended");
    else if (!unit->is_open && !unit->has_refused)
        why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "%s ended before it said anything",
                unit->athd->config->helper);
    if (unit->has_refused)
        return;
    unit->reason = ATH_ERR_HSM_UNAVAILABLE;
    hsm_unit_set_state(unit, unit->is_open ? HSM_UNIT_ABSENT : HSM_UNIT_FAILED);
}

static void
on_gone(void *ctx)
{
    struct hsm_unit *unit = ctx;
    uint64_t life_ms = unit->is_open ? clock_monotonic_ms() - unit->opened_at_ms : 0;
    bool is_innocent = unit->was_removed && (unit->has_served || life_ms >= WORTHWHILE_MS);

    unit->process = NULL;
    if (!unit->is_closing)
        note_loss(unit);
    hsm_record_helper(unit, "helper_ended");
    unit->is_open = unit->is_leaving = unit->has_refused = unit->is_waiting = false;
    unit->is_slow = false;
    hsm_login_lose(unit);
    hsm_key_login_lose(unit);
    hsm_unit_lose_flying(unit);
    unit->was_removed = false;
    if (unit->is_closing)
        return;
    unit->failures = is_innocent ? 0 : life_ms >= LIFE_PROVEN_MS ? 1 : unit->failures + 1;
    restart_later(unit);
}

void
hsm_unit_start(struct hsm_unit *unit)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    const struct config *config = unit->athd->config;
    struct hsm_process_params params = {
        config->helper, unit->uri, config->state_dir, levels[config->log_level], on_response,
        on_gone,        unit};

    if (unit->is_closing || unit->process != NULL)
        return;
    if (hsm_process_start(unit->athd->loop, &params, &unit->process) != ATH_OK) {
        why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "its helper process cannot be started");
        unit->failures++;
        restart_later(unit);
        return;
    }
    hsm_record_helper(unit, "helper_started");
    unit->started_ms = clock_monotonic_ms();
    unit->info_id = hsm_unit_next_id(unit);
    hsm_pool_want_ticks(unit->pool);
    hsm_process_send(
        unit->process,
        &(struct hsm_request){.id = unit->info_id, .op = HSM_OP_INFO, .version = HSM_WIRE_VERSION});
}

/* ---- life of the unit ---- */

ath_err
hsm_unit_init(struct hsm_unit *unit, struct athd *athd, struct hsm_pool *pool,
              const struct config_hsm *config)
{
    struct pkcs11_uri parts;

    *unit = (struct hsm_unit){.athd = athd,
                              .pool = pool,
                              .name = config->name,
                              .uri = config->uri,
                              .config = config,
                              .state = HSM_UNIT_STARTING,
                              .parallel = 1};
    hsm_queue_init(&unit->queue);
    TAILQ_INIT(&unit->flying);
    TAILQ_INIT(&unit->asking);
    TAILQ_INIT(&unit->key_logins);
    unit->login.ttl_s = config->pin_ttl_s;
    if (pkcs11_uri_parse(ath_slice_of_string(config->uri), NULL, &parts) == ATH_OK) {
        unit->is_token = true;
        unit->login.has_source = parts.pin_file[0] != '\0' || parts.pin_credential[0] != '\0';
        strcpy(unit->kind, "pkcs11");
    }
    unit->reason = why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "it is being started");
    /* these only fill the handles in (libuv 1.44) */
    if (uv_timer_init(athd->loop, &unit->restart) != 0 ||
        uv_timer_init(athd->loop, &unit->logout) != 0)
        return ATH_ERR_NOMEM;
    unit->restart.data = unit->logout.data = unit;
    return ATH_OK;
}

static void
fail_waiting(struct hsm_job *job, uint64_t now_ms)
{
    (void)now_ms;
    hsm_unit_cancel(job, ATH_ERR_HSM_UNAVAILABLE, &(struct why){"athd is ending"});
}

static void
fail_queued(void *ctx, struct hsm_queue_item *item)
{
    (void)ctx;
    fail_waiting((struct hsm_job *)((char *)item - offsetof(struct hsm_job, item)), 0);
}

void
hsm_unit_close(struct hsm_unit *unit)
{
    struct hsm_job *job;

    unit->is_closing = true;
    uv_close((uv_handle_t *)&unit->restart, NULL);
    hsm_login_close(unit);
    hsm_queue_each(&unit->queue, fail_queued, NULL);
    hsm_key_login_each_waiting(unit, fail_waiting, 0);
    hsm_key_login_close(unit);
    while ((job = TAILQ_FIRST(&unit->asking)) != NULL)
        hsm_unit_cancel(job, ATH_ERR_HSM_UNAVAILABLE, &(struct why){"athd is ending"});
    TAILQ_FOREACH (job, &unit->flying, flying)
        if (job->done != NULL)
            hsm_job_fail_later(job, ATH_ERR_HSM_UNAVAILABLE, NULL);
    hsm_unit_leave(unit, false);
}

bool
hsm_unit_is_gone(const struct hsm_unit *unit)
{
    return unit->process == NULL;
}

void
hsm_unit_done(struct hsm_unit *unit)
{
    hsm_key_login_done(unit);
    free(unit->opened);
    unit->opened = NULL;
}
