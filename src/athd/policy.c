#include "athd/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/consent.h"
#include "athd/freeze.h"
#include "athd/grant.h"
#include "athd/key_store.h"
#include "athd/policy_limits.h"
#include "athd/policy_record.h"
#include "athd/signing.h"
#include "athd/string_map.h"
#include "base/clock.h"
#include "policy/policy_files.h"

struct policy {
    struct athd *athd;
    struct policy_rules *rules;
    const char **names;         /* of the rules, in their order: requests outlive rules */
    struct string_map interned; /* every name that ever was one */
    struct policy_rules *owner; /* the built-in ones: what observing never goes beyond */
    bool is_built_in;
    bool looks_at_process; /* some rule wants more than uid, gid and grant */
};

/* ---- the rules in force ---- */

static const char *
intern(struct policy *policy, const char *name)
{
    char *known = string_map_get(&policy->interned, name);

    if (known == NULL && (known = ath_strdup(name)) != NULL &&
        string_map_put(&policy->interned, known, known) != ATH_OK) {
        free(known);
        known = NULL;
    }
    return known;
}

static bool
looks_at_process(const struct policy_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct policy_rule *rule = &rules->rules[i];

        if (rule->namespaces != 0 || rule->exe_inodes.count + rule->units.count +
                                             rule->slices.count + rule->exes.count +
                                             rule->verities.count !=
                                         0)
            return true;
        /* for whom a yes is remembered */
        if (rule->consent == POLICY_CONSENT_ONCE || rule->consent == POLICY_CONSENT_FIRST_AUDIENCE)
            return true;
    }
    return false;
}

static ath_err
take_rules(struct policy *policy, struct policy_rules *rules, bool is_built_in)
{
    const char **names = calloc(rules->count + 1, sizeof(*names));

    if (names == NULL)
        return ATH_ERR_NOMEM;
    for (size_t i = 0; i < rules->count; i++)
        if ((names[i] = intern(policy, rules->rules[i].name)) == NULL) {
            free(names);
            return ATH_ERR_NOMEM;
        }
    policy_rules_free(policy->rules);
    free(policy->names);
    policy->rules = rules;
    policy->names = names;
    policy->is_built_in = is_built_in;
    policy->looks_at_process = looks_at_process(rules);
    return ATH_OK;
}

static ath_err
read_rules(struct policy *policy, struct why *why)
{
    const char *dir = policy->athd->config->policy_dir;
    struct policy_rules *rules = NULL;
    uid_t owner = policy->athd->owner;
    ath_err err = ATH_ERR_NOT_FOUND;
    bool is_built_in;

    if (dir != NULL)
        err = policy_files_read(dir, owner, why, &rules);
    if ((is_built_in = err == ATH_ERR_NOT_FOUND))
        err = policy_rules_built_in(owner, policy->athd->config->is_system, why, &rules);
    if (err == ATH_OK && (err = take_rules(policy, rules, is_built_in)) != ATH_OK)
        policy_rules_free(rules);
    return err;
}

static void
say_loaded(const struct policy *policy)
{
    if (!policy->is_built_in)
        log_info("event=policy rules=%zu files=%zu%s", policy->rules->count,
                 policy->rules->file_count, policy->rules->observe ? " observe=true" : "");
    if (policy->rules->observe)
        log_warning("event=policy reason=\"observe: what the rules deny is recorded, and allowed "
                    "to this athd's owner\"");
}

ath_err
policy_open(struct athd *athd, struct why *why, struct policy **ret_policy)
{
    struct policy *policy = calloc(1, sizeof(*policy));
    ath_err err;

    if (policy == NULL)
        return ATH_ERR_NOMEM;
    policy->athd = athd;
    if ((err = policy_rules_built_in(athd->owner, athd->config->is_system, why, &policy->owner)) !=
            ATH_OK ||
        (err = read_rules(policy, why)) != ATH_OK) {
        policy_free(policy);
        return err;
    }
    say_loaded(policy);
    *ret_policy = policy;
    return ATH_OK;
}

ath_err
policy_reload(struct policy *policy, struct why *why)
{
    ath_err err = read_rules(policy, why);

    if (err != ATH_OK) {
        log_error("event=policy err=%s reason=\"%s\"; the old policy is kept", ath_err_reason(err),
                  why_text(why, err));
        policy_record_refused(policy->athd, err, why);
        return err;
    }
    say_loaded(policy);
    policy_record_loaded(policy->athd);
    consent_end_windows(policy->athd->consent); /* the new rules may want another yes */
    signing_decide_again(policy->athd);
    return ATH_OK;
}

void
policy_free(struct policy *policy)
{
    size_t cursor = 0;
    void *name;

    if (policy == NULL)
        return;
    policy_rules_free(policy->rules);
    policy_rules_free(policy->owner);
    free(policy->names);
    while ((name = string_map_next(&policy->interned, &cursor)) != NULL)
        free(name);
    string_map_done(&policy->interned);
    free(policy);
}

const struct policy_rules *
policy_rules(const struct policy *policy)
{
    return policy->rules;
}

bool
policy_is_built_in(const struct policy *policy)
{
    return policy->is_built_in;
}

void
policy_put_status(const struct policy *policy, struct json_maker *object, const char *name)
{
    struct json_maker status;

    json_object_begin(&status);
    json_put_string(&status, "source", policy->is_built_in ? "built-in" : "files");
    json_put_int(&status, "rules", (int64_t)policy->rules->count);
    json_put_bool(&status, "observe", policy->rules->observe);
    json_put_maker(object, name, &status);
}

/* ---- the caller ---- */

static const char *
known(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

/* To rules a grant within a grant is the outermost one, whatever its maker calls it: the name of
 * that one is the owner's. */
static const char *
grant_of(const struct caller *caller)
{
    return caller->through != NULL ? grant_outermost(caller->through)->name : known(caller->grant);
}

static void
subject_of(const struct caller *caller, bool looks_at_process, struct policy_subject *ret_subject)
{
    *ret_subject = (struct policy_subject){
        .uid = caller->uid,
        .gid = caller->gid,
        .groups = caller->groups,
        .group_count = caller->group_count,
        .grant = grant_of(caller),
        .grant_serial = caller->through != NULL ? caller->through->serial : 0,
        .name_space = POLICY_UNSEEN};
    if (!looks_at_process || !caller_is_still(caller))
        return;
    ret_subject->exe = caller->exe_is_here ? known(caller->exe) : NULL;
    ret_subject->exe_inode = caller->exe[0] != '\0' ? caller->exe_file.inode : 0;
    ret_subject->verity = known(caller->verity);
    ret_subject->unit = known(caller->unit);
    ret_subject->slice = known(caller->slice);
    ret_subject->is_users_unit = caller->unit_is_users;
    ret_subject->name_space = caller->name_space == CALLER_SAME    ? POLICY_SAME
                              : caller->name_space == CALLER_OTHER ? POLICY_OTHER
                                                                   : POLICY_UNSEEN;
}

void
policy_subject_of(const struct caller *caller, struct policy_subject *ret_subject)
{
    subject_of(caller, true, ret_subject);
}

/* ---- the decision ---- */

bool
policy_is_frozen(const struct tenant *tenant, const struct policy_question *question)
{
    const struct rpc_method *method = method_find(question->method);

    return question->key != NULL && method != NULL && policy_method_signs(method->id) &&
           freeze_has(tenant->freeze, question->key);
}

static struct policy_answer
answer_frozen(const struct tenant *tenant, const struct policy_question *question)
{
    struct policy_answer answer = {.verdict = POLICY_DENY, .rule = POLICY_RULE_FROZEN};

    (void)snprintf(answer.missing, sizeof(answer.missing),
                   "the key %s signs nothing until `ath unfreeze %s` ends that", question->key,
                   freeze_remedy(tenant->freeze, question->key));
    return answer;
}

static const char *
which_key(const struct tenant *tenant, const char *name)
{
    const struct key *key = name == NULL ? NULL : key_store_find(tenant->keys, name);

    return key == NULL ? NULL : key->did;
}

/* Does the user have to say yes first? */
static void
look_at_consent(const struct tenant *tenant, const struct policy_rule *rule,
                const struct policy_subject *subject, const struct policy_question *question,
                struct policy_answer *answer)
{
    const struct policy_yes yes = {.rule = rule,
                                   .subject = subject,
                                   .question = question,
                                   .key_did = which_key(tenant, question->key)};

    if (rule->consent == POLICY_CONSENT_NEVER || question->is_preliminary)
        return;
    answer->memo.rule = answer->rule;
    if (rule->consent == POLICY_CONSENT_ALWAYS || policy_limits_memo(&yes, &answer->memo) != ATH_OK)
        answer->memo.for_s = 0;
    else if (tenant->limits != NULL && policy_limits_has(tenant->limits, &answer->memo))
        return;
    answer->verdict = POLICY_ASK;
}

/* NULL: out of memory. */
static struct policy_limits *
limits_of(struct tenant *tenant)
{
    if (tenant->limits == NULL)
        tenant->limits = calloc(1, sizeof(*tenant->limits));
    return tenant->limits;
}

/* Only keys that there are: what a caller makes up must not fill the table. */
static int64_t
count(struct tenant *tenant, const struct policy_rule *rule, const struct caller *caller,
      const struct policy_question *question)
{
    bool is_known = which_key(tenant, question->key) != NULL;
    bool by_grant = !tenant->athd->config->is_system || rule->grants.count > 0;

    if (rule->rate == 0)
        return 0;
    if (limits_of(tenant) == NULL)
        return 1;
    return policy_limits_count(tenant->limits, rule, caller, by_grant,
                               is_known ? question->key : NULL);
}

bool
policy_observes(const struct policy *policy, const struct policy_subject *subject,
                const struct policy_question *question)
{
    return policy->rules->observe &&
           policy_rules_decide(policy->owner, subject, question).allowing != NULL;
}

static struct policy_answer
answer_denied(struct policy *policy, const struct policy_decision *decision,
              const struct policy_subject *subject, const struct policy_question *question)
{
    struct policy_answer answer = {.verdict = POLICY_DENY};
    const char *rule = policy_decision_rule(decision);
    bool is_named = decision->nearest != NULL && rule == decision->nearest->name;

    answer.rule =
        is_named ? policy->names[decision->nearest - policy->rules->rules] : POLICY_RULE_NONE;
    policy_decision_missing(decision, subject, question, answer.missing);
    if (policy_observes(policy, subject, question)) {
        answer.verdict = POLICY_ALLOW;
        answer.is_observed = true;
    }
    return answer;
}

struct policy_answer
policy_decide(struct tenant *tenant, const struct caller *caller,
              const struct policy_question *question, bool is_counted)
{
    struct policy *policy = tenant->athd->policy;
    struct policy_question timed = *question;
    struct policy_answer answer = {.verdict = POLICY_ALLOW};
    struct policy_decision decision;
    struct policy_subject subject;

    timed.now = question->now != 0 ? question->now : clock_now();
    subject_of(caller, policy->looks_at_process || grant_looks_at_process(caller->through),
               &subject);
    if (!grant_decide(caller->through, &subject, &timed, tenant->keys, &answer))
        return answer;
    if (policy_is_frozen(tenant, question))
        return answer_frozen(tenant, question);
    decision = policy_rules_decide(policy->rules, &subject, &timed);
    if (decision.allowing == NULL)
        return answer_denied(policy, &decision, &subject, &timed);
    answer.rule = policy->names[decision.allowing - policy->rules->rules];
    if (!question->is_preliminary && !is_counted &&
        (answer.retry_after_s = count(tenant, decision.allowing, caller, question)) != 0) {
        answer.verdict = POLICY_LIMITED;
        return answer;
    }
    look_at_consent(tenant, decision.allowing, &subject, question, &answer);
    return answer;
}

void
policy_remember(struct tenant *tenant, const struct policy_memo *memo)
{
    if (memo->for_s > 0 && limits_of(tenant) != NULL) /* else they are asked again */
        policy_limits_keep(tenant->limits, memo);
}

void
policy_forget(struct tenant *tenant)
{
    if (tenant->limits != NULL)
        policy_limits_forget(tenant->limits);
}
