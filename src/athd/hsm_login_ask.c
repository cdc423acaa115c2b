/*
 * An attempt to log in to a token: from the URI's pin-source, from a person by a prompter, or at
 * the reader's pad; and the queue that waits for it.
 */
#include <stddef.h>

#include "athd/athd.h"
#include "athd/hsm_unit.h"
#include "base/clock.h"

#define LOGIN_MS 10000u /* a token's own time for a PIN */
#define GRACE_MS 5000u  /* after a person's time is up */

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
hsm_login_let_go_on(struct hsm_unit *unit)
{
    hsm_queue_each(&unit->queue, let_go_on, NULL);
}

void
hsm_login_note_waiter(struct hsm_unit *unit, struct hsm_job *job)
{
    if (asks_person(&unit->login))
        hsm_job_wait_for_person(job, unit->login.limit_ms);
}

/* The job that is asked for, and how many more wait that its person may know of. */
struct asker {
    const struct hsm_unit *unit;
    const struct tenant *tenant; /* NULL: whoever can be asked */
    struct hsm_job *first;
    unsigned others;
    struct why *why;
    ath_err err; /* why nobody can be asked */
};

static void
look_at(void *ctx, struct hsm_queue_item *item)
{
    struct asker *asker = ctx;
    struct hsm_job *job = job_of(item);
    struct why why;
    ath_err err;

    if (job->done == NULL || job->request == NULL || job->deferred.waiting)
        return;
    if (asker->tenant != NULL) {
        asker->others += asker->first != NULL && job->request->tenant == asker->tenant;
        if (asker->first == NULL && job->request->tenant == asker->tenant)
            asker->first = job;
    } else if (asker->first == NULL &&
               (err = hsm_pin_text_check(asker->unit, job, &why)) == ATH_OK) {
        asker->first = job;
    } else if (asker->first == NULL && asker->err == ATH_OK) {
        *asker->why = why;
        asker->err = err;
    }
}

void
hsm_login_note_leaver(struct hsm_unit *unit, ath_err how)
{
    struct hsm_unit_login *login = &unit->login;
    struct asker asker = {.unit = unit, .tenant = login->asked};

    if (login->dialogue == NULL)
        return;
    if (login->asked != NULL)
        hsm_queue_each(&unit->queue, look_at, &asker);
    if (login->asked != NULL ? asker.first != NULL : unit->queue.len > 0)
        return;
    pin_dialogue_end(login->dialogue, how);
    login->dialogue = NULL;
    if (login->stage == HSM_LOGIN_ASKING)
        login->stage = HSM_LOGIN_IDLE;
    login->is_abandoned = true;
}

/* Whose words the person reads, and how many more of the same uid wait. */
static const struct hsm_job *
find_asker(struct hsm_unit *unit, unsigned *ret_others)
{
    struct asker asker = {.unit = unit, .tenant = unit->login.asked};
    struct hsm_queue_item *first = hsm_queue_first(&unit->queue);

    if (asker.tenant == NULL) {
        *ret_others = unit->queue.len > 0 ? unit->queue.len - 1 : 0;
        return first == NULL ? NULL : job_of(first);
    }
    hsm_queue_each(&unit->queue, look_at, &asker);
    *ret_others = asker.others;
    return asker.first;
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
on_shown(void *ctx, const struct pin_shown *shown)
{
    struct hsm_unit *unit = ctx;
    unsigned others = 0;
    const struct hsm_job *first = find_asker(unit, &others);
    struct hsm_pin_request pin = {.timeout_s = shown->timeout_s};
    struct ath_buf words = {.max = HSM_WIRE_MAX_TEXT};
    struct hsm_outcome failure = {.err = ATH_ERR_NO_PROMPTER};

    if (unit->is_leaving)
        return; /* the next helper asks anew (hsm_login_lose) */
    hsm_pin_text_make(unit->login.throttle->wrong, first, others, &words, &pin);
    hsm_pin_text_place(shown, &pin);
    if (hsm_process_send_fd(unit->process, unit->login.id, shown->fd) == ATH_OK)
        send_login(unit, &pin);
    else
        hsm_login_refuse(unit, &failure);
    ath_buf_done(&words);
}

static void
on_dialogue_failed(void *ctx, ath_err err)
{
    struct hsm_unit *unit = ctx;
    struct hsm_unit_login *login = &unit->login;
    struct hsm_outcome failure = {.err = err};

    if (login->stage == HSM_LOGIN_TRYING) {
        login->over = err; /* the helper has lost its prompter and answers */
        return;
    }
    if (err == ATH_ERR_NO_PROMPTER && login->skips_source)
        hsm_login_refuse_last_try(unit, &failure);
    hsm_login_refuse(unit, &failure);
}

/* Of those who wait at a machine's athd the first whose person can be asked. */
static ath_err
choose_asked(struct hsm_unit *unit, struct why *why)
{
    struct asker asker = {.unit = unit, .why = why};

    if (!unit->athd->config->is_system)
        return ATH_OK;
    hsm_queue_each(&unit->queue, look_at, &asker);
    if (asker.first == NULL && asker.err == ATH_OK)
        return hsm_pin_text_check(unit, NULL, why);
    if (asker.first == NULL)
        return asker.err;
    unit->login.asked = asker.first->request->tenant;
    return ATH_OK;
}

static void
ask_person(struct hsm_unit *unit)
{
    const struct pin_dialogue_events events = {on_shown, on_dialogue_failed, unit};
    struct hsm_outcome failure = {.err = ATH_ERR_NOMEM};
    struct hsm_unit_login *login = &unit->login;
    const struct hsm_job *first;
    unsigned others = 0;

    login->stage = HSM_LOGIN_ASKING;
    failure.err = choose_asked(unit, &failure.why);
    first = find_asker(unit, &others);
    if (failure.err != ATH_OK ||
        (failure.err = hsm_pin_text_ask(unit, login->throttle->wrong, first, &events,
                                        &login->dialogue)) != ATH_OK)
        hsm_login_refuse(unit, &failure);
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

void
hsm_login_start(struct hsm_unit *unit)
{
    struct hsm_unit_login *login = &unit->login;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t person_ms = (uint64_t)unit->athd->config->consent_timeout_s * 1000 + GRACE_MS;
    struct hsm_pin_request pin = {.from = HSM_PIN_NONE};

    login->from = choose_source(login);
    login->asked = NULL;
    if (login->from == HSM_PIN_SOURCE && !takes_try(unit))
        return;
    login->is_abandoned = false;
    login->over = ATH_OK;
    login->limit_ms = now_ms + (login->from == HSM_PIN_SOURCE ? LOGIN_MS : person_ms);
    login->id = hsm_unit_next_id(unit);
    hsm_login_let_go_on(unit); /* a question before was for naught */
    if (login->from != HSM_PIN_SOURCE)
        hsm_queue_each(&unit->queue, let_wait, &login->limit_ms);
    if (login->from == HSM_PIN_PROMPTER)
        ask_person(unit);
    else
        send_login(unit, &pin);
}
