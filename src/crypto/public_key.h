/*
 * Public keys of peers and our own: P-256, P-384, Ed25519. The DER is compared byte for byte with
 * the three permitted prefixes BEFORE any library parses it (profile section 1), so compressed and
 * hybrid points, explicit curve parameters and trailing bytes never reach OpenSSL.
 */
#ifndef CRYPTO_PUBLIC_KEY_H
#define CRYPTO_PUBLIC_KEY_H

#include "base/buf.h"
#include "base/json.h"
#include "base/why.h"

enum key_algorithm { KEY_ES256 = 1, KEY_ES384 = 2, KEY_EDDSA = 3 };

#define JKT_LEN 43           /* RFC 7638 SHA-256 thumbprint, base64url */
#define SIGNATURE_MAX_LEN 96 /* JOSE form: 64 for ES256 and EdDSA, 96 for ES384 */

struct public_key; /* immutable, counted */

/* All: ATH_ERR_INVALID_PUBLIC_KEY for whatever section 1 refuses (why says what), ATH_ERR_NOMEM. */
ath_err public_key_from_pem(struct ath_slice pem, struct why *why,
                            struct public_key **ret_key) ATH_MUST_USE;
ath_err public_key_from_der(struct ath_slice der, struct why *why,
                            struct public_key **ret_key) ATH_MUST_USE;
/* A JWK object (RFC 7517, 7518 6.2, 8037): kty, crv, x (y), full-length coordinates, no private
 * member. */
ath_err public_key_from_jwk(const struct json *jwk, struct why *why,
                            struct public_key **ret_key) ATH_MUST_USE;
/* A whole did:key DID: "did:key:z" and base58btc of 80 24 || compressed P-256 point, or ed 01 ||
 * Ed25519 key; any other spelling of the same key is refused. */
ath_err public_key_from_did_key(const char *did, struct why *why,
                                struct public_key **ret_key) ATH_MUST_USE;
/* Raw affine coordinates, big-endian, shorter ones are padded on the left (as a TPM gives them). */
ath_err public_key_from_point(enum key_algorithm algorithm, struct ath_slice x, struct ath_slice y,
                              struct why *why, struct public_key **ret_key) ATH_MUST_USE;

struct public_key *public_key_ref(const struct public_key *key); /* shares; NULL gives NULL */
void public_key_free(struct public_key *key);                    /* drops one reference */

enum key_algorithm public_key_algorithm(const struct public_key *key);
const char *public_key_jkt(const struct public_key *key);      /* lives as long as the key */
struct ath_slice public_key_der(const struct public_key *key); /* SubjectPublicKeyInfo */
bool public_key_equal(const struct public_key *a, const struct public_key *b);
/* Appends one PUBLIC KEY block with lines of 64 characters; it ends with LF. */
void public_key_put_pem(const struct public_key *key, struct ath_buf *out);
/* kty, crv, x (and y), nothing else; the caller frees it. ATH_ERR_NOMEM. */
ath_err public_key_jwk(const struct public_key *key, struct json **ret_jwk) ATH_MUST_USE;
/* Appends the whole DID. ATH_ERR_UNSUPPORTED_ALGORITHM for P-384, the buffer's error. */
ath_err public_key_did_key(const struct public_key *key, struct ath_buf *out) ATH_MUST_USE;

/* Verifies a JOSE signature (r||s, RFC 7518 3.4; RFC 8037) over message; r and s must lie in
 * [1, n-1]; high s is accepted. ATH_ERR_INVALID_SIGNATURE, ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err public_key_verify(const struct public_key *key, struct ath_slice message,
                          struct ath_slice signature) ATH_MUST_USE;

/* As public_key_verify, for who signs with this key and looks at each signature: after some hundred
 * ES256 signatures it prepares itself (once, 20 ms, 150 KiB), and then takes a third of the time.
 * From any thread. */
ath_err public_key_verify_own(const struct public_key *key, struct ath_slice message,
                              struct ath_slice signature) ATH_MUST_USE;

const char *key_algorithm_name(enum key_algorithm algorithm); /* "ES256", "ES384", "EdDSA" */
bool key_algorithm_parse(const char *name, enum key_algorithm *ret_algorithm);
size_t key_algorithm_signature_len(enum key_algorithm algorithm);

/* DER ECDSA-Sig-Value (RFC 3279 2.2.3, shortest form only) to r||s of fixed width, for hardware
 * back ends. ATH_ERR_INVALID_SIGNATURE; ATH_ERR_UNSUPPORTED_ALGORITHM for EdDSA, which has no such
 * form. */
ath_err signature_from_der(enum key_algorithm algorithm, struct ath_slice der,
                           uint8_t ret_signature[SIGNATURE_MAX_LEN]) ATH_MUST_USE;

/* The other way: appends the DER of r||s. ATH_ERR_INVALID_SIGNATURE: another length;
 * ATH_ERR_UNSUPPORTED_ALGORITHM for EdDSA; the buffer's error. */
ath_err signature_to_der(enum key_algorithm algorithm, struct ath_slice signature,
                         struct ath_buf *der) ATH_MUST_USE;

#endif
