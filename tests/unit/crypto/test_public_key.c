#include "crypto/public_key.h"

#include "base/base64url.h"
#include "crypto/digest.h"
#include "tests/support/test_key.h"
#include "tests/unit/crypto/hex.h"

/* RFC 7515 A.3.1 */
static const char ec_jwk[] = "{\"kty\":\"EC\",\"crv\":\"P-256\","
                             "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                             "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
/* RFC 8037 A.2 */
static const char okp_jwk[] = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                              "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";

static struct public_key *
key_of(enum test_key_kind kind)
{
    struct test_key *pair = test_key_new(kind, "a");
    struct public_key *key = NULL;

    assert_int_equal(public_key_from_der(test_key_der(pair), NULL, &key), ATH_OK);
    test_key_free(pair);
    return key;
}

static ath_err
from_jwk(const char *text, struct public_key **ret_key)
{
    const struct json_limits limits = {4096, 4, 32, JSON_INTEGERS};
    struct json *jwk = NULL;
    ath_err err;

    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &jwk), ATH_OK);
    err = public_key_from_jwk(jwk, NULL, ret_key);
    json_free(jwk);
    return err;
}

static struct public_key *
must_jwk(const char *text)
{
    struct public_key *key = NULL;

    assert_int_equal(from_jwk(text, &key), ATH_OK);
    return key;
}

static void
assert_jwk_refused(const char *text)
{
    struct public_key *key = NULL;

    assert_int_equal(from_jwk(text, &key), ATH_ERR_INVALID_PUBLIC_KEY);
    assert_null(key);
}

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
assert_pem_refused(const char *text)
{
    struct public_key *key = NULL;

    assert_int_equal(public_key_from_pem(ath_slice_of_string(text), NULL, &key),
                     ATH_ERR_INVALID_PUBLIC_KEY);
    assert_null(key);
}

static void
assert_pem_accepted(const char *text, const struct public_key *expected)
{
    struct public_key *key = NULL;

    assert_int_equal(public_key_from_pem(ath_slice_of_string(text), NULL, &key), ATH_OK);
    assert_true(public_key_equal(key, expected));
    public_key_free(key);
}

/* ---- thumbprints and the forms of a key ---- */

static void
test_thumbprints_are_the_published_ones(void **state)
{
    struct public_key *ec = must_jwk(ec_jwk), *okp = must_jwk(okp_jwk);

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
        assert_pem_accepted(ath_buf_text(&text), key);
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
    struct public_key *key = must_jwk(ec_jwk), *again = NULL;
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

/* ---- attacks on the DER ---- */

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

/* ---- attacks on the PEM ---- */

#define BEGIN "-----BEGIN PUBLIC KEY-----"
#define END "-----END PUBLIC KEY-----"
#define LINE1 "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7"
#define LINE2 "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ=="

static void
test_pem_is_written_as_rfc_7468_draws_it(void **state)
{
    struct public_key *key = must_jwk(ec_jwk);
    struct ath_buf pem = {0};

    (void)state;
    public_key_put_pem(key, &pem);
    assert_string_equal(ath_buf_text(&pem), BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    ath_buf_done(&pem);
    public_key_free(key);
}

static void
test_pem_line_ends_may_be_lf_or_crlf(void **state)
{
    struct public_key *key = must_jwk(ec_jwk);

    (void)state;
    assert_pem_accepted(BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n", key);
    assert_pem_accepted(BEGIN "\n" LINE1 "\n" LINE2 "\n" END, key);
    assert_pem_accepted(BEGIN "\r\n" LINE1 "\r\n" LINE2 "\r\n" END "\r\n", key);
    assert_pem_accepted(BEGIN "\r\n" LINE1 "\r\n" LINE2 "\r\n" END, key);
    assert_pem_accepted(BEGIN "\n" LINE1 LINE2 "\n" END "\n",
                        key); /* RFC 7468 2: other line sizes */
    public_key_free(key);
}

static void
test_pem_with_anything_around_the_one_block_is_refused(void **state)
{
    (void)state;
    assert_pem_refused("");
    assert_pem_refused(BEGIN);
    assert_pem_refused(BEGIN "\n" END "\n");
    assert_pem_refused("\n" BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused(" " BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused("key:\n" BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused("\xef\xbb\xbf" BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n\n");
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n" END " ");
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\r");
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n" BEGIN "\n" LINE1 "\n" LINE2
                             "\n" END "\n");
}

static void
test_pem_with_a_body_out_of_order_is_refused(void **state)
{
    (void)state;
    assert_pem_refused(BEGIN "\n" LINE1 "\n\n" LINE2 "\n" END "\n"); /* blank line */
    assert_pem_refused(BEGIN "\n\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused(BEGIN "\n" LINE1 " \n" LINE2 "\n" END "\n"); /* white space */
    assert_pem_refused(BEGIN "\n" LINE1 "\r" LINE2 "\r" END "\r");  /* old Mac */
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 END "\n");
    assert_pem_refused(BEGIN "\nProc-Type: 4\n\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused(BEGIN "\n" LINE1
                             "\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ\n" END
                             "\n"); /* no padding */
    assert_pem_refused(BEGIN "\n" LINE1
                             "\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrR==\n" END
                             "\n"); /* unused bits */
    assert_pem_refused(BEGIN "\n" LINE1
                             "\n6e8Tus9uPHvRVEXH8UTNG72bfocs3-257rn0s2ldbqkLJK2KRiMohYjlrQ==\n" END
                             "\n"); /* the other alphabet */
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n-----END EC PUBLIC KEY-----\n");
    assert_pem_refused("-----BEGIN EC PRIVATE KEY-----\n" LINE1 "\n" LINE2
                       "\n-----END EC PRIVATE KEY-----\n");
    assert_pem_refused(BEGIN "\n" LINE1 LINE1 LINE1 LINE1 "\n" END "\n");
}

/* ---- JWK ---- */

#define X "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
#define Y "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define OKP_X "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""

static void
test_jwk_with_optional_members_is_accepted(void **state)
{
    struct public_key *plain = must_jwk(ec_jwk);
    struct public_key *more = must_jwk("{\"kty\":\"EC\",\"crv\":\"P-256\"," X "," Y
                                       ",\"kid\":\"1\",\"alg\":\"ES256\",\"use\":\"sig\"}");

    (void)state;
    assert_true(public_key_equal(plain, more));
    public_key_free(more);
    public_key_free(plain);
}

static void
test_jwk_of_a_private_key_is_refused(void **state)
{
    (void)state;
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," X "," Y
                       ",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," X "," Y ",\"d\":null}");
    assert_jwk_refused("{\"kty\":\"OKP\",\"crv\":\"Ed25519\"," OKP_X
                       ",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," X "," Y ",\"k\":\"AA\"}");
}

static void
test_jwk_coordinates_must_have_full_length(void **state)
{
    (void)state;
    assert_jwk_refused(
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVA\"," Y
        "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AH_NzidwuMRdQYPL7m_bS3tYBzM1e-"
                       "nvE7rPbjx70VRF\"," Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
                       "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=\"," Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," X "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," X ",\"y\":null}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-384\"," X "," Y "}");
}

static void
test_jwk_kind_and_curve_must_fit(void **state)
{
    (void)state;
    assert_jwk_refused("{\"kty\":\"OKP\",\"crv\":\"P-256\"," X "," Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"Ed25519\"," OKP_X "}");
    assert_jwk_refused("{\"kty\":\"OKP\",\"crv\":\"X25519\"," OKP_X "}");
    assert_jwk_refused("{\"kty\":\"OKP\",\"crv\":\"Ed25519\"," OKP_X "," Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"secp256k1\"," X "," Y "}");
    assert_jwk_refused("{\"kty\":\"ec\",\"crv\":\"P-256\"," X "," Y "}");
    assert_jwk_refused("{\"crv\":\"P-256\"," X "," Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":7," X "," Y "}");
    assert_jwk_refused("{}");
    assert_jwk_refused("[]");
    /* RFC 7515 A.3's x with its y changed */
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," X
                       ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5bA\"}");
}

/* ---- did:key ---- */

static void
test_did_keys_are_those_of_others(void **state)
{
    /* made with python3-cryptography and the definition of did:key */
    static const char *const dids[] = {
        "did:key:zDnaerGBD7Zxzau2fdfEFaaaTDYBu5XEBYdGV2BmERp3MDSov",
        "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
    };
    const char *jwks[] = {ec_jwk, okp_jwk};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct public_key *key = must_jwk(jwks[i]), *decoded = NULL;
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

/* ---- memory ---- */

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
    char pem[] = BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n";

    (void)state;
    each_allocation_failing(forms_body, pem);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thumbprints_are_the_published_ones),
        cmocka_unit_test(test_every_form_of_a_key_gives_the_same_key),
        cmocka_unit_test(test_a_reference_keeps_the_key),
        cmocka_unit_test(test_a_point_with_short_coordinates_is_padded),
        cmocka_unit_test(test_only_the_three_prefixes_are_accepted),
        cmocka_unit_test(test_compressed_and_hybrid_points_are_refused),
        cmocka_unit_test(test_explicit_curve_parameters_are_refused),
        cmocka_unit_test(test_points_off_the_curve_are_refused),
        cmocka_unit_test(test_ed25519_points_of_small_order_are_refused),
        cmocka_unit_test(test_ed25519_encodings_of_no_point_are_refused),
        cmocka_unit_test(test_ed25519_keys_that_openssl_makes_are_accepted),
        cmocka_unit_test(test_pem_is_written_as_rfc_7468_draws_it),
        cmocka_unit_test(test_pem_line_ends_may_be_lf_or_crlf),
        cmocka_unit_test(test_pem_with_anything_around_the_one_block_is_refused),
        cmocka_unit_test(test_pem_with_a_body_out_of_order_is_refused),
        cmocka_unit_test(test_jwk_with_optional_members_is_accepted),
        cmocka_unit_test(test_jwk_of_a_private_key_is_refused),
        cmocka_unit_test(test_jwk_coordinates_must_have_full_length),
        cmocka_unit_test(test_jwk_kind_and_curve_must_fit),
        cmocka_unit_test(test_did_keys_are_those_of_others),
        cmocka_unit_test(test_did_keys_in_another_form_are_refused),
        cmocka_unit_test(test_every_form_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
