/*
 * The key that signs checkpoints, and nothing else: made in the configured hsm (audit.hsm, else the
 * first) as soon as that can be used. Its public half is part of the log (audit/keys/<jkt>.json,
 * docs/audit.md), where those of before stay: their checkpoints are verified with them. What athd
 * needs to use it lies in audit_key/: <jkt>.json and its blob (<jkt>.pem, or <jkt>.uri for
 * PKCS#11). Nobody is ever asked for a PIN for it: with a token that wants one it waits until
 * somebody has logged in.
 */
#ifndef ATHD_AUDIT_KEY_H
#define ATHD_AUDIT_KEY_H

#include "athd/hsm_pool.h"
#include "crypto/public_key.h"

struct audit_key;

#define AUDIT_KEY_DIR "audit_key" /* in the state directory */

/* Reads audit_key/; blocking (start-up). Damaged ones are noted and left.
 * ready(ctx) comes from the loop each time the
 * key can be used where it could not. ATH_ERR_IO with
 * why, ATH_ERR_NOMEM. */
ath_err audit_key_open(struct athd *athd, void (*ready)(void *ctx), void *ctx, struct why *why,
                       struct audit_key **ret_key) ATH_MUST_USE;
/* An hsm has become open: tries to use the key, or makes one; from now on until it works. */
void audit_key_poke(struct audit_key *key);
/* It did not sign: does the hardware still know it? */
void audit_key_check(struct audit_key *key);
/* The hardware said that it does not know the key any more: another is made. */
void audit_key_refuse(struct audit_key *key, const struct why *why);
bool audit_key_is_ready(const struct audit_key *key);
/* Why it is not ready; NULL: it is. */
const char *audit_key_failure(const struct audit_key *key);

/* NULL while there is none; borrowed, until the next return to the loop. */
const struct public_key *audit_key_public(const struct audit_key *key);
const struct hsm_key_ref *audit_key_ref(const struct audit_key *key);
/* It was made since athd started. */
bool audit_key_is_fresh(const struct audit_key *key);
/* The name of its hsm; NULL: none is configured. */
const char *audit_key_hsm(const struct audit_key *key);

/* No more tries; its timer is closed. */
void audit_key_close(struct audit_key *key);
void audit_key_free(struct audit_key *key);

#endif
