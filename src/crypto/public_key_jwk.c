/* JWK (RFC 7517, RFC 7518 6.2, RFC 8037 2) and what RFC 7638 hashes of it. */
#include <string.h>

#include "base/base64url.h"
#include "crypto/public_key_internal.h"

struct coordinates {
    char x[BASE64URL_LEN(CURVE_MAX_COORDINATE) + 1];
    char y[BASE64URL_LEN(CURVE_MAX_COORDINATE) + 1]; /* "" for Ed25519 */
};

static void
coordinates_encode(const struct public_key *key, struct coordinates *ret)
{
    const uint8_t *point = public_key_point(key);
    size_t len = key->curve->coordinate_len;

    ret->y[0] = '\0';
    if (key->curve->has_y) {
        base64url_encode(ath_slice_of(point + 1, len), ret->x);
        base64url_encode(ath_slice_of(point + 1 + len, len), ret->y);
    } else {
        base64url_encode(ath_slice_of(point, len), ret->x);
    }
}

void
public_key_put_thumbprint_input(const struct public_key *key, struct ath_buf *out)
{
    struct coordinates coordinates;

    coordinates_encode(key, &coordinates);
    ath_buf_printf(out, "{\"crv\":\"%s\",\"kty\":\"%s\",\"x\":\"%s\"", key->curve->name,
                   key->curve->kty, coordinates.x);
    if (key->curve->has_y)
        ath_buf_printf(out, ",\"y\":\"%s\"", coordinates.y);
    ath_buf_put_byte(out, '}');
}

ath_err
public_key_jwk(const struct public_key *key, struct json **ret_jwk)
{
    struct coordinates coordinates;
    struct json_maker maker = {0};

    coordinates_encode(key, &coordinates);
    json_object_begin(&maker);
    json_put_string(&maker, "kty", key->curve->kty);
    json_put_string(&maker, "crv", key->curve->name);
    json_put_string(&maker, "x", coordinates.x);
    if (key->curve->has_y)
        json_put_string(&maker, "y", coordinates.y);
    return json_maker_end(&maker, ret_jwk);
}

/* RFC 7518 6.2.2, 6.3.2, 6.4: whoever sends one of these has published a secret, and his key with
 * it. */
static bool
has_private_member(const struct json *jwk)
{
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (json_get(jwk, names[i]) != NULL)
            return true;
    return false;
}

static bool
read_coordinate(const struct json *jwk, const char *name, uint8_t *ret, size_t len)
{
    const char *text = json_get_string(jwk, name);

    return text != NULL && base64url_decode_exact(ath_slice_of_string(text), ret, len) == ATH_OK;
}

static bool
read_point(const struct json *jwk, const struct curve *curve, uint8_t *ret_point)
{
    size_t len = curve->coordinate_len;

    if (!curve->has_y)
        return json_get(jwk, "y") == NULL && read_coordinate(jwk, "x", ret_point, len);
    ret_point[0] = POINT_CONVERSION_UNCOMPRESSED;
    return read_coordinate(jwk, "x", ret_point + 1, len) &&
           read_coordinate(jwk, "y", ret_point + 1 + len, len);
}

ath_err
public_key_from_jwk(const struct json *jwk, struct why *why, struct public_key **ret_key)
{
    const struct curve *curve = curve_of_name(json_get_string(jwk, "crv"));
    const char *kty = json_get_string(jwk, "kty");
    uint8_t point[CURVE_MAX_POINT];

    if (has_private_member(jwk))
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "the JWK holds a private member");
    if (curve == NULL || kty == NULL || strcmp(kty, curve->kty) != 0)
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY,
                       "the JWK is none of EC P-256, EC P-384, OKP Ed25519");
    if (!read_point(jwk, curve, point))
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY,
                       "a coordinate of the JWK is missing or not of full length");
    return public_key_new(curve, point, why, ret_key);
}
