#include "protocol/claims.h"

#include "tests/unit/protocol/token.h"

#define NOW 1700000000

static bool
audience_is_valid(const char *aud)
{
    struct json *json = json_of(aud);
    bool valid = claims_audience_is_valid(json);

    json_free(json);
    return valid;
}

static bool
audience_has(const char *aud, const char *audience)
{
    struct json *json = json_of(aud);
    bool has = claims_audience_has(json, audience);

    json_free(json);
    return has;
}

static void
test_an_audience_is_a_text_or_1_to_16_texts(void **state)
{
    (void)state;
    assert_true(audience_is_valid("\"a\""));
    assert_true(audience_is_valid("[\"a\"]"));
    assert_true(audience_is_valid(
        "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\","
        "\"13\",\"14\",\"15\",\"16\"]"));
    assert_false(
        audience_is_valid("[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\","
                          "\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]"));
    assert_false(audience_is_valid("\"\""));
    assert_false(audience_is_valid("[]"));
    assert_false(audience_is_valid("[\"a\",\"\"]"));
    assert_false(audience_is_valid("[\"a\",7]"));
    assert_false(audience_is_valid("null"));
    assert_false(audience_is_valid("{\"a\":\"a\"}"));
    assert_false(claims_audience_is_valid(NULL));
}

static void
test_an_audience_is_compared_byte_for_byte(void **state)
{
    (void)state;
    assert_true(audience_has("\"https://a.example\"", "https://a.example"));
    assert_false(audience_has("\"https://a.example/\"", "https://a.example"));
    assert_true(audience_has("[\"b\",\"a\"]", "a"));
    assert_false(audience_has("[\"b\",\"A\"]", "a"));
    assert_false(audience_has("{\"x\":\"a\"}", "a"));
    assert_false(claims_audience_has(NULL, "a"));
}

static bool
times_hold(const char *claims, int64_t now)
{
    struct json *json = json_of(claims);
    struct claims_times times;
    bool holds = claims_times_decode(json, &times) && claims_times_hold(&times, now);

    json_free(json);
    return holds;
}

static void
test_times_are_whole_numbers_in_order(void **state)
{
    (void)state;
    assert_true(times_hold("{\"iat\":1700000000,\"exp\":1700000001}", NOW));
    assert_false(times_hold("{\"iat\":1700000000,\"exp\":1700000000}", NOW - 1));
    assert_false(times_hold("{\"exp\":1700000001}", NOW));
    assert_false(times_hold("{\"iat\":1700000000}", NOW));
    assert_false(times_hold("{\"iat\":\"1700000000\",\"exp\":1700000001}", NOW));
    assert_false(times_hold("{\"iat\":1700000000,\"exp\":null}", NOW));
    assert_false(times_hold("{\"iat\":true,\"exp\":1700000001}", NOW));
    assert_false(times_hold("{\"iat\":-1,\"exp\":1700000001}", NOW));
}

static void
test_exp_has_no_leeway_and_iat_and_nbf_have_300_s(void **state)
{
    (void)state;
    assert_true(times_hold("{\"iat\":1,\"exp\":1700000001}", NOW));
    assert_false(times_hold("{\"iat\":1,\"exp\":1700000000}", NOW));
    assert_true(times_hold("{\"iat\":1700000300,\"exp\":1700000999}", NOW));
    assert_false(times_hold("{\"iat\":1700000301,\"exp\":1700000999}", NOW));
    assert_true(times_hold("{\"iat\":1,\"nbf\":1700000300,\"exp\":1700000999}", NOW));
    assert_false(times_hold("{\"iat\":1,\"nbf\":1700000301,\"exp\":1700000999}", NOW));
    assert_false(times_hold("{\"iat\":1,\"nbf\":\"1\",\"exp\":1700000999}", NOW));
}

static void
test_texts_and_dids_have_their_form(void **state)
{
    struct json *claims = json_of("{\"a\":\"xyz\",\"b\":\"\",\"c\":7,\"d\":\"did:ath:x\"}");

    (void)state;
    assert_string_equal(claims_text(claims, "a", 3), "xyz");
    assert_null(claims_text(claims, "a", 2));
    assert_null(claims_text(claims, "b", 2));
    assert_null(claims_text(claims, "c", 2));
    assert_null(claims_text(claims, "e", 2));
    assert_string_equal(claims_did(claims, "d"), "did:ath:x");
    assert_null(claims_did(claims, "a"));
    assert_null(claims_did(claims, "e"));
    json_free(claims);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_audience_is_a_text_or_1_to_16_texts),
        cmocka_unit_test(test_an_audience_is_compared_byte_for_byte),
        cmocka_unit_test(test_times_are_whole_numbers_in_order),
        cmocka_unit_test(test_exp_has_no_leeway_and_iat_and_nbf_have_300_s),
        cmocka_unit_test(test_texts_and_dids_have_their_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
