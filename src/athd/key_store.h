/* Keys: KEYS/NAME.json is the commit point; NAME.pem (TPM) is written and fsynced first, deleted
 * last; a lone PEM is kept and reported. A key of a token has no PEM: its URI is in the JSON. */
#ifndef ATHD_KEY_STORE_H
#define ATHD_KEY_STORE_H

#include "athd/key.h"
#include "athd/store.h"

struct key_store;

/* Reads the directory (blocking, start-up). Unreadable items are logged and reported, not fatal. */
ath_err key_store_open(struct athd *athd, const char *dir, struct why *why,
                       struct key_store **ret_store) ATH_MUST_USE;
void key_store_free(struct key_store *store);
struct key *key_store_find(const struct key_store *store, const char *name);    /* NULL: none */
struct key *key_store_find_did(const struct key_store *store, const char *did); /* NULL: none */
struct key *key_store_find_public(const struct key_store *store,
                                  const struct public_key *public_key);
size_t key_store_count(const struct key_store *store);
/* For lists: calls each key in order of names. */
void key_store_each(const struct key_store *store, void (*each)(void *ctx, struct key *key),
                    void *ctx);
/* {orphans:[...], damaged:[...]} for agent.status; both may be empty. */
ath_err key_store_report(const struct key_store *store, struct json **ret_report) ATH_MUST_USE;

/* All keys; a helper knows 4,096 at once (hsm_key_table.h), athd's own among them, and those that
 * are looked at to be imported. */
#define KEY_STORE_MAX 4000u
#define KEY_STORE_TENANT_MAX 256u /* of one uid, where athd serves several */

/* Holds a name while its key is being made, so that of two creations one wins. ATH_ERR_KEY_EXISTS,
 * ATH_ERR_LIMIT_EXCEEDED (KEY_STORE_MAX), ATH_ERR_NOMEM. Every reservation is released, also after
 * key_store_put. */
ath_err key_store_reserve(struct key_store *store, const char *name) ATH_MUST_USE;
void key_store_release(struct key_store *store, const char *name);

/* Writes the key durably; when done says ATH_OK it is in the store (which keeps its own reference).
 * The name must be reserved. ATH_ERR_KEY_EXISTS (the public key is here already), ATH_ERR_NOMEM:
 * done is not called then. */
ath_err key_store_put(struct key_store *store, struct key *key, store_done_fn *done,
                      void *ctx) ATH_MUST_USE;
/* Out of the store at once, off the disk when done says so. ATH_ERR_NOMEM: nothing happened. */
ath_err key_store_remove(struct key_store *store, struct key *key, store_done_fn *done,
                         void *ctx) ATH_MUST_USE;

#endif
