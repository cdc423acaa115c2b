#include "athd/grant_limits.h"

#include <string.h>

#include "base/json.h"
#include "policy/policy_diff.h"

#define SOURCE "grant"

/* What decides about others' grants, keys and peers, and what tells of others. */
static const char *const of_owner[] = {
    "agent.lock", "agent.unlock", "audit.*",        "consent.*", "key.create",
    "key.delete", "key.import",   "key.rotate",     "peer.pin",  "peer.remove",
    "policy.*",   "service.put",  "service.delete",
};

bool
grant_limits_is_owners(enum rpc_method_id method)
{
    uint64_t methods[POLICY_METHOD_WORDS] = {0};

    for (size_t i = 0; i < sizeof(of_owner) / sizeof(of_owner[0]); i++)
        (void)policy_methods_add(of_owner[i], methods); /* one that athd does not have adds none */
    return method != RPC_POLICY_CHECK && (methods[method / 64] >> method % 64 & 1) != 0;
}

/* ---- reading ---- */

static void
put_who(struct json_maker *rule, const struct json *object)
{
    struct json_maker who;

    json_object_begin(&who);
    json_put_string(&who, "uid", "*"); /* the socket serves one uid */
    json_put_string(&who, "unit", json_get_string(object, "unit"));
    json_put_maker(rule, "who", &who);
}

static ath_err
put_policy(const struct json *object, struct ath_buf *text)
{
    static const char *const members[] = {"keys", "audiences", "peers", "scopes"};
    const struct json *methods = json_get(object, "methods");
    struct json_maker policy, rules, rule;
    struct json *tree = NULL;
    ath_err err;

    json_object_begin(&rule);
    json_put_string(&rule, "name", "limits");
    put_who(&rule, object);
    if (methods != NULL)
        json_put_copy(&rule, "may", methods);
    else
        json_put_string(&rule, "may", GRANT_METHODS_DEFAULT);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (json_get(object, members[i]) != NULL)
            json_put_copy(&rule, members[i], json_get(object, members[i]));
    json_array_begin(&rules);
    json_put_maker(&rules, NULL, &rule);
    json_object_begin(&policy);
    json_put_maker(&policy, "rules", &rules);
    if ((err = json_maker_end(&policy, &tree)) == ATH_OK)
        json_write(tree, text);
    json_free(tree);
    return err != ATH_OK ? err : text->err;
}

/* What is wrong with the rule, without the line of a file that nobody sees. */
static ath_err
say(struct why *why, ath_err err, const struct why *found)
{
    const char *text = found->text;

    if (strncmp(text, SOURCE ":", strlen(SOURCE) + 1) == 0 && strchr(text, ' ') != NULL)
        text = strchr(text, ' ') + 1;
    return why_set(why, err, "%s", why_text(found, err) == found->text ? text : "");
}

static ath_err
check_methods(const struct json *object, struct why *why)
{
    const struct json *entry = json_first(json_get(object, "methods"));
    const struct rpc_method *method;

    for (; entry != NULL; entry = json_next(entry))
        if (json_string(entry) != NULL && (method = method_find(json_string(entry))) != NULL &&
            grant_limits_is_owners(method->id))
            return why_set(why, ATH_ERR_INVALID_PARAMS,
                           "\"methods\": %s can be called at the owner's socket only",
                           method->name);
    return ATH_OK;
}

static ath_err
take_methods(const struct json *object, const struct policy_rule *within, struct policy_rule *rule,
             struct why *why)
{
    bool is_any = false;

    for (size_t i = 0; i < RPC_METHOD_COUNT; i++)
        if (grant_limits_is_owners((enum rpc_method_id)i))
            rule->methods[i / 64] &= ~(UINT64_C(1) << i % 64);
    for (size_t i = 0; i < POLICY_METHOD_WORDS; i++) {
        if (within != NULL && json_get(object, "methods") == NULL)
            rule->methods[i] &= within->methods[i];
        is_any = is_any || rule->methods[i] != 0;
    }
    if (!is_any)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"methods\": none of these can be called through a grant's socket");
    return ATH_OK;
}

static ath_err
check_unit(const struct json *object, struct why *why)
{
    const char *unit = json_get_string(object, "unit");

    if (json_get(object, "unit") != NULL && (unit == NULL || strpbrk(unit, "*?/") != NULL))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"unit\" is the name of one unit, as ath-run-a.scope");
    return ATH_OK;
}

ath_err
grant_limits_new(const struct json *object, uid_t owner, const struct policy_rule *within,
                 struct why *why, struct policy_rules **ret_limits)
{
    struct policy_rules *limits = policy_rules_new(owner);
    struct ath_buf text = {.max = GRANT_LIMITS_MAX_LEN};
    struct why found = {{0}};
    ath_err err = limits == NULL ? ATH_ERR_NOMEM : put_policy(object, &text);

    if (err == ATH_ERR_LIMIT_EXCEEDED)
        err = why_set(why, err, "the lists of a grant have at most %u bytes", GRANT_LIMITS_MAX_LEN);
    if (err == ATH_OK && (err = check_unit(object, why)) == ATH_OK &&
        (err = check_methods(object, why)) == ATH_OK &&
        (err = policy_rules_add(limits, ath_buf_slice(&text), SOURCE, &found)) != ATH_OK)
        err = say(why, err, &found);
    if (err == ATH_OK)
        err = take_methods(object, within, limits->rules, why);
    ath_buf_done(&text);
    return policy_rules_finish(limits, err, ret_limits);
}

const struct policy_rule *
grant_limits_rule(const struct policy_rules *limits)
{
    return &limits->rules[0];
}

/* ---- narrower ---- */

static ath_err
refuse(struct why *why, const char *condition, const char *text)
{
    return why_set(why, ATH_ERR_POLICY_DENIED, "%s: %.180s", condition, text);
}

static ath_err
check_texts(const char *condition, const struct policy_texts *outer,
            const struct policy_texts *inner, struct why *why)
{
    for (size_t i = 0; i < inner->count; i++)
        if (!policy_text_is_covered(inner->items[i], outer, false))
            return refuse(why, condition, inner->items[i]);
    return ATH_OK;
}

/* An audience that is a DID may be one of the outer rule's peers, as in a decision. */
static bool
covers_as_peer(const struct policy_rule *outer, const char *text,
               const struct policy_audience *inner)
{
    return strncmp(text, "did:", 4) == 0 &&
           policy_audience_is_covered(inner, outer->peer_patterns, outer->peers.count);
}

static ath_err
check_audiences(const struct policy_rule *outer, const struct policy_rule *inner, struct why *why)
{
    for (size_t i = 0; i < inner->audiences.count && outer->audiences.count > 0; i++)
        if (!policy_audience_is_covered(&inner->audience_patterns[i], outer->audience_patterns,
                                        outer->audiences.count) &&
            !covers_as_peer(outer, inner->audiences.items[i], &inner->audience_patterns[i]))
            return refuse(why, "audiences", inner->audiences.items[i]);
    for (size_t i = 0; i < inner->peers.count && outer->peers.count > 0; i++)
        if (!policy_audience_is_covered(&inner->peer_patterns[i], outer->peer_patterns,
                                        outer->peers.count))
            return refuse(why, "peers", inner->peers.items[i]);
    return ATH_OK;
}

ath_err
grant_limits_check_narrower(const struct policy_rule *outer, const struct policy_rule *inner,
                            struct why *why)
{
    ath_err err;

    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        enum rpc_method_id method = (enum rpc_method_id)i;

        if (policy_rule_has_method(inner, method) && !policy_rule_has_method(outer, method))
            return refuse(why, "methods", method_at(method)->name);
    }
    if ((err = check_texts("keys", &outer->keys, &inner->keys, why)) != ATH_OK ||
        (err = check_audiences(outer, inner, why)) != ATH_OK)
        return err;
    return check_texts("scopes", &outer->scopes, &inner->scopes, why);
}

/* ---- telling ---- */

void
grant_limits_put_texts(struct json_maker *object, const char *name,
                       const struct policy_texts *texts)
{
    struct json_maker list;

    if (texts->count == 0)
        return;
    json_array_begin(&list);
    for (size_t i = 0; i < texts->count; i++)
        json_put_string(&list, NULL, texts->items[i]);
    json_put_maker(object, name, &list);
}

void
grant_limits_put_methods(const struct policy_rule *rule, struct json_maker *object)
{
    struct json_maker list;

    json_array_begin(&list);
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++)
        if (policy_rule_has_method(rule, (enum rpc_method_id)i))
            json_put_string(&list, NULL, method_at((enum rpc_method_id)i)->name);
    json_put_maker(object, "methods", &list);
}

void
grant_limits_put(const struct policy_rule *rule, struct json_maker *object)
{
    grant_limits_put_methods(rule, object);
    grant_limits_put_texts(object, "audiences", &rule->audiences);
    grant_limits_put_texts(object, "peers", &rule->peers);
    grant_limits_put_texts(object, "scopes", &rule->scopes);
    if (rule->units.count > 0)
        json_put_string(object, "unit", rule->units.items[0]);
}
