#include "crypto/public_key.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/base64url.h"
#include "crypto/digest.h"
#include "crypto/public_key_internal.h"

/* P-256, P-384: there is no raw form, so the parameters are given by name. */
static ath_err
make_ec_pkey(const struct curve *curve, const uint8_t *point, EVP_PKEY **ret_pkey)
{
    uint8_t point_copy[CURVE_MAX_POINT]; /* OSSL_PARAM takes no const */
    char group[sizeof("P-256")];
    OSSL_PARAM params[3] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group) - 1),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point_copy,
                                          curve_point_len(curve)),
        OSSL_PARAM_construct_end()};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    ath_err err = ATH_OK;

    memcpy(point_copy, point, curve_point_len(curve));
    memcpy(group, curve->name, sizeof(group));
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, ret_pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        err = openssl_failed("EVP_PKEY_fromdata");
    EVP_PKEY_CTX_free(ctx);
    return err;
}

static ath_err
make_pkey(const struct curve *curve, const uint8_t *point, EVP_PKEY **ret_pkey)
{
    if (curve->has_y)
        return make_ec_pkey(curve, point, ret_pkey);
    *ret_pkey =
        EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, point, curve_point_len(curve));
    return *ret_pkey != NULL ? ATH_OK : openssl_failed("EVP_PKEY_new_raw_public_key_ex");
}

static ath_err
make_thumbprint(struct public_key *key)
{
    struct ath_buf input = {.max = 512};
    uint8_t digest[SHA256_LEN];
    ath_err err;

    public_key_put_thumbprint_input(key, &input);
    if ((err = input.err) == ATH_OK && (err = sha256(ath_buf_slice(&input), digest)) == ATH_OK)
        base64url_encode(ath_slice_of(digest, sizeof(digest)), key->jkt);
    ath_buf_done(&input);
    return err;
}

ath_err
public_key_new(const struct curve *curve, const uint8_t *point, struct why *why,
               struct public_key **ret_key)
{
    struct public_key *key;
    ath_err err;

    if ((err = curve_check_point(curve, point, why)) != ATH_OK)
        return err;
    if ((key = calloc(1, sizeof(*key))) == NULL)
        return ATH_ERR_NOMEM;
    atomic_init(&key->references, 1);
    key->curve = curve;
    key->der_len = curve->der_prefix_len + curve_point_len(curve);
    memcpy(key->der, curve->der_prefix, curve->der_prefix_len);
    memcpy(key->der + curve->der_prefix_len, point, curve_point_len(curve));
    if ((err = make_pkey(curve, point, &key->pkey)) != ATH_OK ||
        (err = make_thumbprint(key)) != ATH_OK)
        goto out;
    *ret_key = key;
    key = NULL;
out:
    public_key_free(key);
    return err;
}

ath_err
public_key_from_der(struct ath_slice der, struct why *why, struct public_key **ret_key)
{
    const struct curve *curve = curve_of_der(der);

    if (curve == NULL)
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY,
                       "the DER is not that of an uncompressed P-256 or P-384 or an Ed25519 key");
    return public_key_new(curve, der.data + curve->der_prefix_len, why, ret_key);
}

/* Right-aligned in width bytes; false if it has more significant ones. */
static bool
pad_left(struct ath_slice number, uint8_t *ret, size_t width)
{
    while (number.len > width && number.data[0] == 0) {
        number.data++;
        number.len--;
    }
    if (number.len > width)
        return false;
    memset(ret, 0, width - number.len);
    if (number.len != 0)
        memcpy(ret + width - number.len, number.data, number.len);
    return true;
}

ath_err
public_key_from_point(enum key_algorithm algorithm, struct ath_slice x, struct ath_slice y,
                      struct why *why, struct public_key **ret_key)
{
    const struct curve *curve = curve_of_algorithm(algorithm);
    uint8_t point[CURVE_MAX_POINT] = {POINT_CONVERSION_UNCOMPRESSED};
    bool fits;

    if (curve == NULL)
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "unknown algorithm");
    if (curve->has_y) {
        fits = pad_left(x, point + 1, curve->coordinate_len) &&
               pad_left(y, point + 1 + curve->coordinate_len, curve->coordinate_len);
    } else {
        fits = x.len == curve->coordinate_len && y.len == 0;
        if (fits)
            memcpy(point, x.data, x.len);
    }
    if (!fits)
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "a coordinate has the wrong length for %s",
                       curve->name);
    return public_key_new(curve, point, why, ret_key);
}

struct public_key *
public_key_ref(const struct public_key *key)
{
    /* The count is no part of the value that const protects. */
    struct public_key *shared = (struct public_key *)(uintptr_t)key;

    if (shared != NULL)
        atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
    return shared;
}

void
public_key_free(struct public_key *key)
{
    if (key == NULL || atomic_fetch_sub_explicit(&key->references, 1, memory_order_acq_rel) != 1)
        return;
    point_table_free(atomic_load(&key->table));
    EVP_PKEY_free(key->pkey);
    free(key);
}

enum key_algorithm
public_key_algorithm(const struct public_key *key)
{
    return key->curve->algorithm;
}

const char *
public_key_jkt(const struct public_key *key)
{
    return key->jkt;
}

struct ath_slice
public_key_der(const struct public_key *key)
{
    return ath_slice_of(key->der, key->der_len);
}

const uint8_t *
public_key_point(const struct public_key *key)
{
    return key->der + key->curve->der_prefix_len;
}

bool
public_key_equal(const struct public_key *a, const struct public_key *b)
{
    return ath_slice_equal(public_key_der(a), public_key_der(b));
}
