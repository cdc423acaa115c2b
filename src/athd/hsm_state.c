/* The state of an hsm, and who is told when it changes: the log, the records, who subscribed. */
#include <string.h>

#include "athd/athd.h"
#include "athd/events.h"
#include "athd/hsm_record.h"
#include "athd/hsm_unit.h"

static const char *const state_names[] = {
    [HSM_UNIT_STARTING] = "absent", [HSM_UNIT_ABSENT] = "absent", [HSM_UNIT_READY] = "ready",
    [HSM_UNIT_FAILED] = "failed",   [HSM_UNIT_LOCKED] = "locked",
};

const char *
hsm_unit_state_name(const struct hsm_unit *unit)
{
    return state_names[unit->state];
}

void
hsm_unit_set_state(struct hsm_unit *unit, enum hsm_unit_state state)
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

void
hsm_unit_set_locked(struct hsm_unit *unit, ath_err reason, const char *why)
{
    unit->reason = why_set(&unit->why, reason, "%s", why);
    hsm_unit_set_state(unit, HSM_UNIT_LOCKED);
}

void
hsm_unit_set_ready(struct hsm_unit *unit)
{
    unit->why.text[0] = '\0';
    hsm_unit_set_state(unit, HSM_UNIT_READY);
    hsm_pool_note_open(unit->pool);
}
