#include "crypto/key_agreement.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/base64url.h"
#include "crypto/algorithms.h"
#include "crypto/curve.h"
#include "crypto/random.h"

#define SCALAR_LEN 32
/* A draw is not below n with probability 2^-32: this many in a row are a broken generator. */
#define MAX_DRAWS 8

struct key_agreement {
    struct ath_secret scalar; /* big-endian; OpenSSL's copies live only as long as a call */
    uint8_t share[KEY_SHARE_LEN];
    char share_text[KEY_SHARE_TEXT_LEN + 1];
};

static ath_err
draw_scalar(struct ath_secret *scalar)
{
    const struct curve *curve = curve_of_algorithm(KEY_ES256);
    ath_err err;

    for (int i = 0; i < MAX_DRAWS; i++) {
        if ((err = random_bytes(scalar->data, SCALAR_LEN)) != ATH_OK)
            return err;
        if (curve_is_scalar(curve, scalar->data))
            return ATH_OK;
    }
    return ATH_ERR_CRYPTO;
}

/* share = scalar * G */
static ath_err
make_share(const struct ath_secret *scalar, uint8_t ret_share[KEY_SHARE_LEN])
{
    const struct algorithms *algorithms = algorithms_get();
    BIGNUM *d = NULL;
    EC_POINT *point = NULL;
    ath_err err = ATH_OK;

    if (algorithms == NULL)
        return ATH_ERR_CRYPTO;
    if ((d = BN_bin2bn(scalar->data, SCALAR_LEN, NULL)) == NULL ||
        (point = EC_POINT_new(algorithms->p256)) == NULL) {
        err = openssl_failed("BN_bin2bn");
        goto out;
    }
    BN_set_flags(d, BN_FLG_CONSTTIME);
    if (EC_POINT_mul(algorithms->p256, point, d, NULL, NULL, NULL) != 1 ||
        EC_POINT_point2oct(algorithms->p256, point, POINT_CONVERSION_UNCOMPRESSED, ret_share,
                           KEY_SHARE_LEN, NULL) != KEY_SHARE_LEN)
        err = openssl_failed("EC_POINT_mul");
out:
    EC_POINT_free(point);
    BN_clear_free(d);
    return err;
}

ath_err
key_agreement_new(struct key_agreement **ret_agreement)
{
    struct key_agreement *agreement = calloc(1, sizeof(*agreement));
    ath_err err;

    if (agreement == NULL)
        return ATH_ERR_NOMEM;
    if ((err = ath_secret_init(&agreement->scalar, SCALAR_LEN)) != ATH_OK ||
        (err = draw_scalar(&agreement->scalar)) != ATH_OK ||
        (err = make_share(&agreement->scalar, agreement->share)) != ATH_OK)
        goto out;
    base64url_encode(ath_slice_of(agreement->share, KEY_SHARE_LEN), agreement->share_text);
    *ret_agreement = agreement;
    agreement = NULL;
out:
    key_agreement_free(agreement);
    return err;
}

void
key_agreement_free(struct key_agreement *agreement)
{
    if (agreement == NULL)
        return;
    ath_secret_done(&agreement->scalar);
    free(agreement);
}

const char *
key_agreement_share(const struct key_agreement *agreement)
{
    return agreement->share_text;
}

/* private_key NULL: a public key only. */
static ath_err
make_pkey(uint8_t *share, struct ath_secret *private_key, EVP_PKEY **ret_pkey)
{
    char group[] = "P-256";
    OSSL_PARAM params[4] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group) - 1),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, share, KEY_SHARE_LEN),
        OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end()};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    ath_err err = ATH_OK;

    if (private_key != NULL)
        params[2] =
            OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, private_key->data, SCALAR_LEN);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, ret_pkey,
                          private_key != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
                          params) != 1)
        err = openssl_failed("EVP_PKEY_fromdata");
    EVP_PKEY_CTX_free(ctx);
    return err;
}

/* OSSL_PARAM takes numbers in the machine's byte order. */
static ath_err
native_scalar(const struct ath_secret *scalar, struct ath_secret *ret_native)
{
    BIGNUM *d = BN_bin2bn(scalar->data, SCALAR_LEN, NULL);
    ath_err err;

    if (d == NULL)
        return ATH_ERR_NOMEM;
    if ((err = ath_secret_init(ret_native, SCALAR_LEN)) == ATH_OK &&
        BN_bn2nativepad(d, ret_native->data, SCALAR_LEN) != SCALAR_LEN)
        err = openssl_failed("BN_bn2nativepad");
    BN_clear_free(d);
    return err;
}

/* The peer's point is not checked again: decode_share has, and the group's order is prime. */
static ath_err
derive(EVP_PKEY *own, EVP_PKEY *peer, struct ath_secret *z)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    size_t len = z->len;
    ath_err err = ATH_OK;

    if (ctx == NULL || EVP_PKEY_derive_init(ctx) != 1 ||
        EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) != 1 ||
        EVP_PKEY_derive(ctx, z->data, &len) != 1 || len != z->len)
        err = openssl_failed("EVP_PKEY_derive");
    EVP_PKEY_CTX_free(ctx);
    return err;
}

/* Everything the profile refuses in a share, before a private key is touched. */
static ath_err
decode_share(const struct key_agreement *agreement, const char *text,
             uint8_t ret_share[KEY_SHARE_LEN])
{
    ath_err err;

    if (base64url_decode_exact(ath_slice_of_string(text), ret_share, KEY_SHARE_LEN) != ATH_OK ||
        memcmp(ret_share, agreement->share, KEY_SHARE_LEN) == 0)
        return ATH_ERR_INVALID_KEY_SHARE;
    err = curve_check_point(curve_of_algorithm(KEY_ES256), ret_share, NULL);
    return err == ATH_ERR_INVALID_PUBLIC_KEY ? ATH_ERR_INVALID_KEY_SHARE : err;
}

ath_err
key_agreement_derive(const struct key_agreement *agreement, const char *peer_share,
                     struct ath_secret *ret_z)
{
    uint8_t peer_point[KEY_SHARE_LEN], own_point[KEY_SHARE_LEN];
    struct ath_secret native = {0}, z = {0};
    EVP_PKEY *own = NULL, *peer = NULL;
    ath_err err;

    if ((err = decode_share(agreement, peer_share, peer_point)) != ATH_OK)
        return err;
    memcpy(own_point, agreement->share, KEY_SHARE_LEN); /* OSSL_PARAM takes no const */
    if ((err = native_scalar(&agreement->scalar, &native)) != ATH_OK ||
        (err = make_pkey(own_point, &native, &own)) != ATH_OK ||
        (err = make_pkey(peer_point, NULL, &peer)) != ATH_OK ||
        (err = ath_secret_init(&z, SCALAR_LEN)) != ATH_OK ||
        (err = derive(own, peer, &z)) != ATH_OK)
        goto out;
    *ret_z = z;
    z = (struct ath_secret){0};
out:
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    ath_secret_done(&z);
    ath_secret_done(&native);
    return err;
}
