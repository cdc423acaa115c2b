/* What is on record of questions, and what is published of them. */
#include <string.h>

#include "athd/audit_record.h"
#include "athd/consent_question.h"
#include "athd/events.h"

void
consent_publish(const struct consent_question *question, const char *state, ath_err answer)
{
    struct json_maker event;

    if (!events_wanted(question->consent->athd, EVENT_CONSENT))
        return;
    json_object_begin(&event);
    json_put_string(&event, "state", state);
    json_put_string(&event, "id", question->id);
    json_put_string(&event, "method", question->about.method);
    json_put_string(&event, "key", question->about.key);
    json_put_int(&event, "count", question->asked);
    json_put_int(&event, "pid", question->caller->pid);
    if (strcmp(state, "refused") == 0)
        json_put_string(&event, "reason", ath_err_reason(answer));
    events_publish_to(question->tenant, EVENT_CONSENT, &event);
}

static void
record_begin(struct json_maker *record, const char *event, const struct request *request,
             const char *key)
{
    audit_record_begin(record, event, request);
    json_put_string(record, "method", request->method->name);
    json_put_string(record, "key", key);
}

void
consent_record_asked(const struct consent_waiter *waiter)
{
    const struct consent_question *question = waiter->question;
    struct json_maker record;

    record_begin(&record, "consent_asked", waiter->request, question->about.key);
    json_put_string(&record, "question", question->id);
    json_put_int(&record, "count", question->asked);
    json_put_int(&record, "timeout_s",
                 (int64_t)((waiter->ends_at_ms - waiter->asked_at_ms) / 1000));
    audit_record_note(waiter->request->athd, &record);
}

static void
put_yes(struct json_maker *record, const struct consent_question *question)
{
    struct json *scopes = NULL;

    if (question->window[0] != '\0')
        json_put_string(record, "window", question->window);
    if (!question->is_narrowed)
        return;
    if (scope_list_encode(&question->approved, &scopes) != ATH_OK)
        scopes = NULL;
    json_put_take(record, "effective_scopes", scopes);
}

void
consent_record_end(const struct consent_waiter *waiter)
{
    const struct consent_question *question = waiter->question;
    struct request *request = waiter->request;
    bool is_yes = waiter->answer == ATH_OK;
    struct json_maker record;

    request->has_consent = is_yes;
    request->is_by_window = is_yes && question->is_by_window;
    record_begin(&record, is_yes ? "consent_given" : "consent_refused", request,
                 question->about.key);
    if (!question->is_by_window)
        json_put_string(&record, "question", question->id);
    if (is_yes)
        put_yes(&record, question);
    else
        json_put_string(&record, "denial_reason", ath_err_reason(waiter->answer));
    if (question->answerer != NULL)
        caller_put(question->answerer, &record, "answered_by");
    json_put_int(&record, "waited_ms", (int64_t)(consent_loop_ms() - waiter->asked_at_ms));
    audit_record_note(request->athd, &record);
}

void
consent_record_refused(struct request *request, const char *key, ath_err err)
{
    struct json_maker record;

    request->has_consent = false;
    if (err == ATH_ERR_RATE_LIMITED &&
        !audit_flood_admits(&request->athd->flood, "consent_refused", request->caller->uid))
        return;
    record_begin(&record, "consent_refused", request, key);
    json_put_string(&record, "denial_reason", ath_err_reason(err));
    audit_record_note(request->athd, &record);
}
