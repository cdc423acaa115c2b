#include "base/base64url.h"
#include "crypto/public_key.h"
#include "tests/support/test_key.h"
#include "tests/unit/crypto/hex.h"

static void
test_algorithm_names_are_those_of_jose(void **state)
{
    static const enum key_algorithm all[] = {KEY_ES256, KEY_ES384, KEY_EDDSA};
    enum key_algorithm algorithm;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_true(key_algorithm_parse(key_algorithm_name(all[i]), &algorithm));
        assert_int_equal(algorithm, all[i]);
    }
    assert_string_equal(key_algorithm_name(KEY_ES256), "ES256");
    assert_string_equal(key_algorithm_name(KEY_ES384), "ES384");
    assert_string_equal(key_algorithm_name(KEY_EDDSA), "EdDSA");
    assert_int_equal(key_algorithm_signature_len(KEY_ES256), 64);
    assert_int_equal(key_algorithm_signature_len(KEY_ES384), 96);
    assert_int_equal(key_algorithm_signature_len(KEY_EDDSA), 64);
    assert_false(key_algorithm_parse("none", &algorithm));
    assert_false(key_algorithm_parse("HS256", &algorithm));
    assert_false(key_algorithm_parse("es256", &algorithm));
    assert_false(key_algorithm_parse("", &algorithm));
    assert_false(key_algorithm_parse(NULL, &algorithm));
}

static struct public_key *
key_of_jwk(const char *text)
{
    const struct json_limits limits = {4096, 4, 32, JSON_INTEGERS};
    struct json *jwk = NULL;
    struct public_key *key = NULL;

    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &jwk), ATH_OK);
    assert_int_equal(public_key_from_jwk(jwk, NULL, &key), ATH_OK);
    json_free(jwk);
    return key;
}

static void
assert_jws(const char *jwk, const char *signing_input, const char *signature_text, ath_err expected)
{
    struct public_key *key = key_of_jwk(jwk);
    struct ath_buf signature = {0};

    assert_int_equal(base64url_decode(ath_slice_of_string(signature_text), &signature), ATH_OK);
    assert_int_equal(
        public_key_verify(key, ath_slice_of_string(signing_input), ath_buf_slice(&signature)),
        expected);
    ath_buf_done(&signature);
    public_key_free(key);
}

/* RFC 7515 A.3: ES256 */
static void
test_the_es256_example_of_rfc_7515_holds(void **state)
{
    static const char jwk[] = "{\"kty\":\"EC\",\"crv\":\"P-256\","
                              "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                              "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
    static const char input[] =
        "eyJhbGciOiJFUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLm"
        "NvbS9pc19yb290Ijp0cnVlfQ";
    static const char signature[] =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

    (void)state;
    assert_jws(jwk, input, signature, ATH_OK);
    assert_jws(jwk, input + 1, signature, ATH_ERR_INVALID_SIGNATURE);
}

/* RFC 8037 A.4: Ed25519 */
static void
test_the_eddsa_example_of_rfc_8037_holds(void **state)
{
    static const char jwk[] = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                              "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";
    static const char input[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    static const char signature[] =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    (void)state;
    assert_jws(jwk, input, signature, ATH_OK);
    assert_jws(jwk, "", signature, ATH_ERR_INVALID_SIGNATURE);
}

/* RFC 6979 A.2.6: P-384, SHA-384, message "sample" */
static void
test_the_p384_example_of_rfc_6979_holds(void **state)
{
    uint8_t x[48], y[48], signature[96];
    struct public_key *key = NULL;

    (void)state;
    hex_decode("EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64"
               "DEF8F0EA9055866064A254515480BC13",
               x);
    hex_decode("8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1"
               "288B231C3AE0D4FE7344FD2533264720",
               y);
    hex_decode("94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C"
               "81A648152E44ACF96E36DD1E80FABE46"
               "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94F"
               "A329C145786E679E7B82C71A38628AC8",
               signature);
    assert_int_equal(
        public_key_from_point(KEY_ES384, ath_slice_of(x, 48), ath_slice_of(y, 48), NULL, &key),
        ATH_OK);
    assert_int_equal(
        public_key_verify(key, ath_slice_of_string("sample"), ath_slice_of(signature, 96)), ATH_OK);
    signature[95] ^= 1;
    assert_int_equal(
        public_key_verify(key, ath_slice_of_string("sample"), ath_slice_of(signature, 96)),
        ATH_ERR_INVALID_SIGNATURE);
    public_key_free(key);
}

static const enum test_key_kind kinds[] = {TEST_KEY_P256, TEST_KEY_P384, TEST_KEY_ED25519};

struct signed_message {
    struct test_key *pair;
    struct public_key *key;
    struct ath_slice message;
    struct ath_buf signature;
};

static void
sign_message(enum test_key_kind kind, struct signed_message *ret)
{
    *ret = (struct signed_message){.message = ath_slice_of_string("a message")};
    ret->pair = test_key_new(kind, "signer");
    assert_int_equal(public_key_from_der(test_key_der(ret->pair), NULL, &ret->key), ATH_OK);
    test_key_sign(ret->pair, ret->message, &ret->signature);
}

static void
signed_message_done(struct signed_message *signed_message)
{
    ath_buf_done(&signed_message->signature);
    public_key_free(signed_message->key);
    test_key_free(signed_message->pair);
}

static ath_err
verify(const struct signed_message *s)
{
    return public_key_verify(s->key, s->message, ath_buf_slice(&s->signature));
}

static void
test_a_signature_holds_only_for_its_message_and_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct signed_message s;
        struct test_key *other_pair = test_key_new(kinds[i], "other");
        struct public_key *other = NULL;

        sign_message(kinds[i], &s);
        assert_int_equal(public_key_from_der(test_key_der(other_pair), NULL, &other), ATH_OK);
        assert_int_equal(verify(&s), ATH_OK);
        assert_int_equal(public_key_verify(other, s.message, ath_buf_slice(&s.signature)),
                         ATH_ERR_INVALID_SIGNATURE);
        assert_int_equal(
            public_key_verify(s.key, ath_slice_of_string("A message"), ath_buf_slice(&s.signature)),
            ATH_ERR_INVALID_SIGNATURE);
        for (size_t at = 0; at < s.signature.len; at += 7) {
            s.signature.data[at] ^= 0x10;
            assert_int_equal(verify(&s), ATH_ERR_INVALID_SIGNATURE);
            s.signature.data[at] ^= 0x10;
        }
        assert_int_equal(public_key_verify(s.key, s.message, (struct ath_slice){0}),
                         ATH_ERR_INVALID_SIGNATURE);
        assert_int_equal(public_key_verify(s.key, s.message,
                                           ath_slice_of(s.signature.data, s.signature.len - 1)),
                         ATH_ERR_INVALID_SIGNATURE);
        public_key_free(other);
        test_key_free(other_pair);
        signed_message_done(&s);
    }
}

static const char p256_order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

static void
test_r_and_s_must_lie_between_0_and_n(void **state)
{
    struct signed_message s;
    uint8_t order[32], kept[32];

    (void)state;
    hex_decode(p256_order, order);
    sign_message(TEST_KEY_P256, &s);
    for (size_t half = 0; half < 64; half += 32) {
        memcpy(kept, s.signature.data + half, 32);
        memset(s.signature.data + half, 0, 32);
        assert_int_equal(verify(&s), ATH_ERR_INVALID_SIGNATURE);
        memcpy(s.signature.data + half, order, 32);
        assert_int_equal(verify(&s), ATH_ERR_INVALID_SIGNATURE);
        memset(s.signature.data + half, 0xff, 32);
        assert_int_equal(verify(&s), ATH_ERR_INVALID_SIGNATURE);
        memcpy(s.signature.data + half, kept, 32);
    }
    memset(s.signature.data, 0, 64); /* CVE-2022-21449 */
    assert_int_equal(verify(&s), ATH_ERR_INVALID_SIGNATURE);
    signed_message_done(&s);
}

/* n - s signs the same message: both forms are valid (profile, section 1). */
static void
test_low_s_and_high_s_both_hold(void **state)
{
    struct signed_message s;
    uint8_t order[32];
    int borrow = 0;

    (void)state;
    hex_decode(p256_order, order);
    sign_message(TEST_KEY_P256, &s);
    for (size_t i = 32; i-- > 0;) {
        int digit = order[i] - s.signature.data[32 + i] - borrow;

        borrow = digit < 0;
        s.signature.data[32 + i] = (uint8_t)(digit + (borrow != 0 ? 256 : 0));
    }
    assert_int_equal(borrow, 0);
    assert_int_equal(verify(&s), ATH_OK);
    signed_message_done(&s);
}

static void
assert_der(enum key_algorithm algorithm, const char *der_hex, ath_err expected,
           const char *signature_hex)
{
    uint8_t der[160], signature[SIGNATURE_MAX_LEN];
    size_t len = hex_decode(der_hex, der);

    assert_int_equal(signature_from_der(algorithm, ath_slice_of(der, len), signature), expected);
    if (expected == ATH_OK)
        assert_hex(ath_slice_of(signature, key_algorithm_signature_len(algorithm)), signature_hex);
}

#define ORDER_P256 "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
#define ZEROS_31 "00000000000000000000000000000000000000000000000000000000000000"

static void
test_der_signatures_become_fixed_width(void **state)
{
    (void)state;
    assert_der(KEY_ES256, "3006020101020102", ATH_OK, ZEROS_31 "01" ZEROS_31 "02");
    assert_der(KEY_ES256, "30080202008002020081", ATH_OK, ZEROS_31 "80" ZEROS_31 "81");
    assert_der(KEY_ES256, "3000", ATH_ERR_INVALID_SIGNATURE, NULL);
    assert_der(KEY_ES256, "", ATH_ERR_INVALID_SIGNATURE, NULL);
    assert_der(KEY_ES256, "300602010102010200", ATH_ERR_INVALID_SIGNATURE, NULL); /* trailing */
    assert_der(KEY_ES256, "30070201010202", ATH_ERR_INVALID_SIGNATURE, NULL);     /* cut */
    assert_der(KEY_ES256, "300702020001020102", ATH_ERR_INVALID_SIGNATURE, NULL); /* padded */
    assert_der(KEY_ES256, "3006020181020102", ATH_ERR_INVALID_SIGNATURE, NULL);   /* negative */
    assert_der(KEY_ES256, "3006020100020102", ATH_ERR_INVALID_SIGNATURE, NULL);   /* zero */
    assert_der(KEY_ES256, "3026022100" ORDER_P256 "020101", ATH_ERR_INVALID_SIGNATURE,
               NULL); /* n */
    assert_der(KEY_ES256, "3026020101022100" ORDER_P256, ATH_ERR_INVALID_SIGNATURE, NULL);
    assert_der(KEY_ES256, "3006030101020102", ATH_ERR_INVALID_SIGNATURE, NULL);   /* no INTEGER */
    assert_der(KEY_ES256, "308106020101020102", ATH_ERR_INVALID_SIGNATURE, NULL); /* long length */
    assert_der(KEY_EDDSA, "3006020101020102", ATH_ERR_UNSUPPORTED_ALGORITHM, NULL);
}

static void
test_fixed_width_signatures_become_der(void **state)
{
    uint8_t signature[64] = {0};
    struct ath_buf der = {0};

    (void)state;
    signature[31] = 0x80;
    signature[63] = 0x02;
    assert_int_equal(signature_to_der(KEY_ES256, ath_slice_of(signature, 64), &der), ATH_OK);
    assert_hex(ath_buf_slice(&der), "300702020080020102");
    assert_int_equal(signature_to_der(KEY_ES256, ath_slice_of(signature, 63), &der),
                     ATH_ERR_INVALID_SIGNATURE);
    assert_int_equal(signature_to_der(KEY_EDDSA, ath_slice_of(signature, 64), &der),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
    ath_buf_done(&der);
}

static ath_err
verify_body(void *ctx)
{
    return verify(ctx);
}

static void
test_verification_survives_each_failing_allocation(void **state)
{
    struct signed_message s;

    (void)state;
    sign_message(TEST_KEY_P256, &s);
    each_allocation_failing(verify_body, &s);
    signed_message_done(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_algorithm_names_are_those_of_jose),
        cmocka_unit_test(test_the_es256_example_of_rfc_7515_holds),
        cmocka_unit_test(test_the_eddsa_example_of_rfc_8037_holds),
        cmocka_unit_test(test_the_p384_example_of_rfc_6979_holds),
        cmocka_unit_test(test_a_signature_holds_only_for_its_message_and_key),
        cmocka_unit_test(test_r_and_s_must_lie_between_0_and_n),
        cmocka_unit_test(test_low_s_and_high_s_both_hold),
        cmocka_unit_test(test_der_signatures_become_fixed_width),
        cmocka_unit_test(test_fixed_width_signatures_become_der),
        cmocka_unit_test(test_verification_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
