/* Keys: KEYS/NAME.json is the commit point; NAME.pem (TPM) is written and fsynced first, deleted
 * last; a lone PEM is kept and reported. */
#ifndef ATHD_KEY_STORE_H
#define ATHD_KEY_STORE_H

#include "athd/hsm_pool.h"
#include "protocol/did.h"
#include "protocol/identity_document.h"

enum key_confirm { KEY_CONFIRM_NEVER, KEY_CONFIRM_ALWAYS, KEY_CONFIRM_SESSION };

struct key { /* counted: a request may outlive a key.delete */
    unsigned references;
    char *name;
    enum did_role role;
    char did[DID_ATH_MAX_LEN];
    struct public_key *public_key;
    struct hsm_key_ref ref;   /* its hsm's name and blob belong to the key */
    char *hsm;
    struct ath_buf blob;      /* TSS2 PRIVATE KEY PEM */
    int64_t created_at, expires_at; /* expires_at 0: never */
    char *agent_id;           /* NULL: none */
    struct display display;
    enum key_confirm confirm;
    bool confirmed;           /* KEY_CONFIRM_SESSION: the user said yes since athd started */
    struct hsm_key_facts facts;
    uid_t owner;
};

struct key_store;

/* Reads the directory (blocking, start-up). Unreadable items are logged and reported, not fatal. */
ath_err key_store_open(struct athd *athd, const char *dir, struct why *why, struct key_store **ret_store) ATH_MUST_USE;
void key_store_free(struct key_store *store);
struct key *key_store_find(const struct key_store *store, const char *name);          /* NULL: none */
struct key *key_store_find_did(const struct key_store *store, const char *did);       /* NULL: none */
size_t key_store_count(const struct key_store *store);
/* For lists: calls each key in order of names. */
void key_store_each(const struct key_store *store, void (*each)(void *ctx, struct key *key), void *ctx);
/* {orphans:[...], damaged:[...]} for agent.status; both may be empty. */
ath_err key_store_report(const struct key_store *store, struct json **ret_report) ATH_MUST_USE;

struct key *key_ref(struct key *key);
void key_free(struct key *key); /* drops one reference */
ath_err key_info(const struct key *key, const struct hsm_pool *pool, struct json **ret_info) ATH_MUST_USE; /* KeyInfo */
bool key_is_expired(const struct key *key, int64_t now);

#endif
