#include "tests/unit/crypto/keys.h"

static void
test_did_keys_are_those_of_others(void **state)
{
    /* made with python3-cryptography and the definition of did:key */
    static const char *const dids[] = {
        "did:key:zDnaerGBD7Zxzau2fdfEFaaaTDYBu5XEBYdGV2BmERp3MDSov",
        "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
    };
    const char *jwks[] = {EC_JWK, OKP_JWK};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct public_key *key = key_of_jwk(jwks[i]), *decoded = NULL;
        struct ath_buf did = {0};

        assert_int_equal(public_key_did_key(key, &did), ATH_OK);
        assert_string_equal(ath_buf_text(&did), dids[i]);
        assert_int_equal(public_key_from_did_key(dids[i], NULL, &decoded), ATH_OK);
        assert_true(public_key_equal(key, decoded));
        public_key_free(decoded);
        ath_buf_done(&did);
        public_key_free(key);
    }
}

static void
test_did_keys_in_another_form_are_refused(void **state)
{
    static const char *const dids[] = {
        "",
        "did:key:",
        "did:key:z",
        "did:key:zDnaerGBD7Zxzau2fdfEFaaaTDYBu5XEBYdGV2BmERp3MDSo",   /* short */
        "did:key:zDnaerGBD7Zxzau2fdfEFaaaTDYBu5XEBYdGV2BmERp3MDSovv", /* long */
        "did:key:zDnaerGBD7Zxzau2fdfEFaaaTDYBu5XEBYdGV2BmERp3MDSo0",  /* not base58 */
        "did:key:z1DnaerGBD7Zxzau2fdfEFaaaTDYBu5XEBYdGV2BmERp3MDSov", /* a leading zero */
        "did:key:z16MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
        "did:key:mgCQ", /* other multibase */
        "did:key:zDnaerGBD7Zxzau2fdfEFaaaTDYBu5XEBYdGV2BmERp3MDSov#k",
        "DID:key:zDnaerGBD7Zxzau2fdfEFaaaTDYBu5XEBYdGV2BmERp3MDSov",
        "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc", /* X25519 */
    };
    struct public_key *key = NULL;

    (void)state;
    assert_int_equal(public_key_from_did_key(NULL, NULL, &key), ATH_ERR_INVALID_PUBLIC_KEY);
    for (size_t i = 0; i < sizeof(dids) / sizeof(dids[0]); i++) {
        assert_int_equal(public_key_from_did_key(dids[i], NULL, &key), ATH_ERR_INVALID_PUBLIC_KEY);
        assert_null(key);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_did_keys_are_those_of_others),
        cmocka_unit_test(test_did_keys_in_another_form_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
