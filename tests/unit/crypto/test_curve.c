#include "crypto/curve.h"

#include "tests/unit/crypto/keys.h"
#include "tests/unit/crypto/hex.h"

static void
assert_der_refused(const uint8_t *der, size_t len)
{
    struct public_key *key = NULL;
    struct why why = {""};

    assert_int_equal(public_key_from_der(ath_slice_of(der, len), &why, &key),
                     ATH_ERR_INVALID_PUBLIC_KEY);
    assert_null(key);
    assert_true(why.text[0] != '\0');
}

static void
test_only_the_three_prefixes_are_accepted(void **state)
{
    struct public_key *key = key_of(TEST_KEY_P256);
    uint8_t der[128];
    size_t len = public_key_der(key).len;

    (void)state;
    memcpy(der, public_key_der(key).data, len);
    for (size_t i = 0; i <= 26; i++) { /* each byte up to the point, and its form byte */
        der[i] ^= 1;
        assert_der_refused(der, len);
        der[i] ^= 1;
    }
    der[len] = 0;
    assert_der_refused(der, len + 1); /* trailing byte */
    assert_der_refused(der, len - 1);
    assert_der_refused(der, 0);
    assert_der_refused(NULL, 0);
    public_key_free(key);
}

static void
test_compressed_and_hybrid_points_are_refused(void **state)
{
    struct public_key *key = key_of(TEST_KEY_P256);
    uint8_t der[128], compressed[64];
    size_t len = public_key_der(key).len;

    (void)state;
    memcpy(der, public_key_der(key).data, len);
    der[26] = (uint8_t)(6 | (der[len - 1] & 1));
    assert_der_refused(der, len);
    /* what "openssl ec -conv_form compressed" writes */
    memcpy(compressed, der, 26 + 33);
    compressed[1] = 0x39;
    compressed[24] = 0x22;
    compressed[26] = (uint8_t)(2 | (der[len - 1] & 1));
    assert_der_refused(compressed, 26 + 33);
    public_key_free(key);
}

/* The curve's own parameters in full ("-param_enc explicit"), with the generator that the sender
 * likes (CVE-2020-0601). */
static void
test_explicit_curve_parameters_are_refused(void **state)
{
    static const char explicit_hex[] =
        "3082014b3082010306072a8648ce3d02013081f7020101302c06072a8648ce3d0101022100ffffffff00000001"
        "000000000000000000000000ffffffffffffffffffffffff305b0420ffffffff00000001000000000000000000"
        "000000fffffffffffffffffffffffc04205ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e"
        "27d2604b031500c49d360886e704936a6678e1139d26b7819f7e900441046b17d1f2e12c4247f8bce6e563a440"
        "f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb64068"
        "37bf51f5022100ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551020101034200"
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a"
        "7c0f9e162bce33576b315ececbb6406837bf51f5";
    uint8_t der[512];

    (void)state;
    assert_der_refused(der, hex_decode(explicit_hex, der));
}

static void
test_points_off_the_curve_are_refused(void **state)
{
    static const enum test_key_kind kinds[] = {TEST_KEY_P256, TEST_KEY_P384};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct public_key *key = key_of(kinds[i]);
        struct ath_slice der = public_key_der(key);
        uint8_t copy[128];

        memcpy(copy, der.data, der.len);
        copy[der.len - 1] ^= 1;
        assert_der_refused(copy, der.len);
        copy[der.len - 1] ^= 1;
        memset(copy + der.len - 32, 0xff, 32); /* y above p for P-256, wrong for P-384 */
        assert_der_refused(copy, der.len);
        public_key_free(key);
    }
}

static void
assert_ed25519_refused(const char *hex)
{
    uint8_t der[44];

    hex_decode("302a300506032b6570032100", der);
    assert_int_equal(hex_decode(hex, der + 12), 32);
    assert_der_refused(der, sizeof(der));
    der[43] ^= 0x80; /* with the other sign of x */
    assert_der_refused(der, sizeof(der));
}

static void
test_ed25519_points_of_small_order_are_refused(void **state)
{
    (void)state;
    /* order 1, 2, 4, 8, 8 */
    assert_ed25519_refused("0100000000000000000000000000000000000000000000000000000000000000");
    assert_ed25519_refused("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    assert_ed25519_refused("0000000000000000000000000000000000000000000000000000000000000000");
    assert_ed25519_refused("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
    assert_ed25519_refused("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
    /* the same points in non-canonical form: y = p, p + 1 */
    assert_ed25519_refused("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    assert_ed25519_refused("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
}

static void
test_ed25519_encodings_of_no_point_are_refused(void **state)
{
    (void)state;
    /* y = 2 is on no point of the curve; y = p + 3 is the non-canonical form of 3, which is */
    assert_ed25519_refused("0200000000000000000000000000000000000000000000000000000000000000");
    assert_ed25519_refused("f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    assert_ed25519_refused("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
}

/* The check of the curve must not refuse honest keys: all that OpenSSL makes are accepted. */
static void
test_ed25519_keys_that_openssl_makes_are_accepted(void **state)
{
    (void)state;
    for (int i = 0; i < 64; i++) {
        char name[16];
        struct test_key *pair;
        struct public_key *key = NULL;

        snprintf(name, sizeof(name), "%d", i);
        pair = test_key_new(TEST_KEY_ED25519, name);
        assert_int_equal(public_key_from_der(test_key_der(pair), NULL, &key), ATH_OK);
        public_key_free(key);
        test_key_free(pair);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_three_prefixes_are_accepted),
        cmocka_unit_test(test_compressed_and_hybrid_points_are_refused),
        cmocka_unit_test(test_explicit_curve_parameters_are_refused),
        cmocka_unit_test(test_points_off_the_curve_are_refused),
        cmocka_unit_test(test_ed25519_points_of_small_order_are_refused),
        cmocka_unit_test(test_ed25519_encodings_of_no_point_are_refused),
        cmocka_unit_test(test_ed25519_keys_that_openssl_makes_are_accepted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
