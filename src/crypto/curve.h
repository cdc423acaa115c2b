/* The three kinds of public key that exist for us, as data: names, sizes, the one DER prefix that
 * each may have, the group's order. Internal to src/crypto. */
#ifndef CRYPTO_CURVE_H
#define CRYPTO_CURVE_H

#include "crypto/public_key.h"

#define CURVE_MAX_COORDINATE 48
#define CURVE_MAX_PREFIX 26

struct curve {
    enum key_algorithm algorithm;
    const char *algorithm_name;           /* JOSE alg */
    const char *name;                     /* JWK crv, and OpenSSL's group name */
    const char *kty;                      /* JWK kty */
    size_t coordinate_len;                /* bytes of x, of y, of r and of s */
    bool has_y;                           /* false: the whole key is x, as RFC 8032 encodes it */
    uint8_t order[CURVE_MAX_COORDINATE];  /* n, big-endian; ECDSA only */
    uint8_t der_prefix[CURVE_MAX_PREFIX]; /* SubjectPublicKeyInfo up to where the point begins; for
                                           * ECDSA without the byte 4 of an uncompressed point */
    size_t der_prefix_len;
    uint8_t did_key_prefix[2]; /* multicodec as an unsigned varint; 0: not used by us */
};

/* Static; NULL if there is none. */
const struct curve *curve_of_algorithm(enum key_algorithm algorithm);
const struct curve *curve_of_name(const char *name);
const struct curve *curve_of_der(struct ath_slice der); /* prefix and total length fit */

/* Bytes of the public point as SubjectPublicKeyInfo holds it: 65, 97 or 32. */
size_t curve_point_len(const struct curve *curve);

/* point has curve_point_len bytes. ATH_ERR_INVALID_PUBLIC_KEY with why: not on the curve; for
 * Ed25519 also a non-canonical encoding (RFC 8032 5.1.3) and a point of small order. */
ath_err curve_check_point(const struct curve *curve, const uint8_t *point,
                          struct why *why) ATH_MUST_USE;

/* 1 <= n < order of the group, for a big-endian number of coordinate_len bytes. ECDSA only. */
bool curve_is_scalar(const struct curve *curve, const uint8_t *number);

#endif
