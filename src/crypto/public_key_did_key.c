/* did:key (W3C CCG): 'z', then base58btc of a multicodec prefix and the key. There is one form for
 * each key, so a DID is decoded, built anew, and compared. */
#include <string.h>

#include "crypto/public_key_internal.h"

#define DID_KEY_PREFIX "did:key:z"
#define PREFIX_LEN 2
#define MAX_BYTES (PREFIX_LEN + 33)
#define MAX_DIGITS                                                                                 \
    50 /* base58 digits of MAX_BYTES bytes: 35 * log(256) / log(58), rounded up, + 2 */

static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/* bytes[0] is never zero here, so leading '1's do not arise. */
static void
put_base58(const uint8_t *bytes, size_t len, struct ath_buf *out)
{
    uint8_t digits[MAX_DIGITS] = {0}; /* least significant first */
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned carry = bytes[i];

        for (size_t j = 0; j < used || carry != 0; j++) {
            carry += (unsigned)digits[j] << 8;
            digits[j] = (uint8_t)(carry % 58);
            carry /= 58;
            if (j == used)
                used++;
        }
    }
    while (used > 0)
        ath_buf_put_byte(out, (uint8_t)alphabet[digits[--used]]);
}

/* Right-aligned in ret_bytes; false for a foreign character or a number that does not fit. */
static bool
read_base58(const char *text, uint8_t ret_bytes[MAX_BYTES])
{
    memset(ret_bytes, 0, MAX_BYTES);
    for (; *text != '\0'; text++) {
        const char *digit = strchr(alphabet, *text);
        unsigned carry;

        if (digit == NULL)
            return false;
        carry = (unsigned)(digit - alphabet);
        for (size_t i = MAX_BYTES; i-- > 0;) {
            carry += (unsigned)ret_bytes[i] * 58;
            ret_bytes[i] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry != 0)
            return false;
    }
    return true;
}

ath_err
public_key_did_key(const struct public_key *key, struct ath_buf *out)
{
    const struct curve *curve = key->curve;
    const uint8_t *point = public_key_point(key);
    uint8_t bytes[MAX_BYTES];
    size_t len = PREFIX_LEN;

    if (curve->did_key_prefix[0] == 0)
        return ATH_ERR_UNSUPPORTED_ALGORITHM;
    memcpy(bytes, curve->did_key_prefix, PREFIX_LEN);
    if (curve->has_y) { /* SEC 1 2.3.3: compressed, 2 or 3 by y's parity, then x */
        bytes[len++] = (uint8_t)(2 | (point[2 * curve->coordinate_len] & 1));
        point++;
    }
    memcpy(bytes + len, point, curve->coordinate_len);
    len += curve->coordinate_len;
    ath_buf_put_string(out, DID_KEY_PREFIX);
    put_base58(bytes, len, out);
    return out->err;
}

/* The y of a compressed P-256 point. */
static ath_err
decompress(const uint8_t compressed[33], struct why *why, uint8_t ret_point[65])
{
    const struct algorithms *algorithms = algorithms_get();
    EC_POINT *point;
    ath_err err = ATH_OK;

    if (algorithms == NULL)
        return ATH_ERR_CRYPTO;
    if (compressed[0] != 2 && compressed[0] != 3)
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "the did:key is not in compressed form");
    if ((point = EC_POINT_new(algorithms->p256)) == NULL)
        return ATH_ERR_NOMEM;
    if (EC_POINT_oct2point(algorithms->p256, point, compressed, 33, NULL) != 1 ||
        EC_POINT_point2oct(algorithms->p256, point, POINT_CONVERSION_UNCOMPRESSED, ret_point, 65,
                           NULL) != 65)
        err = openssl_failed("EC_POINT_oct2point") == ATH_ERR_NOMEM ? ATH_ERR_NOMEM
                                                                    : ATH_ERR_INVALID_PUBLIC_KEY;
    EC_POINT_free(point);
    return err == ATH_ERR_INVALID_PUBLIC_KEY ? why_set(why, err, "the did:key is not on its curve")
                                             : err;
}

static ath_err
key_from_bytes(const uint8_t bytes[MAX_BYTES], struct why *why, struct public_key **ret_key)
{
    const struct curve *p256 = curve_of_algorithm(KEY_ES256);
    const struct curve *ed25519 = curve_of_algorithm(KEY_EDDSA);
    uint8_t point[65];
    ath_err err;

    if (memcmp(bytes, p256->did_key_prefix, PREFIX_LEN) == 0) {
        if ((err = decompress(bytes + PREFIX_LEN, why, point)) != ATH_OK)
            return err;
        return public_key_new(p256, point, why, ret_key);
    }
    if (bytes[0] == 0 && memcmp(bytes + 1, ed25519->did_key_prefix, PREFIX_LEN) == 0)
        return public_key_new(ed25519, bytes + 1 + PREFIX_LEN, why, ret_key);
    (void)why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "the did:key is neither P-256 nor Ed25519");
    return ATH_ERR_INVALID_PUBLIC_KEY;
}

ath_err
public_key_from_did_key(const char *did, struct why *why, struct public_key **ret_key)
{
    const size_t prefix_len = strlen(DID_KEY_PREFIX);
    struct ath_buf again = {.max = 128};
    struct public_key *key = NULL;
    uint8_t bytes[MAX_BYTES];
    ath_err err;

    if (did == NULL || strncmp(did, DID_KEY_PREFIX, prefix_len) != 0 ||
        strlen(did) > prefix_len + MAX_DIGITS || !read_base58(did + prefix_len, bytes))
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "not a did:key in base58btc");
    if ((err = key_from_bytes(bytes, why, &key)) != ATH_OK ||
        (err = public_key_did_key(key, &again)) != ATH_OK)
        goto out;
    if (!ath_slice_is(ath_buf_slice(&again), did)) {
        err = why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "the did:key is not in its one form");
        goto out;
    }
    *ret_key = key;
    key = NULL;
out:
    public_key_free(key);
    ath_buf_done(&again);
    return err;
}
