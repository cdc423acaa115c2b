#include "athd/policy_record.h"

#include <string.h>

#include "athd/athd.h"
#include "athd/audit_log.h"
#include "athd/audit_record.h"
#include "athd/grant.h"

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
    if (question->peer_count > 0)
        json_put_string(record, "peer", question->peers[0]);
    if (question->ttl > 0)
        json_put_int(record, "ttl", question->ttl);
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
    const char *event = answer->is_observed ? "policy_would_deny" : "policy_denied";
    bool is_limit = answer->verdict == POLICY_LIMITED;
    struct athd *athd = request->athd;
    struct json_maker record;

    if (!audit_flood_admits(&athd->flood, event, request->caller->uid))
        return;
    audit_record_begin(&record, event, request);
    put_question(&record, question);
    json_put_string(&record, "rule", answer->rule);
    json_put_string(&record, "missing", is_limit ? "rate" : answer->missing);
    json_put_string(&record, "denial_reason",
                    ath_err_reason(is_limit ? ATH_ERR_RATE_LIMITED : ATH_ERR_POLICY_DENIED));
    audit_record_note(athd, &record);
}

static ath_err
say(const struct request *request, const struct policy_answer *answer, struct why *why)
{
    if (answer->verdict == POLICY_LIMITED)
        return why_set(why, ATH_ERR_RATE_LIMITED,
                       "rule \"%s\" allows no more of this for now; try again in %lld s",
                       answer->rule, (long long)answer->retry_after_s);
    if (strcmp(answer->rule, POLICY_RULE_FROZEN) == 0)
        return why_set(why, ATH_ERR_POLICY_DENIED, "frozen: %s", answer->missing);
    if (strcmp(answer->rule, POLICY_RULE_NONE) != 0)
        return why_set(why, ATH_ERR_POLICY_DENIED, "rule \"%s\" does not allow this: %s",
                       answer->rule, answer->missing);
    if (policy_is_built_in(request->athd->policy))
        return why_set(why, ATH_ERR_POLICY_DENIED,
                       "not allowed for uid %lu: this athd serves uid %lu only",
                       (unsigned long)request->caller->uid, (unsigned long)request->athd->owner);
    return why_set(why, ATH_ERR_POLICY_DENIED, "no rule of the policy allows this: %s",
                   answer->missing);
}

/* Which record it is, for `ath explain`: to those whose records they are. */
static void
put_record(const struct request *request, const struct policy_question *question,
           const struct policy_answer *answer, struct json_maker *data)
{
    const struct audit_log *log = request->athd->audit;
    uint64_t next;

    if (log == NULL)
        return;
    next = audit_log_next(log);
    policy_record_denied(request, question, answer);
    if (audit_log_next(log) > next && request->caller->uid == request->tenant->uid)
        json_put_int(data, "record", (int64_t)next);
}

ath_err
policy_refusal(struct request *request, const struct policy_question *question,
               const struct policy_answer *answer, struct why *why, struct json **ret_data)
{
    struct json_maker data;

    request->tenant->counters.denials++;
    log_warning("event=denied method=%s caller=%ld/%lu rule=%s", request->method->name,
                (long)request->caller->pid, (unsigned long)request->caller->uid, answer->rule);
    json_object_begin(&data);
    put_record(request, question, answer, &data);
    json_put_string(&data, "rule", answer->rule);
    if (answer->verdict == POLICY_LIMITED)
        json_put_int(&data, "retry_after", answer->retry_after_s);
    else
        json_put_string(&data, "missing", answer->missing);
    if (grant_uses_left(request->caller->through) >= 0)
        json_put_int(&data, "uses_left", grant_uses_left(request->caller->through));
    if (json_maker_end(&data, ret_data) != ATH_OK)
        *ret_data = NULL;
    return say(request, answer, why);
}

static void
put_files(struct json_maker *record, const struct policy_rules *rules)
{
    struct json_maker files, file;

    json_array_begin(&files);
    for (size_t i = 0; i < rules->file_count; i++) {
        json_object_begin(&file);
        json_put_string(&file, "path", rules->files[i].path);
        json_put_base64url(&file, "sha256", ath_slice_of(rules->files[i].sha256, SHA256_LEN));
        json_put_maker(&files, NULL, &file);
    }
    json_put_maker(record, "files", &files);
}

void
policy_record_loaded(struct athd *athd)
{
    const struct policy_rules *rules = policy_rules(athd->policy);
    struct json_maker record;

    audit_record_begin(&record, "policy_loaded", NULL);
    put_files(&record, rules);
    json_put_int(&record, "rules", (int64_t)rules->count);
    json_put_bool(&record, "observe", rules->observe);
    audit_record_note(athd, &record);
}

void
policy_record_refused(struct athd *athd, ath_err err, const struct why *why)
{
    struct json_maker record;

    audit_record_begin(&record, "policy_refused", NULL);
    json_put_string(&record, "denial_reason", ath_err_reason(err));
    json_put_string(&record, "message", why_text(why, err));
    audit_record_note(athd, &record);
}
