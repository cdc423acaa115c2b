/* A proof that whoever presents an access token holds the key it is bound to (RFC 9449). */
#ifndef PROTOCOL_DPOP_H
#define PROTOCOL_DPOP_H

#include "protocol/jws.h"

#define DPOP_TYP "dpop+jwt"
#define DPOP_JTI_MAX_LEN 256u

struct dpop_expected {
    struct ath_slice access_token; /* its SHA-256 is the proof's `ath` */
    const char *jkt;               /* the token's cnf.jkt */
    const char *method, *uri; /* htm and htu of the HTTP request; NULL: the caller did not say */
    int64_t now;
};

/* Checks form, signature by the header's jwk, jkt, ath, iat (within 300 s), htm and htu (RFC
 * 9449 4.3). Replay is the caller's: *ret_jti (the caller frees it) must not have been seen until
 * *ret_fresh_until. ATH_ERR_INVALID_CREDENTIAL, ATH_ERR_INVALID_SIGNATURE, ATH_ERR_TIMESTAMP_SKEW,
 * ATH_ERR_NOMEM, with why. */
ath_err dpop_check(struct ath_slice proof, const struct dpop_expected *expected, struct why *why,
                   char **ret_jti, int64_t *ret_fresh_until) ATH_MUST_USE;

#endif
