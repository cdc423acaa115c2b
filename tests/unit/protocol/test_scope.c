#include "protocol/scope.h"

#include "protocol/protocol_limits.h"
#include "tests/unit/protocol/token.h"

static struct scope_list
list_of(const char *array)
{
    struct json *json = json_of(array);
    struct scope_list list = {0};

    assert_int_equal(scope_list_decode(json, 0, NULL, &list), ATH_OK);
    json_free(json);
    return list;
}

static ath_err
decode(const char *array, size_t min)
{
    struct json *json = json_of(array);
    struct scope_list list = {0};
    struct why why = {""};
    ath_err err = scope_list_decode(json, min, &why, &list);

    assert_true((err == ATH_OK) == (why.text[0] == '\0'));
    scope_list_done(&list);
    json_free(json);
    return err;
}

static void
test_a_scope_is_a_scope_token_of_rfc_6749(void **state)
{
    char text[SCOPE_MAX_LEN + 2];

    (void)state;
    assert_true(scope_is_valid("mail:read"));
    assert_true(scope_is_valid("!#[]~"));
    assert_false(scope_is_valid(""));
    assert_false(scope_is_valid(NULL));
    assert_false(scope_is_valid("mail read"));
    assert_false(scope_is_valid("mail\"read"));
    assert_false(scope_is_valid("mail\\read"));
    assert_false(scope_is_valid("mail\x7f"));
    assert_false(scope_is_valid("caf\xc3\xa9"));
    memset(text, 'a', sizeof(text));
    text[SCOPE_MAX_LEN + 1] = '\0';
    assert_false(scope_is_valid(text));
    text[SCOPE_MAX_LEN] = '\0';
    assert_true(scope_is_valid(text));
}

static void
test_a_list_holds_1_to_64_scopes_none_twice(void **state)
{
    struct ath_buf text = {0};

    (void)state;
    assert_int_equal(decode("[\"a:b\",\"a:B\"]", 1), ATH_OK);
    assert_int_equal(decode("[\"a:b\",\"a:b\"]", 1), ATH_ERR_PARSE);
    assert_int_equal(decode("[]", 1), ATH_ERR_PARSE);
    assert_int_equal(decode("[]", 0), ATH_OK);
    assert_int_equal(decode("[7]", 1), ATH_ERR_PARSE);
    assert_int_equal(decode("[null]", 0), ATH_ERR_PARSE);
    assert_int_equal(decode("\"a:b\"", 0), ATH_ERR_PARSE);
    assert_int_equal(decode("{}", 0), ATH_ERR_PARSE);
    assert_int_equal(decode("null", 0), ATH_ERR_PARSE);
    assert_int_equal(decode("[\"a b\"]", 1), ATH_ERR_PARSE);
    ath_buf_put_string(&text, "[\"s0\"");
    for (int i = 1; i < 64; i++)
        ath_buf_printf(&text, ",\"s%d\"", i);
    ath_buf_put_byte(&text, ']');
    assert_int_equal(decode(ath_buf_text(&text), 1), ATH_OK);
    text.len--;
    ath_buf_put_string(&text, ",\"s64\"]");
    assert_int_equal(decode(ath_buf_text(&text), 1), ATH_ERR_PARSE);
    ath_buf_done(&text);
}

static void
test_joining_and_splitting_are_inverse(void **state)
{
    struct scope_list list = list_of("[\"mail:read\",\"files:write\",\"x\"]"), again = {0};
    struct ath_buf text = {0};

    (void)state;
    scope_list_put_joined(&list, &text);
    assert_string_equal(ath_buf_text(&text), "mail:read files:write x");
    assert_int_equal(scope_list_split(ath_buf_text(&text), NULL, &again), ATH_OK);
    assert_true(scope_list_equal(&list, &again));
    scope_list_done(&again);
    ath_buf_done(&text);
    scope_list_done(&list);
}

static void
test_splitting_takes_single_spaces_only(void **state)
{
    static const char *const bad[] = {"", " ", "a ", " a", "a  b", "a\tb", "a a", "a,b\"", "a\nb"};
    struct scope_list list = {0};
    char longest[SCOPE_MAX_LEN + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(scope_list_split(bad[i], NULL, &list), ATH_ERR_PARSE);
    memset(longest, 'a', sizeof(longest) - 1);
    longest[SCOPE_MAX_LEN + 1] = '\0';
    assert_int_equal(scope_list_split(longest, NULL, &list), ATH_ERR_PARSE);
    assert_null(list.items);
}

static void
test_subset_and_equality_compare_byte_for_byte(void **state)
{
    struct scope_list a = list_of("[\"x\",\"y\"]"), b = list_of("[\"y\",\"x\"]");
    struct scope_list part = list_of("[\"y\"]"), none = {0}, upper = list_of("[\"Y\"]");

    (void)state;
    assert_true(scope_list_is_subset(&part, &a));
    assert_true(scope_list_is_subset(&none, &a));
    assert_false(scope_list_is_subset(&upper, &a));
    assert_false(scope_list_is_subset(&a, &part));
    assert_false(scope_list_equal(&a, &b));
    assert_false(scope_list_equal(&a, &part));
    assert_true(scope_list_equal(&a, &a));
    scope_list_done(&a);
    scope_list_done(&b);
    scope_list_done(&part);
    scope_list_done(&upper);
}

static void
assert_denied(const struct scope_decision *decision, const char *expected)
{
    struct json *array = NULL;
    char *text;

    assert_int_equal(scope_denied_encode(decision, &array), ATH_OK);
    text = json_text(array);
    assert_string_equal(text, expected);
    free(text);
    json_free(array);
}

static void
test_granted_is_what_all_of_them_allow(void **state)
{
    struct scope_list requested = list_of("[\"d\",\"a\",\"b\",\"c\"]"),
                      server = list_of("[\"a\",\"b\",\"d\"]");
    struct scope_list grant = list_of("[\"d\",\"b\",\"c\",\"z\"]"), confirmed = list_of("[\"d\"]");
    struct scope_list expected = list_of("[\"d\",\"b\"]");
    struct scope_decision decision = {0};

    (void)state;
    assert_int_equal(scope_decide(&requested, &server, &grant, NULL, &decision), ATH_OK);
    assert_true(scope_list_equal(&decision.granted, &expected)); /* in the order of the request */
    assert_denied(&decision, "[{\"scope\":\"a\",\"reason\":\"user_grant\"},"
                             "{\"scope\":\"c\",\"reason\":\"server_policy\"}]");
    scope_decision_done(&decision);
    assert_int_equal(scope_decide(&requested, &server, &grant, &confirmed, &decision), ATH_OK);
    assert_true(scope_list_equal(&decision.granted, &confirmed));
    assert_denied(&decision, "[{\"scope\":\"a\",\"reason\":\"user_grant\"},"
                             "{\"scope\":\"b\",\"reason\":\"user_confirmation\"},"
                             "{\"scope\":\"c\",\"reason\":\"server_policy\"}]");
    scope_decision_done(&decision);
    scope_list_done(&requested);
    scope_list_done(&server);
    scope_list_done(&grant);
    scope_list_done(&confirmed);
    scope_list_done(&expected);
}

static void
test_nothing_in_common_grants_nothing(void **state)
{
    struct scope_list requested = list_of("[\"a\"]"), none = {0};
    struct scope_decision decision = {0};

    (void)state;
    assert_int_equal(scope_decide(&requested, &requested, &none, NULL, &decision), ATH_OK);
    assert_int_equal(decision.granted.count, 0);
    assert_denied(&decision, "[{\"scope\":\"a\",\"reason\":\"user_grant\"}]");
    scope_decision_done(&decision);
    scope_list_done(&requested);
}

static void
test_first_who_refused_is_the_reason(void **state)
{
    struct scope_list requested = list_of("[\"a\",\"b\",\"c\"]"), server = list_of("[\"b\",\"c\"]");
    struct scope_list grant = list_of("[\"c\"]"), none = {0};
    struct scope_decision decision = {0};

    (void)state;
    assert_int_equal(scope_decide(&requested, &server, &grant, &none, &decision), ATH_OK);
    assert_int_equal(decision.granted.count, 0);
    assert_denied(&decision, "[{\"scope\":\"a\",\"reason\":\"server_policy\"},"
                             "{\"scope\":\"b\",\"reason\":\"user_grant\"},"
                             "{\"scope\":\"c\",\"reason\":\"user_confirmation\"}]");
    scope_decision_done(&decision);
    scope_list_done(&requested);
    scope_list_done(&server);
    scope_list_done(&grant);
}

static ath_err
decide_body(void *ctx)
{
    struct scope_list list = {0}, copy = {0}, half = {0};
    struct scope_decision decision = {0};
    struct json *array = NULL;
    ath_err err;

    if ((err = scope_list_split(ctx, NULL, &list)) != ATH_OK ||
        (err = scope_list_copy(&list, &copy)) != ATH_OK ||
        (err = scope_list_add(&half, "a")) != ATH_OK ||
        (err = scope_decide(&list, &copy, &half, NULL, &decision)) != ATH_OK ||
        (err = scope_denied_encode(&decision, &array)) != ATH_OK)
        goto out;
    json_free(array);
    array = NULL;
    err = scope_list_encode(&list, &array);
out:
    json_free(array);
    scope_decision_done(&decision);
    scope_list_done(&half);
    scope_list_done(&copy);
    scope_list_done(&list);
    return err;
}

static void
test_decisions_survive_each_failing_allocation(void **state)
{
    char text[] = "a b c";

    (void)state;
    each_allocation_failing(decide_body, text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_scope_is_a_scope_token_of_rfc_6749),
        cmocka_unit_test(test_a_list_holds_1_to_64_scopes_none_twice),
        cmocka_unit_test(test_joining_and_splitting_are_inverse),
        cmocka_unit_test(test_splitting_takes_single_spaces_only),
        cmocka_unit_test(test_subset_and_equality_compare_byte_for_byte),
        cmocka_unit_test(test_granted_is_what_all_of_them_allow),
        cmocka_unit_test(test_nothing_in_common_grants_nothing),
        cmocka_unit_test(test_first_who_refused_is_the_reason),
        cmocka_unit_test(test_decisions_survive_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
