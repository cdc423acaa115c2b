#include "hsm/pkcs11/pkcs11_curve.h"

#include <string.h>

#define DER_OCTET_STRING 0x04u
#define DER_SEQUENCE 0x30u
#define UNCOMPRESSED 0x04u
#define DER(text)                                                                                  \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

static const struct pkcs11_curve curves[] = {
    /* 1.2.840.10045.3.1.7 */
    {KEY_ES256,
     CKK_EC,
     CKM_EC_KEY_PAIR_GEN,
     CKM_ECDSA,
     32,
     true,
     {DER("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"), {NULL, 0}}},
    /* 1.3.132.0.34 */
    {KEY_ES384,
     CKK_EC,
     CKM_EC_KEY_PAIR_GEN,
     CKM_ECDSA,
     48,
     true,
     {DER("\x06\x05\x2b\x81\x04\x00\x22"), {NULL, 0}}},
    /* 1.3.101.112 (RFC 8410), and the name that PKCS #11 3.0 gave it */
    {KEY_EDDSA,
     CKK_EC_EDWARDS,
     CKM_EC_EDWARDS_KEY_PAIR_GEN,
     CKM_EDDSA,
     32,
     false,
     {DER("\x06\x03\x2b\x65\x70"), DER("\x13\x0c"
                                       "edwards25519")}},
};

#define CURVE_COUNT (sizeof(curves) / sizeof(curves[0]))

const struct pkcs11_curve *
pkcs11_curve_of_algorithm(enum key_algorithm algorithm)
{
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        if (curves[i].algorithm == algorithm)
            return &curves[i];
    }
    return NULL;
}

ath_err
pkcs11_curve_of_params(struct ath_slice params, struct why *why,
                       const struct pkcs11_curve **ret_curve)
{
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        for (size_t k = 0; k < PKCS11_CURVE_SPELLINGS; k++) {
            if (curves[i].params[k].len > 0 &&
                ath_slice_equal(params,
                                ath_slice_of(curves[i].params[k].der, curves[i].params[k].len))) {
                *ret_curve = &curves[i];
                return ATH_OK;
            }
        }
    }
    if (params.len > 0 && params.data[0] == DER_SEQUENCE)
        return why_set(why, ATH_ERR_UNSUPPORTED_ALGORITHM,
                       "the key's curve is given by explicit parameters, not by name");
    return why_set(why, ATH_ERR_UNSUPPORTED_ALGORITHM, "the key is not on P-256, P-384 or Ed25519");
}

ath_err
pkcs11_curve_point(const struct pkcs11_curve *curve, struct ath_slice point, struct why *why,
                   struct public_key **ret_key)
{
    const size_t n = curve->coordinate_len, len = curve->has_y ? 1 + 2 * n : n;
    struct ath_slice y = {NULL, 0};

    /* the lengths differ by two, so there is no doubt which form it is */
    if (point.len == len + 2 && point.data[0] == DER_OCTET_STRING && point.data[1] == len)
        point = ath_slice_of(point.data + 2, len);
    if (point.len != len || (curve->has_y && point.data[0] != UNCOMPRESSED))
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY,
                       "the token's public key is not an uncompressed point of its curve");
    if (curve->has_y) {
        y = ath_slice_of(point.data + 1 + n, n);
        point = ath_slice_of(point.data + 1, n);
    }
    return public_key_from_point(curve->algorithm, point, y, why, ret_key);
}
