#include "athd/hsm_record.h"

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/hsm_unit.h"

void
hsm_record_state(const struct hsm_unit *unit)
{
    bool is_ready = unit->state == HSM_UNIT_READY;
    struct json_maker record;

    if (!audit_flood_admits(&unit->athd->flood, "hsm_state", unit->athd->owner))
        return;
    audit_record_begin(&record, "hsm_state", NULL);
    json_put_string(&record, "hsm", unit->name);
    json_put_string(&record, "state", hsm_unit_state_name(unit));
    if (is_ready) {
        json_put_string(&record, "kind", unit->kind);
        json_put_bool(&record, "software", unit->software);
        json_put_string(&record, "manufacturer", unit->manufacturer);
        json_put_string(&record, "model", unit->model);
        json_put_string(&record, "firmware", unit->firmware);
        json_put_string(&record, "serial", unit->serial);
    } else {
        json_put_string(&record, "message", unit->why.text);
    }
    audit_record_note(unit->athd, &record);
}

void
hsm_record_helper(const struct hsm_unit *unit, const char *event)
{
    struct json_maker record;

    if (unit->is_closing || !audit_flood_admits(&unit->athd->flood, event, unit->athd->owner))
        return;
    audit_record_begin(&record, event, NULL);
    json_put_string(&record, "hsm", unit->name);
    json_put_int(&record, "failures", unit->failures);
    audit_record_note(unit->athd, &record);
}

void
hsm_record_login(const struct hsm_unit *unit, const char *key, ath_err err, unsigned tries_left)
{
    struct json_maker record;

    audit_record_begin(&record, "login", NULL);
    json_put_string(&record, "hsm", unit->name);
    json_put_string(&record, "key", key);
    json_put_bool(&record, "success", err == ATH_OK);
    if (err != ATH_OK)
        json_put_string(&record, "denial_reason", ath_err_reason(err));
    if (tries_left != 0)
        json_put_int(&record, "tries_left", tries_left);
    audit_record_note(unit->athd, &record);
}

void
hsm_record_logout(const struct hsm_unit *unit, const char *key)
{
    struct json_maker record;

    audit_record_begin(&record, "logout", NULL);
    json_put_string(&record, "hsm", unit->name);
    json_put_string(&record, "key", key);
    audit_record_note(unit->athd, &record);
}
