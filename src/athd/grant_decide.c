/* What a grant and all above it say to a call at its socket. */
#include <stdio.h>
#include <string.h>

#include "athd/grant.h"
#include "athd/key_store.h"
#include "athd/policy.h"
#include "base/clock.h"

bool
grant_looks_at_process(const struct grant *grant)
{
    for (; grant != NULL; grant = grant->parent)
        if (grant_limits_rule(grant->limits)->units.count > 0)
            return true;
    return false;
}

static bool
refuse(struct policy_answer *answer, const char *text)
{
    (void)snprintf(answer->missing, sizeof(answer->missing), "%s", text);
    return false;
}

/* Does the rule hold? */
static bool
allows(const struct grant *grant, const struct policy_subject *subject,
       const struct policy_question *question, struct policy_answer *answer)
{
    const struct rpc_method *method = method_find(question->method);
    struct policy_decision decision;

    if (method == NULL || !policy_rule_has_method(grant_limits_rule(grant->limits), method->id)) {
        (void)snprintf(answer->missing, sizeof(answer->missing), "methods: %.180s",
                       question->method);
        return false;
    }
    decision = policy_rules_decide(grant->limits, subject, question);
    policy_decision_missing(&decision, subject, question, answer->missing);
    return decision.allowing != NULL;
}

/* A key of the same name that came later is another key. */
static bool
has_same_key(const struct grant *grant, const char *name, const struct key_store *keys,
             struct policy_answer *answer)
{
    const struct key *key = name == NULL ? NULL : key_store_find(keys, name);

    if (key == NULL || grant_has_key(grant, key))
        return true;
    (void)snprintf(answer->missing, sizeof(answer->missing),
                   "keys: %.64s is another key now than when the grant was made", key->name);
    return false;
}

/* Where a signature is near: the count itself is taken when it begins. */
static bool
has_uses(const struct grant *grant, const struct policy_question *question,
         struct policy_answer *answer)
{
    if (question->purpose == NULL || grant->max_uses == 0 || question->is_begun ||
        grant->uses < grant->max_uses)
        return true;
    (void)snprintf(answer->missing, sizeof(answer->missing), "max_uses: all %lld are used",
                   (long long)grant->max_uses);
    return false;
}

bool
grant_decide(const struct grant *grant, const struct policy_subject *subject,
             const struct policy_question *question, const struct key_store *keys,
             struct policy_answer *ret_answer)
{
    struct policy_answer answer = {.verdict = POLICY_DENY};
    bool allowed = true;

    for (; grant != NULL && allowed; grant = grant->parent) {
        answer.rule = grant->rule;
        if (grant->table == NULL)
            allowed = refuse(&answer, "ended: the grant is no more");
        else if (grant->expires_at != 0 && grant->expires_at <= clock_now())
            allowed = refuse(&answer, "ttl: the grant's time is over");
        else
            allowed = allows(grant, subject, question, &answer) &&
                      has_same_key(grant, question->key, keys, &answer) &&
                      has_same_key(grant, question->also_key, keys, &answer) &&
                      has_uses(grant, question, &answer);
    }
    if (!allowed)
        *ret_answer = answer;
    return allowed;
}
