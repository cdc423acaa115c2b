#include "protocol/session_keys.h"

#include "crypto/digest.h"
#include "tests/unit/crypto/hex.h"

/* Z of RFC 7518 appendix C, ath_th = SHA-256("transcript"); keys made with python3's hmac. */
#define Z_HEX "9e56d91d817135d372834283bf84269cfb316ea3da806a48f6daa7798cfe90c4"

static void
make_inputs(struct ath_secret *z, uint8_t transcript[SHA256_LEN])
{
    uint8_t bytes[32];

    hex_decode(Z_HEX, bytes);
    assert_int_equal(ath_secret_from(ath_slice_of(bytes, sizeof(bytes)), z), ATH_OK);
    assert_int_equal(sha256(ath_slice_of_string("transcript"), transcript), ATH_OK);
}

static void
test_keys_and_sid_are_those_of_another_implementation(void **state)
{
    struct ath_secret z = {0};
    struct session_keys keys = {0};
    uint8_t transcript[SHA256_LEN];

    (void)state;
    make_inputs(&z, transcript);
    assert_int_equal(session_keys_derive(&z, transcript, &keys), ATH_OK);
    assert_hex(ath_secret_slice(&keys.c2s),
               "241d09561ee3a79424e849c60c8ecae443661efee619041db8069424949c1327");
    assert_hex(ath_secret_slice(&keys.s2c),
               "f37808467585fe9c35865f588a49f0bc124f2b6f61bbdb4f376b63ccb0bd97cf");
    assert_string_equal(keys.sid, "mD4hAtj0oz5TDsm1_Dqhzw");
    session_keys_done(&keys);
    assert_string_equal(keys.sid, "");
    assert_null(keys.c2s.data);
    ath_secret_done(&z);
}

static void
test_another_transcript_gives_other_keys(void **state)
{
    struct ath_secret z = {0};
    struct session_keys a = {0}, b = {0};
    uint8_t transcript[SHA256_LEN];

    (void)state;
    make_inputs(&z, transcript);
    assert_int_equal(session_keys_derive(&z, transcript, &a), ATH_OK);
    transcript[31] ^= 1;
    assert_int_equal(session_keys_derive(&z, transcript, &b), ATH_OK);
    assert_false(ath_secret_equal(&a.c2s, ath_secret_slice(&b.c2s)));
    assert_false(ath_secret_equal(&a.s2c, ath_secret_slice(&b.s2c)));
    assert_string_not_equal(a.sid, b.sid);
    session_keys_done(&b);
    session_keys_done(&a);
    ath_secret_done(&z);
}

static ath_err
derive_body(void *ctx)
{
    struct session_keys keys = {0};
    struct ath_secret z = {0};
    ath_err err;

    if ((err = ath_secret_init(&z, 32)) == ATH_OK)
        err = session_keys_derive(&z, ctx, &keys);
    session_keys_done(&keys);
    ath_secret_done(&z);
    return err;
}

static void
test_derivation_survives_each_failing_allocation(void **state)
{
    uint8_t transcript[SHA256_LEN] = {0};

    (void)state;
    each_allocation_failing(derive_body, transcript);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_sid_are_those_of_another_implementation),
        cmocka_unit_test(test_another_transcript_gives_other_keys),
        cmocka_unit_test(test_derivation_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
