#include "crypto/curve.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/err.h>

#include "crypto/algorithms.h"

#define ED25519_LEN 32

static const struct curve curves[] = {
    {
        .algorithm = KEY_ES256,
        .algorithm_name = "ES256",
        .name = "P-256",
        .kty = "EC",
        .coordinate_len = 32,
        .has_y = true,
        /* FIPS 186-4 D.1.2.3 */
        .order = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                  0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                  0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51},
        /* RFC 5480: id-ecPublicKey, secp256r1 */
        .der_prefix = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                       0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                       0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00},
        .der_prefix_len = 26,
        .did_key_prefix = {0x80, 0x24},
    },
    {
        .algorithm = KEY_ES384,
        .algorithm_name = "ES384",
        .name = "P-384",
        .kty = "EC",
        .coordinate_len = 48,
        .has_y = true,
        /* FIPS 186-4 D.1.2.4 */
        .order = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                  0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2,
                  0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73},
        /* RFC 5480: id-ecPublicKey, secp384r1 */
        .der_prefix = {0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
                       0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00},
        .der_prefix_len = 23,
    },
    {
        .algorithm = KEY_EDDSA,
        .algorithm_name = "EdDSA",
        .name = "Ed25519",
        .kty = "OKP",
        .coordinate_len = ED25519_LEN,
        .has_y = false,
        /* RFC 8410: id-Ed25519 */
        .der_prefix = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00},
        .der_prefix_len = 12,
        .did_key_prefix = {0xed, 0x01},
    },
};

#define CURVE_COUNT (sizeof(curves) / sizeof(curves[0]))

const struct curve *
curve_of_algorithm(enum key_algorithm algorithm)
{
    for (size_t i = 0; i < CURVE_COUNT; i++)
        if (curves[i].algorithm == algorithm)
            return &curves[i];
    return NULL;
}

const struct curve *
curve_of_name(const char *name)
{
    for (size_t i = 0; name != NULL && i < CURVE_COUNT; i++)
        if (strcmp(curves[i].name, name) == 0)
            return &curves[i];
    return NULL;
}

const struct curve *
curve_of_der(struct ath_slice der)
{
    for (size_t i = 0; i < CURVE_COUNT; i++)
        if (der.len == curves[i].der_prefix_len + curve_point_len(&curves[i]) &&
            memcmp(der.data, curves[i].der_prefix, curves[i].der_prefix_len) == 0)
            return &curves[i];
    return NULL;
}

size_t
curve_point_len(const struct curve *curve)
{
    return curve->has_y ? 1 + 2 * curve->coordinate_len : curve->coordinate_len;
}

bool
curve_is_scalar(const struct curve *curve, const uint8_t *number)
{
    static const uint8_t zero[CURVE_MAX_COORDINATE];

    return memcmp(number, zero, curve->coordinate_len) != 0 &&
           memcmp(number, curve->order, curve->coordinate_len) < 0;
}

static ath_err
check_weierstrass(const struct curve *curve, const uint8_t *bytes, struct why *why)
{
    const struct algorithms *algorithms = algorithms_get();
    const EC_GROUP *group;
    EC_POINT *point;
    ath_err err = ATH_OK;

    if (bytes[0] != POINT_CONVERSION_UNCOMPRESSED)
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "the point is not in uncompressed form");
    if (algorithms == NULL)
        return ATH_ERR_CRYPTO;
    group = curve->algorithm == KEY_ES384 ? algorithms->p384 : algorithms->p256;
    if ((point = EC_POINT_new(group)) == NULL)
        return ATH_ERR_NOMEM;
    /* oct2point refuses coordinates >= p and points off the curve; the order of both groups is
     * prime, so no further check of the subgroup is needed */
    if (EC_POINT_oct2point(group, point, bytes, curve_point_len(curve), NULL) != 1 ||
        EC_POINT_is_on_curve(group, point, NULL) != 1)
        err = openssl_failed("EC_POINT_oct2point") == ATH_ERR_NOMEM ? ATH_ERR_NOMEM
                                                                    : ATH_ERR_INVALID_PUBLIC_KEY;
    EC_POINT_free(point);
    if (err == ATH_ERR_INVALID_PUBLIC_KEY)
        return why_set(why, err, "the point is not on curve %s", curve->name);
    return err;
}

/* The y of every Ed25519 point whose order divides 8, little-endian, non-canonical forms included;
 * the sign bit is compared apart. With such a key a signature holds for messages nobody signed. */
static const uint8_t small_order[7][ED25519_LEN] = {
    {0x00}, /* y = 0: order 4 */
    {0x01}, /* y = 1: the neutral element */
    /* order 8 */
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
     0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
     0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
     0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
     0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
    /* p - 1: order 2 */
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    /* p: 0 in another form */
    {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    /* p + 1: 1 in another form */
    {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
};

/* y < p, and (y^2 - 1) / (d y^2 + 1) is a square mod p (RFC 8032 5.1.3): asked as "is u * v a
 * square", which is the same because v is never zero. */
static ath_err
ed25519_has_x(const uint8_t y_bytes[ED25519_LEN], bool *ret_has)
{
    /* FIPS 186-5, 3.2.3 */
    static const char p_hex[] = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";
    static const char d_hex[] = "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3";
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p, *d, *y, *u, *v;
    ath_err err = ATH_ERR_CRYPTO;

    if (ctx == NULL)
        return ATH_ERR_NOMEM;
    BN_CTX_start(ctx);
    p = BN_CTX_get(ctx);
    d = BN_CTX_get(ctx);
    y = BN_CTX_get(ctx);
    u = BN_CTX_get(ctx);
    if ((v = BN_CTX_get(ctx)) == NULL || BN_hex2bn(&p, p_hex) == 0 || BN_hex2bn(&d, d_hex) == 0 ||
        BN_lebin2bn(y_bytes, ED25519_LEN, y) == NULL)
        goto out;
    if (BN_cmp(y, p) >= 0) {
        *ret_has = false;
        err = ATH_OK;
        goto out;
    }
    if (BN_mod_sqr(u, y, p, ctx) != 1 || BN_mod_mul(v, u, d, p, ctx) != 1 ||
        BN_add_word(v, 1) != 1 || BN_sub_word(u, 1) != 1 || BN_mod_mul(u, u, v, p, ctx) != 1)
        goto out;
    *ret_has = BN_kronecker(u, p, ctx) >= 0;
    err = ATH_OK;
out:
    BN_CTX_end(ctx);
    BN_CTX_free(ctx);
    return err == ATH_OK ? ATH_OK : openssl_failed("Ed25519 point");
}

static ath_err
check_edwards(const uint8_t point[ED25519_LEN], struct why *why)
{
    uint8_t y[ED25519_LEN];
    bool has_x = false;
    ath_err err;

    memcpy(y, point, ED25519_LEN);
    y[ED25519_LEN - 1] &= 0x7f;
    for (size_t i = 0; i < sizeof(small_order) / sizeof(small_order[0]); i++)
        if (memcmp(y, small_order[i], ED25519_LEN) == 0)
            return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "the Ed25519 point is of small order");
    if ((err = ed25519_has_x(y, &has_x)) != ATH_OK)
        return err;
    if (!has_x)
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "the point is not on curve Ed25519");
    return ATH_OK;
}

ath_err
curve_check_point(const struct curve *curve, const uint8_t *point, struct why *why)
{
    return curve->has_y ? check_weierstrass(curve, point, why) : check_edwards(point, why);
}
