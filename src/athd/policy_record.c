#include "athd/policy_record.h"

#include "athd/athd.h"
#include "athd/audit_record.h"

static void
put_question(struct json_maker *record, const struct policy_question *question)
{
    struct json_maker audience;
    struct json *scopes = NULL;

    json_put_string(record, "method", question->method);
    json_put_string(record, "key", question->key);
    if (question->purpose != NULL)
        json_put_string(record, "purpose", purpose_text(*question->purpose));
    if (question->audience_count > 0) {
        json_array_begin(&audience);
        for (size_t i = 0; i < question->audience_count; i++)
            json_put_string(&audience, NULL, question->audiences[i]);
        json_put_maker(record, "audience", &audience);
    }
    if (question->scopes == NULL)
        return;
    if (scope_list_encode(question->scopes, &scopes) != ATH_OK)
        scopes = NULL;
    json_put_take(record, "requested_scopes", scopes);
}

void
policy_record_denied(const struct request *request, const struct policy_question *question,
                     const struct policy_answer *answer)
{
    struct athd *athd = request->athd;
    struct json_maker record;

    if (!audit_flood_admits(&athd->flood, "policy_denied", request->caller->uid))
        return;
    audit_record_begin(&record, "policy_denied", request);
    put_question(&record, question);
    json_put_string(&record, "rule", answer->rule);
    json_put_string(&record, "missing", answer->missing);
    json_put_string(&record, "denial_reason", ath_err_reason(ATH_ERR_POLICY_DENIED));
    audit_record_note(athd, &record);
}
