/* A policy file: what is accepted decides and can be written and read again, what is not is told
 * with file and line; nothing that is accepted is looser than itself. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy_diff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
on_gain(void *ctx, const struct policy_rule *rule, const char *method, const char *why)
{
    (void)ctx;
    assert(method != NULL && why != NULL);
    assert(rule == NULL || rule->name[0] != '\0');
}

static void
use(struct policy_rules *rules)
{
    static const char *const audience = "https://a.example/x";
    const struct policy_subject subject = {.uid = 1, .exe = "/bin/a", .unit = "a.service"};
    const struct policy_question question = {.method = "attestation.create",
                                             .key = "k",
                                             .audiences = &audience,
                                             .audience_count = 1,
                                             .ttl = 60,
                                             .now = 43200};
    char missing[POLICY_MISSING_SIZE];
    struct policy_decision decision;
    struct ath_buf text = {.max = 4 * POLICY_FILE_MAX};
    struct json *tree = NULL;

    assert(policy_rules_index(rules) == ATH_OK);
    decision = policy_rules_decide(rules, &subject, &question);
    policy_decision_missing(&decision, &subject, &question, missing);
    assert((decision.allowing == NULL) == (missing[0] != '\0'));
    assert(policy_decision_rule(&decision) != NULL);
    (void)policy_diff(rules, rules, on_gain, NULL);
    assert(policy_rules_encode(rules, &tree) == ATH_OK);
    json_write(tree, &text);
    json_free(tree);
    ath_buf_done(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy_rules *rules = policy_rules_new(1000);
    struct why why = {{0}};
    ath_err err;

    if (rules == NULL)
        abort();
    err = policy_rules_add(rules, ath_slice_of(data, size), "p", &why);
    if (err == ATH_OK) {
        use(rules);
    } else {
        assert(err == ATH_ERR_INVALID_PARAMS);
        assert(strncmp(why.text, "p:", 2) == 0);
    }
    policy_rules_free(rules);
    return 0;
}
