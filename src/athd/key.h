/* A key as athd knows it: its public half, what it is for, and the blob its hardware can use.
 * Counted: a request may outlive a key.delete. */
#ifndef ATHD_KEY_H
#define ATHD_KEY_H

#include <sys/types.h>

#include "athd/hsm_pool.h"
#include "protocol/did.h"
#include "protocol/identity_document.h"

enum key_confirm { KEY_CONFIRM_NEVER, KEY_CONFIRM_ALWAYS, KEY_CONFIRM_SESSION };

struct key {
    unsigned references;
    char *name;
    enum did_role role;
    char did[DID_ATH_MAX_LEN];
    struct public_key *public_key;
    struct hsm_key_ref ref; /* its hsm's name and blob belong to the key */
    char *hsm;
    struct ath_buf blob;            /* TSS2 PRIVATE KEY PEM; of a token's key: its RFC 7512 URI */
    bool is_token;                  /* it lives in a PKCS#11 token */
    bool pin;                       /* which wanted a login when athd saw it last; of a TPM's key
                                       ref.has_pin says whether it has one */
    int64_t created_at, expires_at; /* expires_at 0: never */
    char *agent_id;                 /* NULL: none */
    struct display display;
    enum key_confirm confirm;
    /* KEY_CONFIRM_SESSION: the user said yes since athd started, or it was locked. Grants have a
     * yes of their own (grant_is_confirmed). */
    bool confirmed;
    unsigned locks;  /* how often that was forgotten */
    bool is_deleted; /* whatever still has a reference signs nothing more with it */
    struct hsm_key_facts facts;
    bool software; /* made in an hsm that only file permissions protect */
    uid_t owner;
};

/* An empty key with one reference; NULL when out of memory. */
struct key *key_new(void);
struct key *key_ref(struct key *key);
void key_free(struct key *key); /* drops one reference; NULL is fine */

/* Gives a key its public half and the identity that follows from it and from its role, which must
 * be set. */
void key_set_public(struct key *key, struct public_key *taken_public_key);
/* What its hardware says of it. */
void key_set_facts(struct key *key, const struct hsm_key_facts *facts);
/* Gives a key its blob and athd's number for it; its hsm must be set. */
void key_attach(struct key *key, struct ath_buf *taken_blob, uint32_t number);

/* KeyInfo of docs/api.md. ATH_ERR_NOMEM. */
ath_err key_info(const struct key *key, const struct hsm_pool *pool,
                 struct json **ret_info) ATH_MUST_USE;
bool key_is_expired(const struct key *key, int64_t now);

const char *key_confirm_name(enum key_confirm confirm);
bool key_confirm_parse(const char *text, enum key_confirm *ret_confirm);

/* The JSON beside the PEM; of a token's key the URI is in it (a PEM and the number are not). */
ath_err key_encode(const struct key *key, struct json **ret_object) ATH_MUST_USE;
/* ATH_ERR_PARSE with why; the number, and a PEM, are the caller's to attach. */
ath_err key_decode(const struct json *object, struct why *why, struct key **ret_key) ATH_MUST_USE;

#endif
