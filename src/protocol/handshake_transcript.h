/*
 * The transcript and what signatures inside messages cover (profile section 4):
 *
 *   T0 = H("ATH-TB1")     Tn = H(T(n-1) || H(JCS(Mn)))
 *   "ATH-TB1 " label " " b64u(T(n-1)) " " b64u(H(JCS(Mn without its signature member)))
 */
#ifndef PROTOCOL_HANDSHAKE_TRANSCRIPT_H
#define PROTOCOL_HANDSHAKE_TRANSCRIPT_H

#include "base/json.h"
#include "crypto/digest.h"
#include "crypto/public_key.h"

void transcript_start(uint8_t ret_t0[SHA256_LEN]); /* H("ATH-TB1") */
/* T(n) = H(T(n-1) || H(JCS(message))), in place. ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err transcript_add(uint8_t t[SHA256_LEN], const struct json *message) ATH_MUST_USE;
/* H(JCS(message)). ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err transcript_hash(const struct json *message, uint8_t ret_hash[SHA256_LEN]) ATH_MUST_USE;

/* A copy without member `member`; with `container` not NULL the member lies in that object. The caller
 * frees it; NULL when out of memory. */
struct json *message_without(const struct json *message, const char *container, const char *member);

/* Puts b64u(signature) into the message, or into its object `container`. ATH_ERR_NOMEM. */
ath_err message_put_signature(struct json *message, const char *container, const char *member,
                              struct ath_slice signature) ATH_MUST_USE;

/* Appends the string that is signed; message is without its signature member. ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err handshake_string(const char *label, const uint8_t t[SHA256_LEN], const struct json *message,
                         struct ath_buf *out) ATH_MUST_USE;
/* Verifies `signature` (text as it stood in the message) over that string. The batch form (RFC 6962
 * audit path) is accepted when allow_batch. ATH_ERR_INVALID_SIGNATURE, ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err handshake_signature_verify(const struct public_key *key, const char *label,
                                   const uint8_t t[SHA256_LEN], const struct json *message,
                                   const char *signature, bool allow_batch) ATH_MUST_USE;

#endif
