/* Who may call consent.*, whatever policy says, and what all of them answer alike. */
#include "athd/audit_record.h"
#include "athd/method_consent.h"
#include "athd/method_support.h"

void
consent_method_deny(struct request *request, const char *missing, const char *sentence)
{
    struct json_maker data;
    struct json *object = NULL;
    struct why why = {{0}};

    request->tenant->counters.denials++;
    json_object_begin(&data);
    json_put_string(&data, "rule", "consent");
    json_put_string(&data, "missing", missing);
    if (json_maker_end(&data, &object) != ATH_OK)
        object = NULL;
    request_fail_data(request, why_set(&why, ATH_ERR_POLICY_DENIED, "%s", sentence), &why, object);
}

void
consent_method_note_denied(struct request *request, const char *missing)
{
    struct json_maker record;

    if (!audit_flood_admits(&request->athd->flood, "policy_denied", request->caller->uid))
        return;
    audit_record_begin(&record, "policy_denied", request);
    json_put_string(&record, "method", request->method->name);
    json_put_string(&record, "rule", "consent");
    json_put_string(&record, "missing", missing);
    json_put_string(&record, "denial_reason", ath_err_reason(ATH_ERR_POLICY_DENIED));
    audit_record_note(request->athd, &record);
}

bool
consent_method_is_users(struct request *request)
{
    const struct caller *caller = request->caller;

    if (caller->grant[0] == '\0' && caller->uid == request->tenant->uid)
        return true;
    consent_method_note_denied(request, caller->grant[0] != '\0' ? "socket" : "uid");
    if (caller->grant[0] != '\0')
        consent_method_deny(request, "socket", "nobody answers for the user at a grant's socket");
    else
        consent_method_deny(request, "uid", "only the user whose keys are asked for can do this");
    return false;
}

void
consent_method_finish(struct request *request)
{
    struct json_maker result;

    json_object_begin(&result);
    request_finish_maker(request, &result);
}

void
consent_method_not_found(struct request *request)
{
    struct why why = {{0}};

    request_fail(request,
                 why_set(&why, ATH_ERR_CONSENT_NOT_FOUND, "there is no \"%.32s\" (any more)",
                         method_param(request, "id")),
                 &why);
}
