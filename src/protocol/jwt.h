/* The access token of step 9: typ at+jwt, by the server's key (profile section 5, step 9). */
#ifndef PROTOCOL_JWT_H
#define PROTOCOL_JWT_H

#include "protocol/jws.h"
#include "protocol/scope.h"

struct access_token {
    char *server_did; /* iss = aud */
    char *client_did; /* sub */
    char *user_did;
    struct scope_list scopes;
    int64_t issued_at, expires_at;
    char *jti;
    char client_jkt[JKT_LEN + 1]; /* cnf.jkt */
    struct json *restrictions;    /* NULL: none */
    uint8_t transcript[32];       /* ath_th, decoded */
};

/* What is signed for it. jti must be set. */
ath_err access_token_signing_input(const struct access_token *token, const struct public_key *server_key,
                                   struct ath_buf *out) ATH_MUST_USE;

/* Reads and verifies signature, iss = aud, form of every claim; not time, not who it must be for: the
 * caller compares. ATH_ERR_INVALID_CREDENTIAL, ATH_ERR_INVALID_SIGNATURE. */
ath_err access_token_read(struct ath_slice text, const struct public_key *server_key, struct why *why,
                          struct access_token *ret_token) ATH_MUST_USE;
void access_token_done(struct access_token *token);
/* The claims as a JSON object, as they came. */
ath_err access_token_claims(const struct access_token *token, struct json **ret_claims) ATH_MUST_USE;

#endif
