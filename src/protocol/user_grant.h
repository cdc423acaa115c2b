/* Step 0: what a user grants in advance (profile section 3): a JWS, or the plain object. */
#ifndef PROTOCOL_USER_GRANT_H
#define PROTOCOL_USER_GRANT_H

#include "protocol/did.h"
#include "protocol/jws.h"
#include "protocol/scope.h"

#define USER_GRANT_TYP "ath-user-auth+jwt"
#define USER_GRANT_LABEL                                                                           \
    "user-authorization" /* what the object form's signature covers begins so */

/* Zero-initialise; user_grant_done frees what it owns, which is every pointer. */
struct user_grant {
    char *user_did, *client_did;
    char **audiences; /* NULL: any server */
    size_t audience_count;
    struct scope_list scopes;
    int64_t issued_at, expires_at; /* issued_at 0 in the object form where it is absent */
    char *jti;                     /* NULL in the object form where it is absent */
    struct public_key *user_key;
};

/* What is signed. audiences may be NULL (any server); one is written as a string, several as an
 * array. jti and issued_at must be set. ATH_ERR_NOMEM, ATH_ERR_LIMIT_EXCEEDED. */
ath_err user_grant_signing_input(const struct user_grant *grant, struct ath_buf *out) ATH_MUST_USE;

/* Reads either form (a JSON string holds the JWS, an object is the plain form) and checks
 * everything that needs no knowledge of who is asking: JWS rules, DIDs, key against DID (pins may
 * be NULL), scopes, times, signature. ATH_ERR_INVALID_CREDENTIAL for every refusal, with why (a bad
 * signature too); ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err user_grant_read(const struct json *credential, const struct did_pins *pins, int64_t now,
                        struct why *why, struct user_grant *ret_grant) ATH_MUST_USE;

/* Is it for this client, and (server_did may be NULL: not asked) this server?
 * ATH_ERR_INVALID_CREDENTIAL. */
ath_err user_grant_check(const struct user_grant *grant, const char *client_did,
                         const char *server_did, struct why *why) ATH_MUST_USE;
bool user_grant_is_for(const struct user_grant *grant, const char *client_did,
                       const char *server_did);
void user_grant_done(struct user_grant *grant);

#endif
