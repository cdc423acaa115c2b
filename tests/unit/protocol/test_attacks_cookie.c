/* A spent cookie is remembered for as long as it would be good, also when the table of spent ones
 * is made anew in between (profile section 5, step 1). */
#include "protocol/handshake_cookie.h"

#include <stdio.h>

#include "protocol/protocol_limits.h"
#include "tests/support/handshake_scene.h"

#define NOW SCENE_NOW
#define WAIT 60
#define ENOUGH_TO_REBUILD 200

static const char CLIENT[] = "did:ath:some_client", SOURCE[] = "10.0.0.1";

static void
take_cookie(struct cookie_jar *jar, int64_t wait_s, int64_t now, char cookie[COOKIE_MAX_LEN + 1])
{
    struct json *retry = NULL;

    assert_int_equal(cookie_jar_retry(jar, CLIENT, SOURCE, true, wait_s, now, &retry), ATH_OK);
    snprintf(cookie, COOKIE_MAX_LEN + 1, "%s", json_get_string(retry, "cookie"));
    json_free(retry);
}

static ath_err
redeem(struct cookie_jar *jar, const char *cookie, int64_t now)
{
    bool proof = false;

    return cookie_jar_redeem(jar, cookie, CLIENT, SOURCE, now, &proof);
}

static void
make_table_anew(struct cookie_jar *jar, int64_t now)
{
    char cookie[COOKIE_MAX_LEN + 1];

    for (unsigned i = 0; i < ENOUGH_TO_REBUILD; i++) {
        take_cookie(jar, 0, now, cookie);
        assert_int_equal(redeem(jar, cookie, now), ATH_OK);
    }
}

static void
test_cookie_that_was_spent_early_cannot_be_spent_again(void **state)
{
    static const int64_t first[] = {0, WAIT - 1, WAIT, WAIT + 59, WAIT + 60};
    char cookie[COOKIE_MAX_LEN + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
        struct cookie_jar *jar = NULL;

        assert_int_equal(cookie_jar_new(&jar), ATH_OK);
        take_cookie(jar, WAIT, NOW, cookie);
        assert_int_equal(redeem(jar, cookie, NOW + first[i]), ATH_OK);
        for (int64_t now = NOW + first[i]; now <= NOW + WAIT + 60; now++)
            assert_int_equal(redeem(jar, cookie, now), ATH_ERR_INVALID_MESSAGE);
        make_table_anew(jar, NOW + WAIT + 60);
        assert_int_equal(redeem(jar, cookie, NOW + WAIT + 60), ATH_ERR_INVALID_MESSAGE);
        cookie_jar_free(jar);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cookie_that_was_spent_early_cannot_be_spent_again),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
