#include "fixture_token.h"

static const enum key_algorithm algorithms[] = {KEY_ES256, KEY_ES384, KEY_EDDSA};

static void
test_each_algorithm_signs_and_verifies(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 3; i++) {
        struct hsm_key *key = fixture_key(fixture, algorithms[i], "agent-key");

        assert_int_equal(public_key_algorithm(key->public), algorithms[i]);
        for (unsigned k = 0; k < 30; k++) /* short r or s come along */
            fixture_must_sign(fixture, k % 2, key);
        pkcs11_backend_ops.key_close(fixture->hsm, key);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_algorithm_signs_and_verifies, fixture_setup_login,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
