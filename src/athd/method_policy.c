/* policy.*: what the rules say, new rules, and the kill switch. */
#include <stdlib.h>
#include <string.h>

#include "athd/audit_record.h"
#include "athd/consent.h"
#include "athd/dispatch.h"
#include "athd/freeze.h"
#include "athd/grant_table.h"
#include "athd/method_support.h"
#include "athd/policy_question.h"
#include "athd/signing.h"
#include "base/clock.h"

/* ---- check ---- */

static ath_err
read_groups(const struct json *list, struct why *why, gid_t **ret_groups, size_t *ret_count)
{
    size_t count = 0;
    int64_t number;

    if (!json_is_array(list) || json_count(list) > POLICY_LIST_MAX)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"as\": \"groups\" is a list of at most %u gids", POLICY_LIST_MAX);
    if ((*ret_groups = calloc(json_count(list) + 1, sizeof(**ret_groups))) == NULL)
        return ATH_ERR_NOMEM;
    for (const struct json *entry = json_first(list); entry != NULL; entry = json_next(entry)) {
        if (!json_int(entry, &number) || number < 0 || number >= UINT32_MAX)
            return why_set(why, ATH_ERR_INVALID_PARAMS, "\"as\": a group is a gid");
        (*ret_groups)[count++] = (gid_t)number;
    }
    *ret_count = count;
    return ATH_OK;
}

static bool
read_namespace(const char *text, enum policy_namespace *ret_namespace)
{
    static const char *const names[] = {"unseen", "same", "other"};

    for (unsigned i = 0; text != NULL && i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], text) == 0) {
            *ret_namespace = (enum policy_namespace)i;
            return true;
        }
    return false;
}

static ath_err
read_as_member(const struct json *member, struct why *why, struct policy_subject *subject,
               gid_t **groups)
{
    const struct {
        const char *name;
        const char **text;
    } texts[] = {{"exe", &subject->exe},
                 {"verity", &subject->verity},
                 {"unit", &subject->unit},
                 {"slice", &subject->slice},
                 {"grant", &subject->grant}};
    const char *name = json_name(member);
    int64_t number;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (strcmp(texts[i].name, name) == 0 && json_string(member) != NULL) {
            *texts[i].text = json_string(member);
            return ATH_OK;
        }
    if (strcmp(name, "groups") == 0)
        return read_groups(member, why, groups, &subject->group_count);
    if (strcmp(name, "namespace") == 0 && read_namespace(json_string(member), &subject->name_space))
        return ATH_OK;
    if (json_int(member, &number) && number >= 0) {
        if (strcmp(name, "uid") == 0 && number < UINT32_MAX)
            return subject->uid = (uid_t)number, ATH_OK;
        if (strcmp(name, "gid") == 0 && number < UINT32_MAX)
            return subject->gid = (gid_t)number, ATH_OK;
        if (strcmp(name, "exe_inode") == 0)
            return subject->exe_inode = (uint64_t)number, ATH_OK;
    }
    return why_set(why, ATH_ERR_INVALID_PARAMS,
                   "\"as\": \"%.40s\" is not known or has no value of its kind", name);
}

/* A caller as it is described: what is not said is unknown. */
static ath_err
read_as(const struct json *as, struct why *why, struct policy_subject *subject, gid_t **groups)
{
    ath_err err = ATH_OK;

    *subject = (struct policy_subject){.name_space = POLICY_SAME};
    if (json_get(as, "uid") == NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "\"as\" needs a \"uid\"");
    for (const struct json *member = json_first(as); member != NULL && err == ATH_OK;
         member = json_next(member))
        err = read_as_member(member, why, subject, groups);
    subject->groups = *groups;
    return err;
}

/* The caller's grant, or that of the caller who is described; rules know the outermost one. NULL:
 * none. */
static const struct grant *
grant_of(const struct request *request, struct policy_subject *subject)
{
    const struct grant *grant = request->caller->through;

    if (grant == NULL && subject->grant != NULL)
        grant = grant_table_find(request->tenant->grants, subject->grant);
    if (grant != NULL)
        subject->grant = grant_outermost(grant)->name;
    return grant;
}

/* The grant may deny it, whatever the rules say: answered then. */
static bool
is_grants_no(struct request *request, const struct grant *grant,
             const struct policy_subject *subject, const struct policy_question *question)
{
    struct policy_answer answer = {.verdict = POLICY_DENY};
    struct json_maker result;

    if (grant_decide(grant, subject, question, request->tenant->keys, &answer))
        return false;
    json_object_begin(&result);
    json_put_bool(&result, "allowed", false);
    json_put_string(&result, "rule", answer.rule);
    json_put_string(&result, "missing", answer.missing);
    request_finish_maker(request, &result);
    return true;
}

static void
put_decision(struct request *request, const struct policy_subject *subject,
             const struct policy_question *question)
{
    const struct athd *athd = request->athd;
    const struct policy_decision found =
        policy_rules_decide(policy_rules(athd->policy), subject, question);
    const struct policy_decision *decision = &found;
    bool is_frozen = policy_is_frozen(request->tenant, question);
    char missing[POLICY_MISSING_SIZE], consent[32];
    struct json_maker result;

    policy_decision_missing(decision, subject, question, missing);
    json_object_begin(&result);
    json_put_bool(&result, "allowed", decision->allowing != NULL && !is_frozen);
    json_put_string(&result, "rule",
                    is_frozen ? POLICY_RULE_FROZEN : policy_decision_rule(decision));
    if (is_frozen)
        json_put_string(&result, "missing", "the key signs nothing until `ath unfreeze` ends that");
    else if (decision->allowing == NULL)
        json_put_string(&result, "missing", missing);
    else
        json_put_string(&result, "consent", policy_consent_text(decision->allowing, consent));
    if (decision->allowing == NULL && !is_frozen &&
        policy_observes(athd->policy, subject, question))
        json_put_bool(&result, "observe", true);
    if (question->is_preliminary)
        json_put_bool(&result, "preliminary", true);
    request_finish_maker(request, &result);
}

static ath_err
read_check(struct request *request, const struct rpc_method **ret_method, struct why *why)
{
    const char *name = method_param(request, "method");
    const struct rpc_method *method = method_find(name);

    if (method == NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "athd has no method \"%.80s\"", name);
    if (request->caller->through != NULL && method_param_json(request, "as") != NULL)
        return why_set(why, ATH_ERR_POLICY_DENIED,
                       "\"as\" asks about others: that is for the owner's socket");
    *ret_method = method;
    return ATH_OK;
}

void
method_policy_check(struct request *request)
{
    const struct json *as = method_param_json(request, "as");
    const struct rpc_method *method = NULL;
    struct policy_subject subject;
    struct policy_asked asked = {.question = {0}};
    struct why why = {{0}};
    gid_t *groups = NULL;
    ath_err err = read_check(request, &method, &why);

    if (err == ATH_OK && as != NULL)
        err = read_as(as, &why, &subject, &groups);
    else
        policy_subject_of(request->caller, &subject);
    if (err == ATH_OK)
        err = policy_question_of_check(request->tenant, request->caller, method,
                                       method_param_json(request, "params"), &asked);
    asked.question.now = clock_now();
    if (err != ATH_OK)
        request_fail(request, err, &why);
    else if (!is_grants_no(request, grant_of(request, &subject), &subject, &asked.question))
        put_decision(request, &subject, &asked.question);
    policy_asked_done(&asked);
    free(groups);
}

/* ---- show, reload ---- */

static void
put_source(struct json_maker *result, const struct policy *policy)
{
    const struct policy_rules *rules = policy_rules(policy);
    struct json_maker files, file;

    json_put_string(result, "source", policy_is_built_in(policy) ? "built-in" : "files");
    json_array_begin(&files);
    for (size_t i = 0; i < rules->file_count && !policy_is_built_in(policy); i++) {
        json_object_begin(&file);
        json_put_string(&file, "path", rules->files[i].path);
        json_put_base64url(&file, "sha256", ath_slice_of(rules->files[i].sha256, SHA256_LEN));
        json_put_maker(&files, NULL, &file);
    }
    json_put_maker(result, "files", &files);
    json_put_int(result, "rules", (int64_t)rules->count);
    json_put_bool(result, "observe", rules->observe);
}

void
method_policy_show(struct request *request)
{
    const struct policy *policy = request->athd->policy;
    struct json_maker result;
    struct json *rules = NULL;

    json_object_begin(&result);
    put_source(&result, policy);
    if (policy_rules_encode(policy_rules(policy), &rules) != ATH_OK)
        rules = NULL;
    json_put_take(&result, "policy", rules);
    request_finish_maker(request, &result);
}

void
method_policy_reload(struct request *request)
{
    struct json_maker result;
    struct why why = {{0}};
    ath_err err = policy_reload(request->athd->policy, &why);

    if (err != ATH_OK) {
        request_fail(request, err, &why);
        return;
    }
    json_object_begin(&result);
    put_source(&result, request->athd->policy);
    request_finish_maker(request, &result);
}

/* ---- freeze, unfreeze ---- */

static void
record_change(struct request *request, bool is_freeze, ath_err err)
{
    const char *event = is_freeze ? "keys_frozen" : "keys_unfrozen";
    const char *key = method_param(request, "key");
    struct json_maker record;

    audit_record_begin(&record, event, request);
    json_put_string(&record, "key", key);
    if (key == NULL)
        json_put_bool(&record, "all", true);
    if (err != ATH_OK)
        json_put_string(&record, "denial_reason", ath_err_reason(err));
    audit_record_note(request->athd, &record);
}

static void
finish_change(struct request *request, bool is_freeze, ath_err err, const struct why *why)
{
    struct json_maker result;

    record_change(request, is_freeze, err);
    if (err != ATH_OK) {
        request_fail(request, err, why);
        return;
    }
    json_object_begin(&result);
    freeze_put(request->tenant->freeze, &result, "frozen");
    request_finish_maker(request, &result);
}

static void
on_frozen(void *ctx, ath_err err, const struct why *why)
{
    finish_change(ctx, true, err, why);
}

static void
on_unfrozen(void *ctx, ath_err err, const struct why *why)
{
    finish_change(ctx, false, err, why);
}

/* One key, or all: never both, never by leaving something out. */
static ath_err
read_which(const struct request *request, struct why *why, const char **ret_key)
{
    const char *key = method_param(request, "key");
    bool all = json_is_true(method_param_json(request, "all"));

    if ((key != NULL) == all)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "say which: \"key\", or \"all\": true (`ath freeze NAME`, or --all)");
    *ret_key = key;
    return ATH_OK;
}

void
method_policy_freeze(struct request *request)
{
    const char *key = NULL;
    struct why why = {{0}};
    ath_err err = read_which(request, &why, &key);

    if (err == ATH_OK && key != NULL && key_store_find(request->tenant->keys, key) == NULL)
        err = why_set(&why, ATH_ERR_KEY_NOT_FOUND, "there is no key \"%s\"", key);
    if (err == ATH_OK)
        err = freeze_set(request->tenant->freeze, key, &why, on_frozen, request);
    if (err != ATH_OK) {
        request_fail(request, err, &why);
        return;
    }
    consent_end_frozen(request->athd->consent, request->tenant->uid, key);
    signing_end_frozen(request->tenant);
}

void
method_policy_unfreeze(struct request *request)
{
    const char *key = NULL;
    struct why why = {{0}};
    ath_err err = read_which(request, &why, &key);

    if (err == ATH_OK)
        err = freeze_end(request->tenant->freeze, key, &why, on_unfrozen, request);
    if (err != ATH_OK)
        request_fail(request, err, &why);
}
