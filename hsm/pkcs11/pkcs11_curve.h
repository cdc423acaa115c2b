/* CKA_EC_PARAMS and CKA_EC_POINT of the curves we sign on (PKCS #11 2.40, 2.3.3; 3.1, 6.3). */
#ifndef HSM_PKCS11_PKCS11_CURVE_H
#define HSM_PKCS11_PKCS11_CURVE_H

#include <p11-kit/pkcs11.h>

#include "base/why.h"
#include "crypto/public_key.h"

#define PKCS11_CURVE_SPELLINGS 2u

struct pkcs11_curve {
    enum key_algorithm algorithm;
    CK_KEY_TYPE key_type;
    CK_MECHANISM_TYPE generate, sign;
    size_t coordinate_len;
    bool has_y;
    /* DER of CKA_EC_PARAMS; for Edwards curves tokens differ in what they take. */
    struct {
        const char *der;
        size_t len;
    } params[PKCS11_CURVE_SPELLINGS];
};

/* Static; NULL if there is none. */
const struct pkcs11_curve *pkcs11_curve_of_algorithm(enum key_algorithm algorithm);

/* ATH_ERR_UNSUPPORTED_ALGORITHM with why: explicit parameters, another curve. */
ath_err pkcs11_curve_of_params(struct ath_slice params, struct why *why,
                               const struct pkcs11_curve **ret_curve) ATH_MUST_USE;

/* The public key of a CKA_EC_POINT: a DER OCTET STRING around the point, or the point itself. The
 * caller frees it. ATH_ERR_INVALID_PUBLIC_KEY. */
ath_err pkcs11_curve_point(const struct pkcs11_curve *curve, struct ath_slice point,
                           struct why *why, struct public_key **ret_key) ATH_MUST_USE;

#endif
