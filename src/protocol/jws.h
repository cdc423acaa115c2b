/* Compact JWS (RFC 7515) as profile section 2 reads and writes it. */
#ifndef PROTOCOL_JWS_H
#define PROTOCOL_JWS_H

#include "base/json.h"
#include "crypto/public_key.h"
#include "protocol/protocol_limits.h"

struct jws {
    struct json *header;            /* owned */
    struct json *claims;            /* owned */
    struct ath_slice signing_input; /* borrowed: the text that was decoded */
    uint8_t signature[SIGNATURE_MAX_LEN];
    size_t signature_len;
    enum key_algorithm algorithm; /* the header's */
};

/* Header {"alg","typ","kid"(,"jwk")} and claims to the bytes that are signed:
 * b64u(header) "." b64u(claims). `with_jwk` puts the public key into the header. */
ath_err jws_signing_input(const struct public_key *key, const char *typ, bool with_jwk,
                          const struct json *claims, struct ath_buf *out) ATH_MUST_USE;

/* signing input, "." and b64u(signature) appended to `out`. */
void jws_join(struct ath_slice signing_input, struct ath_slice signature, struct ath_buf *out);

/* Decodes form only: three strict b64u segments, header and claims strict as a message, alg one of
 * ours, typ equal to `typ` (NULL: the caller checks it), none of crit b64 zip jku x5u x5c,
 * signature of alg's length. ATH_ERR_PARSE with why; ATH_ERR_NOMEM. The text must outlive
 * *ret_jws. */
ath_err jws_decode(struct ath_slice text, const char *typ, struct why *why,
                   struct jws *ret_jws) ATH_MUST_USE;
void jws_done(struct jws *jws);

/* One segment as a JSON object, and what jws_decode checks of a header: for those who hold a
 * signing input only. `what` names the segment in why; ret_object NULL: it is only checked.
 * ATH_ERR_PARSE, ATH_ERR_NOMEM. */
ath_err jws_decode_object(struct ath_slice segment, const char *what, struct why *why,
                          struct json **ret_object) ATH_MUST_USE;
ath_err jws_check_header(const struct json *header, const char *typ, struct why *why,
                         enum key_algorithm *ret_algorithm) ATH_MUST_USE;

/* alg fits the key, kid (required) is the key's jkt, the signature holds.
 * ATH_ERR_INVALID_SIGNATURE. */
ath_err jws_verify(const struct jws *jws, const struct public_key *key,
                   struct why *why) ATH_MUST_USE;

/* The same without kid, for tokens of others. */
ath_err jws_verify_signature(const struct jws *jws, const struct public_key *key,
                             struct why *why) ATH_MUST_USE;

/* The header's jwk as a key. ATH_ERR_INVALID_PUBLIC_KEY; ATH_ERR_NOT_FOUND when there is none. */
ath_err jws_header_key(const struct jws *jws, struct why *why,
                       struct public_key **ret_key) ATH_MUST_USE;

#endif
