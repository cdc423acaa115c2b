#include "athd/hsm_unit.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/events.h"
#include "athd/hsm_key_login.h"
#include "athd/hsm_record.h"
#include "base/clock.h"

#define RESTART_STEP_MS 50u
#define RESTART_MAX_MS 5000u
#define LIFE_PROVEN_MS 10000u /* a helper that lived so long starts the count of failures anew */

/* How long a job may be out once its turn has come. The slowest TPMs need a second for a signature
 * and some for a key; the first INFO may have to set up a software TPM. */
#define HANG_MS 10000u
#define HANG_CREATE_MS 25000u
#define HANG_INFO_MS 60000u
#define HANG_PERSON_MS 5000u /* beyond what a person has to enter a PIN */
#define WORTHWHILE_MS 1000u  /* a token that was there for so long is no failure when it goes */
#define LEAVE_MS 2000u       /* for a clean end */

static void leave(struct hsm_unit *unit, bool kill);

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
    bool is_same = unit->state == state;
    struct json_maker event;

    if (state == HSM_UNIT_READY)
        unit->reason = ATH_OK;
    if (is_same && (state == HSM_UNIT_READY || strcmp(unit->told.text, unit->why.text) == 0))
        return;
    unit->state = state;
    unit->told = unit->why;
    if (state == HSM_UNIT_READY && unit->software)
        log_warning("event=hsm name=%s state=ready kind=%s software=yes note=\"its keys are "
                    "protected by file permissions only\"",
                    unit->name, unit->kind);
    else if (state == HSM_UNIT_READY)
        log_info("event=hsm name=%s state=ready kind=%s", unit->name, unit->kind);
    else
        log_warning("event=hsm name=%s state=%s reason=\"%s\"", unit->name, state_names[state],
                    unit->why.text);
    if (!is_same)
        hsm_record_state(unit);
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
set_why(struct hsm_unit *unit, const struct hsm_response *response)
{
    unit->reason = response->err;
    why_set(&unit->why, response->err, "%.*s", (int)response->sentence.len,
            response->sentence.len == 0 ? "" : (const char *)response->sentence.data);
    if (unit->why.text[0] == '\0')
        why_set(&unit->why, response->err, "%s", ath_err_sentence(response->err));
}

void
hsm_unit_set_locked(struct hsm_unit *unit, ath_err reason, const char *why)
{
    unit->reason = why_set(&unit->why, reason, "%s", why);
    set_state(unit, HSM_UNIT_LOCKED);
}

void
hsm_unit_set_ready(struct hsm_unit *unit)
{
    unit->why.text[0] = '\0';
    set_state(unit, HSM_UNIT_READY);
    hsm_pool_note_open(unit->pool);
}

/* A token that is not there: nobody waits for it. A TPM is waited for: it will be there. */
static void
take_refusal(struct hsm_unit *unit, const struct hsm_response *response)
{
    unit->has_refused = true;
    unit->is_waiting = response->waits && response->err == ATH_ERR_HSM_UNAVAILABLE;
    unit->turns_away = unit->is_token;
    set_why(unit, response);
    set_state(unit, response->err == ATH_ERR_HSM_UNAVAILABLE ? HSM_UNIT_ABSENT
                    : response->err == ATH_ERR_PIN_LOCKED    ? HSM_UNIT_LOCKED
                                                             : HSM_UNIT_FAILED);
    hsm_unit_pump(unit);
    if (!unit->is_waiting)
        leave(unit, false);
}

/* It was taken out, or the device is gone: a helper that opens it anew may find it back. */
static void
take_removal(struct hsm_unit *unit, const struct hsm_response *response)
{
    set_why(unit, response);
    unit->was_removed = unit->is_token;
    if (unit->is_token)
        set_state(unit, HSM_UNIT_ABSENT);
    leave(unit, false);
}

void
hsm_unit_renew(struct hsm_unit *unit)
{
    unit->was_removed = true;
    leave(unit, false);
}

static void
take_info(struct hsm_unit *unit, const struct hsm_response *response)
{
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
        leave(unit, true);
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
        leave(unit, true);
    } else {
        hsm_unit_take_response(unit, job, response);
        hsm_unit_pump(unit);
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
    set_state(unit, unit->is_open ? HSM_UNIT_ABSENT : HSM_UNIT_FAILED);
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

/* ---- time ---- */

static uint64_t
own_limit(const struct hsm_unit *unit, const struct hsm_job *job)
{
    if (job->op == HSM_OP_KEY_CREATE && !job->wants_pin)
        return HANG_CREATE_MS;
    if (job->wants_pin && (job->pin_from == HSM_PIN_PROMPTER || job->pin_from == HSM_PIN_NONE))
        return (uint64_t)unit->athd->config->consent_timeout_s * 1000 + HANG_PERSON_MS;
    return HANG_MS;
}

static uint64_t
max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Is one of the jobs out for too long, though others are answered? What waits for others by the
 * rules of the wire (hsm_wire.h) has their time, too: signatures do not wait for signatures where
 * the hardware makes several at once, nobody waits for a person who is asked, but for what the
 * hardware does then; all else waits for all before it. */
static bool
has_hanging_job(const struct hsm_unit *unit, uint64_t now_ms)
{
    uint64_t all_before = 0, for_signatures = 0, limit;
    const struct hsm_job *job;

    TAILQ_FOREACH (job, &unit->flying, flying) {
        bool is_free =
            (job->op == HSM_OP_SIGN && unit->parallel > 1) || hsm_job_holds_nobody_up(job);

        limit = max_of(own_limit(unit, job), is_free ? for_signatures : all_before);
        if (now_ms > job->moved_ms && now_ms - job->moved_ms >= limit)
            return true;
        all_before = max_of(all_before, hsm_job_holds_nobody_up(job) ? HANG_CREATE_MS : limit);
        if (!is_free)
            for_signatures = all_before;
    }
    return false;
}

static bool
is_hanging(const struct hsm_unit *unit, uint64_t now_ms)
{
    if (unit->process == NULL || unit->is_leaving)
        return false;
    if (!unit->is_open)
        return !unit->is_waiting && now_ms > unit->started_ms &&
               now_ms - unit->started_ms >= HANG_INFO_MS;
    return hsm_login_hangs(unit, now_ms) || hsm_key_login_hangs(unit, now_ms) ||
           has_hanging_job(unit, now_ms);
}

static void
end_if_due(struct hsm_job *job, uint64_t now_ms)
{
    struct hsm_unit *unit = job->unit;
    ath_err err = unit->is_open ? ATH_ERR_HSM_BUSY : ATH_ERR_HSM_UNAVAILABLE;
    struct why why;

    if (job->done == NULL || job->waits_person || now_ms < job->deadline_ms)
        return;
    if (unit->is_open && unit->state == HSM_UNIT_READY)
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
    hsm_key_login_each_waiting(unit, end_if_due, now_ms);
    TAILQ_FOREACH (job, &unit->flying, flying)
        end_if_due(job, now_ms);
    if (unit->is_leaving && now_ms - unit->left_at_ms >= LEAVE_MS)
        leave(unit, true);
    if (is_hanging(unit, now_ms)) {
        unit->reason =
            why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "its helper process did not answer");
        log_error("event=hsm name=%s reason=\"the helper hangs; it is killed\"", unit->name);
        leave(unit, true);
    }
}

bool
hsm_unit_wants_ticks(const struct hsm_unit *unit)
{
    return unit->queue.len > 0 || !TAILQ_EMPTY(&unit->flying) || unit->waiting_count > 0 ||
           unit->login.stage == HSM_LOGIN_TRYING || hsm_key_login_is_trying(unit) ||
           (unit->process != NULL && ((!unit->is_open && !unit->is_waiting) || unit->is_leaving));
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
    hsm_key_login_done(unit);
    free(unit->opened);
    unit->opened = NULL;
}
