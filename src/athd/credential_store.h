/* Grants by users: issued here or put here from another machine. CREDENTIALS/JTI.json. */
#ifndef ATHD_CREDENTIAL_STORE_H
#define ATHD_CREDENTIAL_STORE_H

#include "athd/store.h"
#include "protocol/user_grant.h"

#define CREDENTIALS_MAX 16384u

struct athd;
struct credential_store;

struct credential {
    char *id;          /* the grant's jti, or b64u(SHA-256(JCS)) of one without a usable one */
    struct json *text; /* as it is sent: a string (JWS) or an object */
    struct user_grant grant;
    int64_t added_at;
    char *through; /* name of the outermost grant it came through; NULL: its owner put it here */
};

/* Takes text and grant (emptied). ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err credential_new(struct json *taken_text, struct user_grant *taken_grant, int64_t now,
                       struct credential **ret_credential) ATH_MUST_USE;
void credential_free(struct credential *credential);
/* What a grant says: jti, user_did, client_did, audience?, scopes, iat?, expires_at. */
void credential_put_grant(struct json_maker *maker, const char *jti,
                          const struct user_grant *grant);
/* An entry of credential.list: that, and the credential. */
ath_err credential_encode(const struct credential *credential,
                          struct json **ret_object) ATH_MUST_USE;

/* Reads the directory (blocking, start-up), checks each grant again, removes what has expired.
 * Damaged files are logged and left out. */
ath_err credential_store_open(struct athd *athd, const struct did_pins *pins,
                              const char *dir, struct why *why,
                              struct credential_store **ret_store) ATH_MUST_USE;
void credential_store_free(struct credential_store *store);

const struct credential *credential_store_find(const struct credential_store *store,
                                               const char *id); /* NULL: none */
void credential_store_each(const struct credential_store *store,
                           void (*each)(void *ctx, const struct credential *credential), void *ctx);
/* The newest unexpired grant for this client and server whose scopes cover most of these (at least
 * one). server_did NULL: any server. NULL: none. Borrowed until the next turn of the event loop. */
const struct credential *credential_store_choose(const struct credential_store *store,
                                                 const char *client_did, const char *server_did,
                                                 const struct scope_list *scopes, int64_t now);

/* Forgets what has expired, on disk too (nobody waits for that). */
void credential_store_prune(struct credential_store *store, int64_t now);

/* Has whoever it came through room for one more (grant_room.h)? ATH_ERR_LIMIT_EXCEEDED with why. */
ath_err credential_store_check_room(const struct credential_store *store,
                                    const struct credential *credential,
                                    struct why *why) ATH_MUST_USE;

/* Durable; in the store when done says ATH_OK. ATH_ERR_EXISTS: another grant has this jti (the same
 * grant once more is fine); ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM: done is not called; the
 * credential is taken either way. */
ath_err credential_store_put(struct credential_store *store, struct credential *taken_credential,
                             store_done_fn *done, void *ctx) ATH_MUST_USE;

#endif
