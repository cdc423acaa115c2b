/* handshake_retry's cookies: forged, stale, spent and foreign ones are refused, without state. */
#include "protocol/handshake_cookie.h"

#include "crypto/digest.h"
#include "protocol/handshake_decode.h"
#include "protocol/protocol_limits.h"
#include "tests/support/support.h"

#define NOW 1790000000
#define CLIENT "did:ath:client_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static struct cookie_jar *
new_jar(void)
{
    struct cookie_jar *jar = NULL;

    assert_int_equal(cookie_jar_new(&jar), ATH_OK);
    return jar;
}

/* The cookie of a retry; the caller frees it. */
static char *
new_cookie(struct cookie_jar *jar, const char *source, bool proof, int64_t retry_after, int64_t now)
{
    struct json *retry = NULL;
    char *cookie;

    assert_int_equal(cookie_jar_retry(jar, CLIENT, source, proof, retry_after, now, &retry),
                     ATH_OK);
    cookie = ath_strdup(json_get_string(retry, "cookie"));
    assert_non_null(cookie);
    json_free(retry);
    return cookie;
}

static ath_err
redeem(struct cookie_jar *jar, const char *cookie, const char *source, int64_t now)
{
    bool proof = false;

    return cookie_jar_redeem(jar, cookie, CLIENT, source, now, &proof);
}

static void
test_retry_is_a_message_that_decodes(void **state)
{
    struct cookie_jar *jar = new_jar();
    struct handshake_retry decoded;
    struct json *retry = NULL;
    struct why why = {{0}};

    (void)state;
    assert_int_equal(cookie_jar_retry(jar, CLIENT, "", true, 5, NOW, &retry), ATH_OK);
    assert_int_equal(handshake_retry_decode(retry, &why, &decoded), ATH_OK);
    assert_true(decoded.proof);
    assert_int_equal(decoded.retry_after, 5);
    assert_int_equal(decoded.timestamp, NOW);
    json_free(retry);
    assert_int_equal(cookie_jar_retry(jar, CLIENT, "", true, 61, NOW, &retry),
                     ATH_ERR_INVALID_PARAMS);
    cookie_jar_free(jar);
}

static void
test_cookie_is_good_once(void **state)
{
    struct cookie_jar *jar = new_jar();
    char *cookie = new_cookie(jar, "10.0.0.1", true, 0, NOW);
    bool proof = false;

    (void)state;
    assert_int_equal(cookie_jar_redeem(jar, cookie, CLIENT, "10.0.0.1", NOW + 1, &proof), ATH_OK);
    assert_true(proof);
    assert_int_equal(redeem(jar, cookie, "10.0.0.1", NOW + 1), ATH_ERR_INVALID_MESSAGE);
    assert_int_equal(redeem(jar, cookie, "10.0.0.1", NOW + 60), ATH_ERR_INVALID_MESSAGE);
    free(cookie);
    cookie_jar_free(jar);
}

static void
test_two_cookies_of_one_second_are_two(void **state)
{
    struct cookie_jar *jar = new_jar();
    char *first = new_cookie(jar, "s", false, 0, NOW), *second = new_cookie(jar, "s", false, 0, NOW);
    bool proof = true;

    (void)state;
    assert_int_equal(cookie_jar_redeem(jar, first, CLIENT, "s", NOW, &proof), ATH_OK);
    assert_false(proof);
    assert_int_equal(redeem(jar, second, "s", NOW), ATH_OK);
    free(first);
    free(second);
    cookie_jar_free(jar);
}

static void
test_cookie_is_good_for_60_s_after_the_wait(void **state)
{
    struct cookie_jar *jar = new_jar();
    char *cookie = new_cookie(jar, "s", false, 10, NOW);

    (void)state;
    assert_int_equal(redeem(jar, cookie, "s", NOW + 10 + 61), ATH_ERR_INVALID_MESSAGE);
    assert_int_equal(redeem(jar, cookie, "s", NOW - 100), ATH_ERR_INVALID_MESSAGE);
    assert_int_equal(redeem(jar, cookie, "s", NOW + 10 + 60), ATH_OK);
    free(cookie);
    cookie_jar_free(jar);
}

static void
test_cookie_of_another_source_client_or_service_is_refused(void **state)
{
    struct cookie_jar *jar = new_jar(), *other = new_jar();
    char *cookie = new_cookie(jar, "10.0.0.1", false, 0, NOW);
    bool proof = false;

    (void)state;
    assert_int_equal(redeem(jar, cookie, "10.0.0.2", NOW), ATH_ERR_INVALID_MESSAGE);
    assert_int_equal(redeem(jar, cookie, "", NOW), ATH_ERR_INVALID_MESSAGE);
    assert_int_equal(cookie_jar_redeem(jar, cookie, "did:ath:other", "10.0.0.1", NOW, &proof),
                     ATH_ERR_INVALID_MESSAGE);
    assert_int_equal(redeem(other, cookie, "10.0.0.1", NOW), ATH_ERR_INVALID_MESSAGE);
    assert_int_equal(redeem(jar, cookie, "10.0.0.1", NOW), ATH_OK); /* none of them spent it */
    free(cookie);
    cookie_jar_free(other);
    cookie_jar_free(jar);
}

static void
test_client_and_source_cannot_be_shifted_into_each_other(void **state)
{
    struct cookie_jar *jar = new_jar();
    struct json *retry = NULL;
    bool proof = false;

    (void)state;
    assert_int_equal(cookie_jar_retry(jar, "did:a:b", "cd", false, 0, NOW, &retry), ATH_OK);
    assert_int_equal(cookie_jar_redeem(jar, json_get_string(retry, "cookie"), "did:a:bc", "d", NOW,
                                       &proof),
                     ATH_ERR_INVALID_MESSAGE);
    json_free(retry);
    cookie_jar_free(jar);
}

static void
test_each_changed_character_forges_the_cookie(void **state)
{
    struct cookie_jar *jar = new_jar();
    char *cookie = new_cookie(jar, "s", false, 0, NOW);

    (void)state;
    for (size_t i = 0; cookie[i] != '\0'; i++) {
        char kept = cookie[i];

        cookie[i] = kept == 'A' ? 'B' : 'A';
        assert_int_equal(redeem(jar, cookie, "s", NOW), ATH_ERR_INVALID_MESSAGE);
        cookie[i] = kept;
    }
    cookie[strlen(cookie) - 1] = '\0';
    assert_int_equal(redeem(jar, cookie, "s", NOW), ATH_ERR_INVALID_MESSAGE);
    assert_int_equal(redeem(jar, "", "s", NOW), ATH_ERR_INVALID_MESSAGE);
    free(cookie);
    cookie_jar_free(jar);
}

static void
test_memory_of_spent_cookies_is_bounded_and_empties(void **state)
{
    struct cookie_jar *jar = new_jar();
    char *cookie;

    (void)state;
    for (unsigned i = 0; i < COOKIES_REMEMBERED; i++) {
        cookie = new_cookie(jar, "s", false, 0, NOW);
        assert_int_equal(redeem(jar, cookie, "s", NOW), ATH_OK);
        free(cookie);
    }
    cookie = new_cookie(jar, "s", false, 0, NOW);
    assert_int_equal(redeem(jar, cookie, "s", NOW), ATH_ERR_RATE_LIMITED);
    assert_int_equal(redeem(jar, cookie, "s", NOW + 60), ATH_ERR_RATE_LIMITED);
    free(cookie);
    cookie = new_cookie(jar, "s", false, 0, NOW + 61);
    assert_int_equal(redeem(jar, cookie, "s", NOW + 61), ATH_OK);
    assert_int_equal(redeem(jar, cookie, "s", NOW + 61), ATH_ERR_INVALID_MESSAGE);
    free(cookie);
    cookie_jar_free(jar);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_is_a_message_that_decodes),
        cmocka_unit_test(test_cookie_is_good_once),
        cmocka_unit_test(test_two_cookies_of_one_second_are_two),
        cmocka_unit_test(test_cookie_is_good_for_60_s_after_the_wait),
        cmocka_unit_test(test_cookie_of_another_source_client_or_service_is_refused),
        cmocka_unit_test(test_client_and_source_cannot_be_shifted_into_each_other),
        cmocka_unit_test(test_each_changed_character_forges_the_cookie),
        cmocka_unit_test(test_memory_of_spent_cookies_is_bounded_and_empties),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
