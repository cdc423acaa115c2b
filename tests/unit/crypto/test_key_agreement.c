/* The source itself, because published vectors begin with the scalar, which nobody may set
 * otherwise. */
#include "crypto/key_agreement.c"

#include "tests/unit/crypto/hex.h"

/* RFC 7518 appendix C: Alice's and Bob's ephemeral keys, and the Z of both. */
static const char alice_d[] = "0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo";
static const char alice_share[] =
    "BICNBgCCwXbu0-d2pKxZjMhnLBd5-XTuzJsDQRyluUldSLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps";
static const char bob_d[] = "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw";
static const char bob_share[] =
    "BMHjScth7HAkjOgBA0w4NOG4jr4RYcslrzh0H3hfz8TEe8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck";
static const char shared_z[] = "9e56d91d817135d372834283bf84269cfb316ea3da806a48f6daa7798cfe90c4";

static struct key_agreement *
agreement_of(const char *d, const char *share)
{
    struct key_agreement *agreement = NULL;

    assert_int_equal(key_agreement_new(&agreement), ATH_OK);
    assert_int_equal(
        base64url_decode_exact(ath_slice_of_string(d), agreement->scalar.data, SCALAR_LEN), ATH_OK);
    assert_int_equal(make_share(&agreement->scalar, agreement->share), ATH_OK);
    base64url_encode(ath_slice_of(agreement->share, KEY_SHARE_LEN), agreement->share_text);
    assert_string_equal(key_agreement_share(agreement), share);
    return agreement;
}

static void
test_both_sides_derive_the_published_z(void **state)
{
    struct key_agreement *alice = agreement_of(alice_d, alice_share);
    struct key_agreement *bob = agreement_of(bob_d, bob_share);
    struct ath_secret z = {0};

    (void)state;
    assert_int_equal(key_agreement_derive(alice, bob_share, &z), ATH_OK);
    assert_hex(ath_secret_slice(&z), shared_z);
    ath_secret_done(&z);
    assert_int_equal(key_agreement_derive(bob, alice_share, &z), ATH_OK);
    assert_hex(ath_secret_slice(&z), shared_z);
    ath_secret_done(&z);
    key_agreement_free(bob);
    key_agreement_free(alice);
}

static struct key_agreement *
new_agreement(uint64_t seed)
{
    struct key_agreement *agreement = NULL;

    fake_random_seed(seed);
    assert_int_equal(key_agreement_new(&agreement), ATH_OK);
    fake_random_seed(0);
    return agreement;
}

static void
test_shares_differ_each_time_and_repeat_with_the_tests_seed(void **state)
{
    struct key_agreement *a = new_agreement(0), *b = new_agreement(0);
    struct key_agreement *c = new_agreement(5), *d = new_agreement(5);

    (void)state;
    assert_int_equal(strlen(key_agreement_share(a)), KEY_SHARE_TEXT_LEN);
    assert_string_not_equal(key_agreement_share(a), key_agreement_share(b));
    assert_string_equal(key_agreement_share(c), key_agreement_share(d));
    key_agreement_free(a);
    key_agreement_free(b);
    key_agreement_free(c);
    key_agreement_free(d);
}

/* Z is the field element, not the shortest form of the number. */
static void
test_z_keeps_its_leading_zeros(void **state)
{
    struct key_agreement *own = new_agreement(1);
    bool seen = false;

    (void)state;
    for (int i = 0; i < 10000 && !seen; i++) {
        struct key_agreement *peer = new_agreement(0);
        struct ath_secret z = {0}, again = {0};

        assert_int_equal(key_agreement_derive(own, key_agreement_share(peer), &z), ATH_OK);
        assert_int_equal(z.len, 32);
        if (z.data[0] == 0) {
            seen = true;
            assert_int_equal(key_agreement_derive(peer, key_agreement_share(own), &again), ATH_OK);
            assert_true(ath_secret_equal(&z, ath_secret_slice(&again)));
            ath_secret_done(&again);
        }
        ath_secret_done(&z);
        key_agreement_free(peer);
    }
    assert_true(seen);
    key_agreement_free(own);
}

static void
assert_share_refused(const char *share)
{
    struct key_agreement *own = new_agreement(1);
    struct ath_secret z = {0};

    assert_int_equal(key_agreement_derive(own, share, &z), ATH_ERR_INVALID_KEY_SHARE);
    assert_null(z.data);
    key_agreement_free(own);
}

static void
assert_point_refused(uint8_t point[KEY_SHARE_LEN])
{
    char text[KEY_SHARE_TEXT_LEN + 1];

    base64url_encode(ath_slice_of(point, KEY_SHARE_LEN), text);
    assert_share_refused(text);
}

static void
test_a_share_off_the_curve_or_in_another_form_is_refused(void **state)
{
    uint8_t point[KEY_SHARE_LEN];

    (void)state;
    assert_int_equal(base64url_decode_exact(ath_slice_of_string(bob_share), point, sizeof(point)),
                     ATH_OK);
    point[64] ^= 1;
    assert_point_refused(point); /* invalid curve attack */
    point[64] ^= 1;
    point[0] = (uint8_t)(6 | (point[64] & 1));
    assert_point_refused(point); /* hybrid form */
    memset(point, 0, sizeof(point));
    assert_point_refused(point); /* infinity, padded */
    point[0] = 4;
    assert_point_refused(point); /* 0, 0 */
    memset(point + 1, 0xff, 64);
    assert_point_refused(point); /* coordinates above p */
}

static void
test_a_share_that_is_not_its_one_text_is_refused(void **state)
{
    char text[KEY_SHARE_TEXT_LEN + 8];

    (void)state;
    assert_share_refused("");
    assert_share_refused(NULL);
    snprintf(text, sizeof(text), "%s=", bob_share);
    assert_share_refused(text);
    snprintf(text, sizeof(text), "%.86s", bob_share);
    assert_share_refused(text);
    snprintf(text, sizeof(text), "%sAAAA", bob_share);
    assert_share_refused(text);
    snprintf(text, sizeof(text), "%s", bob_share);
    text[10] = '+';
    assert_share_refused(text);
    snprintf(text, sizeof(text), "%s", bob_share);
    text[86]++; /* unused bits, no longer zero */
    assert_share_refused(text);
}

static void
test_our_own_share_come_back_is_refused(void **state)
{
    struct key_agreement *own = new_agreement(1);

    (void)state;
    assert_share_refused(key_agreement_share(own));
    key_agreement_free(own);
}

static ath_err
derive_body(void *ctx)
{
    struct key_agreement *own = NULL;
    struct ath_secret z = {0};
    ath_err err;

    (void)ctx;
    if ((err = key_agreement_new(&own)) == ATH_OK)
        err = key_agreement_derive(own, bob_share, &z);
    ath_secret_done(&z);
    key_agreement_free(own);
    return err;
}

static void
test_agreement_survives_each_failing_allocation(void **state)
{
    (void)state;
    each_allocation_failing(derive_body, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_sides_derive_the_published_z),
        cmocka_unit_test(test_shares_differ_each_time_and_repeat_with_the_tests_seed),
        cmocka_unit_test(test_z_keeps_its_leading_zeros),
        cmocka_unit_test(test_a_share_off_the_curve_or_in_another_form_is_refused),
        cmocka_unit_test(test_a_share_that_is_not_its_one_text_is_refused),
        cmocka_unit_test(test_our_own_share_come_back_is_refused),
        cmocka_unit_test(test_agreement_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
