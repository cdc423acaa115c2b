/* What a grant names becomes one rule of policy; what is the owner's is in none; and what is wider
 * than another is found, dimension by dimension. */
#include "tests/support/support.h"

#include "athd/grant_limits.h"

#define OWNER 1000u

static struct why last_why;

static struct json *
parse(const char *text)
{
    const struct json_limits limits = {1u << 20, 8, 64, JSON_INTEGERS};
    struct json *object = NULL;

    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &object), ATH_OK);
    return object;
}

static ath_err
read_limits(const char *text, const struct policy_rules *within, struct policy_rules **ret_limits)
{
    struct json *object = parse(text);
    ath_err err;

    last_why.text[0] = '\0';
    err = grant_limits_new(object, OWNER, within == NULL ? NULL : grant_limits_rule(within),
                           &last_why, ret_limits);
    json_free(object);
    return err;
}

static struct policy_rules *
limits_of(const char *text)
{
    struct policy_rules *limits = NULL;

    if (read_limits(text, NULL, &limits) != ATH_OK)
        fail_msg("%s: %s", text, last_why.text);
    return limits;
}

static bool
has(const struct policy_rules *limits, enum rpc_method_id method)
{
    return policy_rule_has_method(grant_limits_rule(limits), method);
}

/* ---- methods ---- */

static void
test_without_methods_there_are_those_of_the_group(void **state)
{
    struct policy_rules *limits = limits_of("{\"keys\":[\"k\"]}");
    uint64_t methods[POLICY_METHOD_WORDS] = {0};

    (void)state;
    assert_true(policy_methods_add(GRANT_METHODS_DEFAULT, methods));
    assert_memory_equal(methods, grant_limits_rule(limits)->methods, sizeof(methods));
    assert_true(has(limits, RPC_ATTESTATION_CREATE));
    assert_false(has(limits, RPC_GRANT_CREATE));
    policy_rules_free(limits);
}

static void
test_what_is_the_owners_is_in_no_group_and_no_pattern(void **state)
{
    struct policy_rules *limits = limits_of("{\"keys\":[\"k\"],\"methods\":[\"*\"]}");

    (void)state;
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        enum rpc_method_id method = (enum rpc_method_id)i;

        assert_true(has(limits, method) != grant_limits_is_owners(method));
    }
    assert_true(grant_limits_is_owners(RPC_POLICY_FREEZE));
    assert_true(grant_limits_is_owners(RPC_CONSENT_ANSWER));
    assert_true(grant_limits_is_owners(RPC_KEY_CREATE));
    assert_true(grant_limits_is_owners(RPC_AGENT_UNLOCK));
    assert_false(grant_limits_is_owners(RPC_POLICY_CHECK));
    assert_false(grant_limits_is_owners(RPC_KEY_GET));
    policy_rules_free(limits);
}

static void
test_within_a_grant_the_default_is_what_that_one_has_of_it(void **state)
{
    struct policy_rules *outer =
        limits_of("{\"keys\":[\"k\"],\"methods\":[\"agent.hello\",\"grant.create\",\"key.get\"]}");
    struct policy_rules *inner = NULL;

    (void)state;
    assert_int_equal(read_limits("{\"keys\":[\"k\"]}", outer, &inner), ATH_OK);
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++)
        assert_true(has(inner, (enum rpc_method_id)i) ==
                    (i == RPC_AGENT_HELLO || i == RPC_KEY_GET));
    policy_rules_free(inner);
    policy_rules_free(outer);
}

static const struct {
    const char *text;
    const char *named; /* what the sentence must name */
} refused[] = {
    {"{\"keys\":[\"k\"],\"methods\":[\"agent.hello\",\"audit.query\"]}", "audit.query"},
    {"{\"keys\":[\"k\"],\"methods\":[\"consent.answer\"]}", "consent.answer"},
    {"{\"keys\":[\"k\"],\"methods\":[\"group:audit\"]}", "methods"},
    {"{\"keys\":[\"k\"],\"methods\":[\"policy.*\",\"no.such\"]}", "no.such"},
    {"{\"keys\":[\"k\"],\"methods\":[]}", "may"},
    {"{\"keys\":[],\"methods\":[\"*\"]}", "keys"},
    {"{\"keys\":[\"k\"],\"audiences\":[\"https://a*.example\"]}", "audiences"},
    {"{\"keys\":[\"k\"],\"peers\":[\"https://a.example\"]}", "peers"},
    {"{\"keys\":[\"k\"],\"scopes\":[\"\"]}", "scopes"},
    {"{\"keys\":[\"k\"],\"unit\":\"*.scope\"}", "unit"},
    {"{\"keys\":[\"k\"],\"unit\":\"a/b.scope\"}", "unit"},
    {"{\"keys\":[\"k\"],\"unit\":7}", "unit"},
};

static void
test_what_is_wrong_is_refused_by_name_and_without_a_line_of_a_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct policy_rules *limits = NULL;

        if (read_limits(refused[i].text, NULL, &limits) != ATH_ERR_INVALID_PARAMS)
            fail_msg("%s is accepted", refused[i].text);
        if (strstr(last_why.text, refused[i].named) == NULL ||
            strstr(last_why.text, "grant:") != NULL)
            fail_msg("%s: %s", refused[i].text, last_why.text);
    }
}

static void
test_lists_that_are_too_long_are_refused(void **state)
{
    struct ath_buf text = {0};
    struct policy_rules *limits = NULL;

    (void)state;
    ath_buf_put_string(&text, "{\"keys\":[\"k\"],\"scopes\":[\"");
    for (unsigned i = 0; i < 20; i++)
        ath_buf_printf(&text, "%01000u\",\"", i);
    ath_buf_put_string(&text, "a\"]}");
    assert_int_equal(read_limits(ath_buf_text(&text), NULL, &limits), ATH_ERR_LIMIT_EXCEEDED);
    assert_non_null(strstr(last_why.text, "16384"));
    ath_buf_done(&text);
}

/* ---- narrower ---- */

#define METHODS "\"methods\":[\"agent.hello\",\"key.get\"]"
#define OUTER                                                                                      \
    "{\"keys\":[\"k\",\"l\"]," METHODS ",\"audiences\":[\"https://a.example\","                    \
    "\"https://*.b.example\"],\"peers\":[\"did:web:*\"],\"scopes\":[\"mail:*\",\"files:read\"]}"

static const struct {
    const char *inner;
    const char *wider; /* NULL: it is not */
} narrower[] = {
    {"{\"keys\":[\"k\"]," METHODS "}", NULL},
    {"{\"keys\":[\"l\",\"k\"],\"methods\":[\"key.get\"]}", NULL},
    {"{\"keys\":[\"m\"]," METHODS "}", "keys: m"},
    {"{\"keys\":[\"k*\"]," METHODS "}", "keys: k*"},
    {"{\"keys\":[\"k\"],\"methods\":[\"key.list\"]}", "methods: key.list"},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"https://a.example/p\"]}", NULL},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"https://x.b.example\"]}", NULL},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"https://*.x.b.example\"]}", NULL},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"did:web:x\"]}", NULL},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"did:web:*\"]}", NULL},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"did:ath:x\"]}", "audiences: did:ath:x"},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"https://a.example.evil\"]}",
     "audiences: https://a.example.evil"},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"https://*.a.example\"]}",
     "audiences: https://*.a.example"},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"https://b.example\"]}",
     "audiences: https://b.example"},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"http://a.example\"]}",
     "audiences: http://a.example"},
    {"{\"keys\":[\"k\"]," METHODS ",\"audiences\":[\"*\"]}", "audiences: *"},
    {"{\"keys\":[\"k\"]," METHODS ",\"peers\":[\"did:web:a\",\"did:web:b:*\"]}", NULL},
    {"{\"keys\":[\"k\"]," METHODS ",\"peers\":[\"did:*\"]}", "peers: did:*"},
    {"{\"keys\":[\"k\"]," METHODS ",\"peers\":[\"*\"]}", "peers: *"},
    {"{\"keys\":[\"k\"]," METHODS ",\"scopes\":[\"mail:read\",\"mail:send*\"]}", NULL},
    {"{\"keys\":[\"k\"]," METHODS ",\"scopes\":[\"files:*\"]}", "scopes: files:*"},
    {"{\"keys\":[\"k\"]," METHODS ",\"scopes\":[\"mai?:read\"]}", "scopes: mai?:read"},
    {"{\"keys\":[\"k\"]," METHODS ",\"scopes\":[\"*\"]}", "scopes: *"},
};

static void
test_what_is_wider_is_found_in_each_dimension(void **state)
{
    struct policy_rules *outer = limits_of(OUTER);

    (void)state;
    for (size_t i = 0; i < sizeof(narrower) / sizeof(narrower[0]); i++) {
        struct policy_rules *inner = limits_of(narrower[i].inner);
        struct why why = {{0}};
        ath_err err =
            grant_limits_check_narrower(grant_limits_rule(outer), grant_limits_rule(inner), &why);

        if (err != (narrower[i].wider == NULL ? ATH_OK : ATH_ERR_POLICY_DENIED) ||
            strcmp(why.text, narrower[i].wider == NULL ? "" : narrower[i].wider) != 0)
            fail_msg("%s: %s", narrower[i].inner, why.text);
        policy_rules_free(inner);
    }
    policy_rules_free(outer);
}

static void
test_what_an_outer_one_does_not_limit_an_inner_one_may(void **state)
{
    struct policy_rules *outer = limits_of("{\"keys\":[\"k\"],\"peers\":[\"*\"]}");
    struct policy_rules *inner =
        limits_of("{\"keys\":[\"k\"],\"audiences\":[\"*\"],\"scopes\":[\"*\"]}");
    struct why why = {{0}};

    (void)state;
    assert_int_equal(
        grant_limits_check_narrower(grant_limits_rule(outer), grant_limits_rule(inner), &why),
        ATH_OK);
    policy_rules_free(inner);
    policy_rules_free(outer);
}

/* ---- memory ---- */

static void
test_reading_survives_any_allocation_that_fails(void **state)
{
    struct json *object = parse(OUTER);
    ath_err err = ATH_ERR_NOMEM;

    (void)state;
    for (unsigned nth = 1; err == ATH_ERR_NOMEM && nth < 2000; nth++) {
        struct policy_rules *limits = NULL;

        fail_allocation(nth);
        err = grant_limits_new(object, OWNER, NULL, NULL, &limits);
        fail_allocation(0);
        policy_rules_free(limits);
    }
    assert_int_equal(err, ATH_OK);
    json_free(object);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_methods_there_are_those_of_the_group),
        cmocka_unit_test(test_what_is_the_owners_is_in_no_group_and_no_pattern),
        cmocka_unit_test(test_within_a_grant_the_default_is_what_that_one_has_of_it),
        cmocka_unit_test(test_what_is_wrong_is_refused_by_name_and_without_a_line_of_a_file),
        cmocka_unit_test(test_lists_that_are_too_long_are_refused),
        cmocka_unit_test(test_what_is_wider_is_found_in_each_dimension),
        cmocka_unit_test(test_what_an_outer_one_does_not_limit_an_inner_one_may),
        cmocka_unit_test(test_reading_survives_any_allocation_that_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
