/* Identities (profile section 2): did:ath:<role>_<jkt>, did:key, and pinned DIDs. */
#ifndef PROTOCOL_DID_H
#define PROTOCOL_DID_H

#include "crypto/public_key.h"

enum did_role { DID_USER, DID_CLIENT, DID_SERVER };

#define DID_ATH_MAX_LEN 64 /* did:ath:server_ and 43 characters, with the NUL */

const char *did_role_name(enum did_role role); /* "user", "client", "server" */
bool did_role_parse(const char *text, enum did_role *ret_role);

/* did:ath:<role>_<jkt>, at most DID_ATH_MAX_LEN bytes with the NUL. */
void did_of_key(enum did_role role, const struct public_key *key, char ret_did[DID_ATH_MAX_LEN]);

/* The syntax of DID Core 3.1 ("did:" method ":" letters, digits, "." "-" "_" ":" "%"), at most
 * DID_MAX_LEN bytes: so nothing in a DID can mislead whoever reads it. NULL is not. */
bool did_is_valid(const char *did);
/* Has the form did:ath:(user|client|server)_ and 43 characters of b64u: proves its key
 * by itself. */
bool did_is_self_certifying(const char *did);
bool did_is_key(const char *did); /* did:key: */

/* The trust store's answer for a DID that proves nothing by itself; NULL: not pinned. The key is
 * borrowed until the next call. */
struct did_pins {
    const struct public_key *(*key_of)(void *ctx, const char *did);
    void *ctx;
};

/* Is `key` the key of `did` in this role? ATH_OK; ATH_ERR_UNKNOWN_PEER (self-certifying and does
 * not fit, or neither self-certifying nor pinned, or no DID at all); ATH_ERR_PEER_KEY_CHANGED
 * (pinned to another key); ATH_ERR_NOMEM. pins may be NULL. */
ath_err did_check(const char *did, enum did_role role, const struct public_key *key,
                  const struct did_pins *pins, struct why *why) ATH_MUST_USE;

/* The key a DID stands for by itself (did:key) or by pin; NULL if neither. The caller frees it. */
struct public_key *did_resolve(const char *did, const struct did_pins *pins);

#endif
