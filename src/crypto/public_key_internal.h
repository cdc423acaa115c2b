/* What the files of public_key.h share: the struct and its one constructor. Of src/crypto
 * alone. */
#ifndef CRYPTO_PUBLIC_KEY_INTERNAL_H
#define CRYPTO_PUBLIC_KEY_INTERNAL_H

#include <stdatomic.h>

#include "crypto/algorithms.h"
#include "crypto/curve.h"
#include "crypto/point_table.h"

#define PUBLIC_KEY_MAX_DER 120
#define CURVE_MAX_POINT (1 + 2 * CURVE_MAX_COORDINATE)

struct public_key {
    const struct curve *curve;
    EVP_PKEY *pkey;
    uint8_t der[PUBLIC_KEY_MAX_DER];
    size_t der_len;
    char jkt[JKT_LEN + 1];
    atomic_uint references;
    atomic_uint own_uses;                /* of public_key_verify_own */
    _Atomic(struct point_table *) table; /* NULL: none yet */
};

/* point: curve_point_len bytes in the form of SubjectPublicKeyInfo. Every way to a key ends here,
 * and so does every check of the point. */
ath_err public_key_new(const struct curve *curve, const uint8_t *point, struct why *why,
                       struct public_key **ret_key) ATH_MUST_USE;

/* The point within the key's DER. */
const uint8_t *public_key_point(const struct public_key *key);

/* RFC 7638: the JWK with its required members only, in their order, without white space. */
void public_key_put_thumbprint_input(const struct public_key *key, struct ath_buf *out);

#endif
