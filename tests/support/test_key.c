#include "tests/support/test_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "tests/support/support.h"

struct test_key {
    enum test_key_kind kind;
    EVP_PKEY *pkey;
    unsigned char *der;
    size_t der_len;
};

#define MAX_POINT 97

/* Scalars below 2^255 and above 0, so that they fit each of the groups. */
static void
scalar_of(enum test_key_kind kind, const char *name, uint8_t ret[32])
{
    char text[128];
    unsigned len = 0;
    int n = snprintf(text, sizeof(text), "test key %d %s", (int)kind, name);

    assert_true(n > 0 && n < (int)sizeof(text));
    assert_int_equal(EVP_Digest(text, (size_t)n, ret, &len, EVP_sha256(), NULL), 1);
    ret[0] &= 0x7f;
}

static EVP_PKEY *
new_ec(const char *group_name, int nid, const uint8_t scalar[32])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(nid);
    EC_POINT *point = EC_POINT_new(group);
    BIGNUM *d = BN_bin2bn(scalar, 32, NULL);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    uint8_t bytes[MAX_POINT], native[48];
    char name[sizeof("P-256")];
    EVP_PKEY *pkey = NULL;
    size_t len;
    OSSL_PARAM params[4];

    assert_int_equal(EC_POINT_mul(group, point, d, NULL, NULL, NULL), 1);
    len =
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, bytes, sizeof(bytes), NULL);
    assert_int_equal(BN_bn2nativepad(d, native, sizeof(native)), sizeof(native));
    memcpy(name, group_name, sizeof(name));
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, bytes, len);
    params[2] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native, sizeof(native));
    params[3] = OSSL_PARAM_construct_end();
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params), 1);
    EVP_PKEY_CTX_free(ctx);
    BN_free(d);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return pkey;
}

struct test_key *
test_key_new(enum test_key_kind kind, const char *name)
{
    struct test_key *key = calloc(1, sizeof(*key));
    uint8_t scalar[32];
    int len;

    assert_non_null(key);
    scalar_of(kind, name, scalar);
    key->kind = kind;
    if (kind == TEST_KEY_ED25519)
        key->pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, scalar, sizeof(scalar));
    else if (kind == TEST_KEY_P384)
        key->pkey = new_ec("P-384", NID_secp384r1, scalar);
    else
        key->pkey = new_ec("P-256", NID_X9_62_prime256v1, scalar);
    assert_non_null(key->pkey);
    len = i2d_PUBKEY(key->pkey, &key->der);
    assert_true(len > 0);
    key->der_len = (size_t)len;
    return key;
}

void
test_key_free(struct test_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    OPENSSL_free(key->der);
    free(key);
}

struct ath_slice
test_key_der(const struct test_key *key)
{
    return ath_slice_of(key->der, key->der_len);
}

static void
put_jose(const uint8_t *der, size_t der_len, int width, struct ath_buf *out)
{
    const unsigned char *at = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)der_len);
    uint8_t bytes[96];

    assert_non_null(sig);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), bytes, width), width);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), bytes + width, width), width);
    ath_buf_put(out, bytes, 2 * (size_t)width);
    ECDSA_SIG_free(sig);
}

void
test_key_sign(const struct test_key *key, struct ath_slice message, struct ath_buf *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = key->kind == TEST_KEY_P256   ? EVP_sha256()
                       : key->kind == TEST_KEY_P384 ? EVP_sha384()
                                                    : NULL;
    uint8_t signature[160];
    size_t len = sizeof(signature);

    assert_non_null(ctx);
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, key->pkey), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len, message.data, message.len), 1);
    EVP_MD_CTX_free(ctx);
    if (key->kind == TEST_KEY_ED25519)
        ath_buf_put(out, signature, len);
    else
        put_jose(signature, len, key->kind == TEST_KEY_P384 ? 48 : 32, out);
}

void
test_key_put_private_pem(const struct test_key *key, struct ath_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len;

    assert_non_null(bio);
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL), 1);
    len = BIO_get_mem_data(bio, &text);
    assert_true(len > 0);
    ath_buf_put(out, text, (size_t)len);
    BIO_free(bio);
}
