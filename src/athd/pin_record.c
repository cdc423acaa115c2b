/* What is on record of questions for PINs, and what is published of them. */
#include <string.h>

#include "athd/audit_record.h"
#include "athd/events.h"
#include "athd/pin_dialogue_private.h"
#include "base/clock.h"

void
pin_record_publish(const struct pin_dialogue *dialogue, const char *state, ath_err how)
{
    struct json_maker event;

    if (dialogue->tenant == NULL || !events_wanted(dialogue->athd, EVENT_CONSENT))
        return;
    json_object_begin(&event);
    json_put_string(&event, "state", state);
    json_put_string(&event, "id", dialogue->id);
    json_put_bool(&event, "pin", true);
    json_put_string(&event, "method", dialogue->method);
    json_put_string(&event, "key", dialogue->key);
    if (dialogue->caller != NULL)
        json_put_int(&event, "pid", dialogue->caller->pid);
    if (strcmp(state, "refused") == 0)
        json_put_string(&event, "reason", ath_err_reason(how));
    events_publish_to(dialogue->tenant, EVENT_CONSENT, &event);
}

/* Whoever asks and takes back, asks and takes back, fills the log with these only so far. */
static bool
has_record(const struct pin_dialogue *dialogue, const char *event)
{
    struct athd *athd = dialogue->athd;

    return audit_flood_admits(&athd->flood, event,
                              dialogue->tenant == NULL ? athd->owner : dialogue->tenant->uid);
}

static void
put_question(const struct pin_dialogue *dialogue, struct json_maker *record)
{
    json_put_string(record, "question", dialogue->id);
    json_put_string(record, "hsm", dialogue->hsm);
    json_put_string(record, "key", dialogue->key);
}

static void
begin(const struct pin_dialogue *dialogue, const char *event, struct json_maker *record)
{
    audit_record_begin(record, event, NULL);
    if (dialogue->tenant != NULL)
        audit_record_put_owner(record, dialogue->tenant);
    if (dialogue->caller != NULL)
        caller_put(dialogue->caller, record, "caller");
    put_question(dialogue, record);
}

void
pin_record_asked(struct pin_dialogue *dialogue, const char *at)
{
    struct json_maker record;

    if (!has_record(dialogue, "pin_asked"))
        return;
    dialogue->is_asked = true;
    begin(dialogue, "pin_asked", &record);
    json_put_string(&record, "method", dialogue->method);
    json_put_string(&record, "at", at);
    if (dialogue->is_new)
        json_put_bool(&record, "new", true);
    json_put_int(&record, "timeout_s", dialogue->athd->config->consent_timeout_s);
    audit_record_note(dialogue->athd, &record);
}

void
pin_record_taken(const struct pin_dialogue *dialogue, const struct request *request)
{
    struct json_maker record;

    audit_record_begin(&record, "pin_taken", request);
    put_question(dialogue, &record);
    audit_record_note(dialogue->athd, &record);
}

void
pin_record_answered(const struct pin_dialogue *dialogue, ath_err how)
{
    bool is_entered = how == ATH_OK || how == ATH_ERR_PIN_INCORRECT || how == ATH_ERR_PIN_LOCKED;
    struct json_maker record;

    if (!dialogue->is_asked)
        return;
    begin(dialogue, "pin_answered", &record);
    json_put_bool(&record, "entered", is_entered);
    if (!is_entered)
        json_put_string(&record, "denial_reason", ath_err_reason(how));
    json_put_int(&record, "waited_ms", (int64_t)(clock_monotonic_ms() - dialogue->asked_at_ms));
    audit_record_note(dialogue->athd, &record);
}
