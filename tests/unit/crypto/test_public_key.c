#include "crypto/public_key.h"

#include "tests/unit/crypto/keys.h"

static void
test_thumbprints_are_the_published_ones(void **state)
{
    struct public_key *ec = key_of_jwk(EC_JWK), *okp = key_of_jwk(OKP_JWK);

    (void)state;
    /* RFC 7638 has no EC example: made with python3-cryptography from the key of RFC 7515 A.3.1 */
    assert_string_equal(public_key_jkt(ec), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    /* RFC 8037 A.3 */
    assert_string_equal(public_key_jkt(okp), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_int_equal(public_key_algorithm(ec), KEY_ES256);
    assert_int_equal(public_key_algorithm(okp), KEY_EDDSA);
    public_key_free(okp);
    public_key_free(ec);
}

static void
test_every_form_of_a_key_gives_the_same_key(void **state)
{
    static const enum test_key_kind kinds[] = {TEST_KEY_P256, TEST_KEY_P384, TEST_KEY_ED25519};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct public_key *key = key_of(kinds[i]), *again = NULL;
        struct ath_buf text = {0};
        struct json *jwk = NULL;

        public_key_put_pem(key, &text);
        assert_int_equal(public_key_from_pem(ath_buf_slice(&text), NULL, &again), ATH_OK);
        assert_true(public_key_equal(key, again));
        public_key_free(again);
        assert_int_equal(public_key_jwk(key, &jwk), ATH_OK);
        assert_int_equal(public_key_from_jwk(jwk, NULL, &again), ATH_OK);
        assert_true(public_key_equal(key, again));
        assert_string_equal(public_key_jkt(key), public_key_jkt(again));
        public_key_free(again);
        json_free(jwk);
        ath_buf_clear(&text);
        if (kinds[i] == TEST_KEY_P384) {
            assert_int_equal(public_key_did_key(key, &text), ATH_ERR_UNSUPPORTED_ALGORITHM);
        } else {
            assert_int_equal(public_key_did_key(key, &text), ATH_OK);
            assert_int_equal(public_key_from_did_key(ath_buf_text(&text), NULL, &again), ATH_OK);
            assert_true(public_key_equal(key, again));
            public_key_free(again);
        }
        ath_buf_done(&text);
        public_key_free(key);
    }
}

static void
test_a_reference_keeps_the_key(void **state)
{
    struct public_key *key = key_of(TEST_KEY_P256), *shared = public_key_ref(key);

    (void)state;
    assert_ptr_equal(key, shared);
    public_key_free(key);
    assert_int_equal(strlen(public_key_jkt(shared)), JKT_LEN);
    public_key_free(shared);
    assert_null(public_key_ref(NULL));
    public_key_free(NULL);
}

static void
test_a_point_with_short_coordinates_is_padded(void **state)
{
    struct public_key *key = key_of_jwk(EC_JWK), *again = NULL;
    struct ath_slice der = public_key_der(key);
    uint8_t long_x[40] = {0};

    (void)state;
    memcpy(long_x + 8, der.data + 27, 32);
    assert_int_equal(public_key_from_point(KEY_ES256, ath_slice_of(long_x, 40),
                                           ath_slice_of(der.data + 59, 32), NULL, &again),
                     ATH_OK);
    assert_true(public_key_equal(key, again));
    public_key_free(again);
    /* off the curve when the first byte of x is missing */
    assert_int_equal(public_key_from_point(KEY_ES256, ath_slice_of(der.data + 28, 31),
                                           ath_slice_of(der.data + 59, 32), NULL, &again),
                     ATH_ERR_INVALID_PUBLIC_KEY);
    long_x[0] = 1;
    assert_int_equal(public_key_from_point(KEY_ES256, ath_slice_of(long_x, 40),
                                           ath_slice_of(der.data + 59, 32), NULL, &again),
                     ATH_ERR_INVALID_PUBLIC_KEY);
    public_key_free(key);
}

static ath_err
forms_body(void *ctx)
{
    struct public_key *key = NULL, *again = NULL;
    struct ath_buf text = {0};
    struct json *jwk = NULL;
    ath_err err;

    if ((err = public_key_from_pem(ath_slice_of_string(ctx), NULL, &key)) != ATH_OK ||
        (err = public_key_did_key(key, &text)) != ATH_OK ||
        (err = ath_buf_text(&text) != NULL ? ATH_OK : text.err) != ATH_OK ||
        (err = public_key_from_did_key(ath_buf_text(&text), NULL, &again)) != ATH_OK)
        goto out;
    public_key_free(again);
    again = NULL;
    if ((err = public_key_jwk(key, &jwk)) == ATH_OK)
        err = public_key_from_jwk(jwk, NULL, &again);
out:
    json_free(jwk);
    ath_buf_done(&text);
    public_key_free(again);
    public_key_free(key);
    return err;
}

static void
test_every_form_survives_each_failing_allocation(void **state)
{
    struct public_key *key = key_of(TEST_KEY_P256);
    struct ath_buf pem = {0};
    char *text;

    (void)state;
    public_key_put_pem(key, &pem);
    text = ath_slice_dup(ath_buf_slice(&pem));
    each_allocation_failing(forms_body, text);
    free(text);
    ath_buf_done(&pem);
    public_key_free(key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thumbprints_are_the_published_ones),
        cmocka_unit_test(test_every_form_of_a_key_gives_the_same_key),
        cmocka_unit_test(test_a_reference_keeps_the_key),
        cmocka_unit_test(test_a_point_with_short_coordinates_is_padded),
        cmocka_unit_test(test_every_form_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
