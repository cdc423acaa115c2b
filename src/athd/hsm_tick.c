/* An hsm's time: jobs whose deadline is over, and a helper that hangs. */
#include <stddef.h>

#include "athd/athd.h"
#include "athd/hsm_key_login.h"

/* How long a job may be out once its turn has come. The slowest TPMs need a second for a signature
 * and some for a key; before the first INFO a software TPM may have to be made, keys and
 * certificates of its own, and who is killed at that has to begin it anew. */
#define HANG_MS 10000u
#define HANG_CREATE_MS 25000u
#define HANG_INFO_MS 60000u
#define HANG_SLOW_INFO_MS 3600000u /* the helper has said that it takes long */
#define HANG_PERSON_MS 5000u       /* beyond what a person has to enter a PIN */
#define LEAVE_MS 2000u             /* for a clean end */

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
               now_ms - unit->started_ms >= (unit->is_slow ? HANG_SLOW_INFO_MS : HANG_INFO_MS);
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
        why_set(&why, err, "%s is %s: %s", unit->name, hsm_unit_state_name(unit), unit->why.text);
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
    if (unit->athd->config->is_system)
        hsm_unit_pump(unit); /* whose person was asked may have gone, and others wait */
    if (unit->is_leaving && now_ms - unit->left_at_ms >= LEAVE_MS)
        hsm_unit_leave(unit, true);
    if (is_hanging(unit, now_ms)) {
        unit->reason =
            why_set(&unit->why, ATH_ERR_HSM_UNAVAILABLE, "its helper process did not answer");
        log_error("event=hsm name=%s reason=\"the helper hangs; it is killed\"", unit->name);
        hsm_unit_leave(unit, true);
    }
}

bool
hsm_unit_wants_ticks(const struct hsm_unit *unit)
{
    return unit->queue.len > 0 || !TAILQ_EMPTY(&unit->flying) || unit->waiting_count > 0 ||
           unit->login.stage == HSM_LOGIN_TRYING || hsm_key_login_is_trying(unit) ||
           (unit->process != NULL && ((!unit->is_open && !unit->is_waiting) || unit->is_leaving));
}
