#include "policy/policy_rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy_quick.h"

struct policy_rules *
policy_rules_new(uid_t owner)
{
    struct policy_rules *rules = calloc(1, sizeof(*rules));

    if (rules != NULL)
        rules->owner = owner;
    return rules;
}

static void
rule_done(struct policy_rule *rule)
{
    struct policy_texts *texts[] = {&rule->grants,    &rule->units,    &rule->slices,
                                    &rule->exes,      &rule->verities, &rule->keys,
                                    &rule->audiences, &rule->peers,    &rule->scopes};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]->items);
    free(rule->uids.items);
    free(rule->gids.items);
    free(rule->exe_inodes.items);
    free(rule->audience_patterns);
    free(rule->peer_patterns);
}

void
policy_rules_free(struct policy_rules *rules)
{
    if (rules == NULL)
        return;
    for (size_t i = 0; i < rules->count; i++)
        rule_done(&rules->rules[i]);
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++)
        free(rules->of_method[i]);
    for (size_t i = 0; i < rules->file_count; i++) {
        json_free(rules->files[i].tree);
        free(rules->files[i].path);
    }
    free(rules->quick);
    free(rules->rules);
    free(rules);
}

/* Those that the rule does not have hold always, and are not looked at. */
static void
list_conditions(struct policy_rule *rule)
{
    const bool has[POLICY_COND_COUNT] = {
        [POLICY_COND_UID] = rule->uids.count > 0,
        [POLICY_COND_GID] = rule->gids.count > 0,
        [POLICY_COND_NAMESPACE] = rule->namespaces != 0,
        [POLICY_COND_GRANT] = rule->grants.count > 0,
        [POLICY_COND_UNIT] = rule->units.count > 0,
        [POLICY_COND_SLICE] = rule->slices.count > 0,
        [POLICY_COND_EXE] = rule->exes.count > 0,
        [POLICY_COND_EXE_INODE] = rule->exe_inodes.count > 0,
        [POLICY_COND_VERITY] = rule->verities.count > 0,
        [POLICY_COND_KEY] = rule->keys.count > 0,
        [POLICY_COND_AUDIENCE] = rule->audiences.count > 0,
        [POLICY_COND_PEER] = rule->peers.count > 0,
        [POLICY_COND_SCOPE] = rule->scopes.count > 0,
        [POLICY_COND_TTL] = rule->max_ttl > 0,
        [POLICY_COND_HOURS] = rule->hours.is_given,
    };

    rule->condition_count = 0;
    for (unsigned i = 0; i < POLICY_COND_COUNT; i++)
        if (has[i])
            rule->conditions[rule->condition_count++] = (uint8_t)i;
}

ath_err
policy_rules_index(struct policy_rules *rules)
{
    free(rules->quick);
    if ((rules->quick = calloc(rules->count + 1, sizeof(*rules->quick))) == NULL)
        return ATH_ERR_NOMEM;
    for (size_t i = 0; i < rules->count; i++) {
        list_conditions(&rules->rules[i]);
        policy_quick_of_rule(&rules->rules[i], &rules->quick[i]);
    }
    for (size_t method = 0; method < RPC_METHOD_COUNT; method++) {
        size_t count = 0;
        uint16_t *list;

        for (size_t i = 0; i < rules->count; i++)
            count += policy_rule_has_method(&rules->rules[i], (enum rpc_method_id)method);
        free(rules->of_method[method]);
        rules->of_method_count[method] = 0;
        rules->of_method[method] = NULL;
        if (count == 0)
            continue;
        if ((list = calloc(count, sizeof(*list))) == NULL)
            return ATH_ERR_NOMEM;
        rules->of_method[method] = list;
        for (size_t i = 0; i < rules->count; i++)
            if (policy_rule_has_method(&rules->rules[i], (enum rpc_method_id)method))
                list[rules->of_method_count[method]++] = (uint16_t)i;
    }
    return ATH_OK;
}

ath_err
policy_rules_finish(struct policy_rules *taken_rules, ath_err err, struct policy_rules **ret_rules)
{
    if (err == ATH_OK)
        err = policy_rules_index(taken_rules);
    if (err == ATH_OK)
        *ret_rules = taken_rules;
    else
        policy_rules_free(taken_rules);
    return err;
}

static const char machine_rules[] =
    "{\"rules\": [{\"name\": \"everyone-their-own\", \"who\": {\"uid\": \"*\"}, \"may\": ["
    "\"agent.*\", \"events.subscribe\", \"key.create\", \"key.delete\", \"group:keys-read\", "
    "\"attestation.*\", \"handshake.*\", \"confirmation.answer\", \"credential.*\", \"service.*\", "
    "\"session.*\", \"token.verify\", \"peer.*\", \"group:grants\", \"group:consent\", "
    "\"audit.query\", \"audit.proof\", \"audit.consistency\", \"policy.check\", \"policy.show\", "
    "\"policy.freeze\", \"policy.unfreeze\"]}, "
    /* each steps a counter of the TPM, whose memory wears out */
    "{\"name\": \"few-checkpoints\", \"who\": {\"uid\": \"*\"}, \"may\": [\"audit.checkpoint\"], "
    "\"rate\": \"6/min\"}]}";

ath_err
policy_rules_built_in(uid_t owner, bool is_system, struct why *why, struct policy_rules **ret_rules)
{
    struct policy_rules *rules = policy_rules_new(owner);
    const char *text = machine_rules;
    char of_owner[160];
    ath_err err = rules == NULL ? ATH_ERR_NOMEM : ATH_OK;

    if (!is_system) {
        (void)snprintf(
            of_owner, sizeof(of_owner),
            "{\"rules\": [{\"name\": \"owner\", \"who\": {\"uid\": %lu}, \"may\": [\"*\"]}]}",
            (unsigned long)owner);
        text = of_owner;
    }
    if (err == ATH_OK)
        err = policy_rules_add(rules, ath_slice_of_string(text), "built-in", why);
    return policy_rules_finish(rules, err, ret_rules);
}

ath_err
policy_rules_encode(const struct policy_rules *rules, struct json **ret_json)
{
    struct json_maker policy, list;

    json_object_begin(&policy);
    json_array_begin(&list);
    if (rules->observe)
        json_put_bool(&policy, "observe", true);
    for (size_t i = 0; i < rules->file_count; i++)
        for (const struct json *rule = json_first(json_get(rules->files[i].tree, "rules"));
             rule != NULL; rule = json_next(rule))
            json_put_copy(&list, NULL, rule);
    json_put_maker(&policy, "rules", &list);
    return json_maker_end(&policy, ret_json);
}

const char *
policy_consent_text(const struct policy_rule *rule, char ret_text[32])
{
    static const char *const names[] = {"never", "first-audience", "once", "always"};

    if (rule->consent == POLICY_CONSENT_ONCE)
        (void)snprintf(ret_text, 32, "once:%" PRId64, rule->consent_s);
    else
        (void)snprintf(ret_text, 32, "%s", names[rule->consent]);
    return ret_text;
}
