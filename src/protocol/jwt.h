/* The access token of step 9: typ at+jwt, by the server's key (profile section 5, step 9). */
#ifndef PROTOCOL_JWT_H
#define PROTOCOL_JWT_H

#include "crypto/digest.h"
#include "protocol/claims.h"
#include "protocol/jws.h"
#include "protocol/scope.h"

#define ACCESS_TOKEN_TYP "at+jwt"

/* Zero-initialise; access_token_done frees what it owns, which is every pointer. */
struct access_token {
    char *server_did; /* iss = aud */
    char *client_did; /* sub */
    char *user_did;
    struct scope_list scopes;
    int64_t issued_at, expires_at;
    char *jti;
    char client_jkt[JKT_LEN + 1];   /* cnf.jkt */
    struct json *restrictions;      /* NULL: none */
    uint8_t transcript[SHA256_LEN]; /* ath_th, decoded */
    struct json *claims;            /* as they came; NULL in a token that was not read */
    struct claims_times times;      /* only in a token that was read */
};

/* What is signed for it; every member but restrictions must be set, claims and times are not looked
 * at. ATH_ERR_NOMEM, ATH_ERR_LIMIT_EXCEEDED. */
ath_err access_token_signing_input(const struct access_token *token,
                                   const struct public_key *server_key,
                                   struct ath_buf *out) ATH_MUST_USE;

/* Reads and verifies signature, kid, iss = aud and the form of every claim, exp - iat at most an
 * hour included; not against the time (access_token_is_current), not who it must be for: the caller
 * compares. ATH_ERR_INVALID_CREDENTIAL, ATH_ERR_INVALID_SIGNATURE, ATH_ERR_NOMEM. */
ath_err access_token_read(struct ath_slice text, const struct public_key *server_key,
                          struct why *why, struct access_token *ret_token) ATH_MUST_USE;

/* Of a token that was read: exp is to come; iat and nbf are not more than 300 s ahead. */
bool access_token_is_current(const struct access_token *token, int64_t now);

void access_token_done(struct access_token *token);

/* The claims as a JSON object, as they came. ATH_ERR_NOMEM. */
ath_err access_token_claims(const struct access_token *token,
                            struct json **ret_claims) ATH_MUST_USE;

#endif
