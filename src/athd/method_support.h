/* What the methods have in common: finding keys, policy for a signature, the user's yes, errors. */
#ifndef ATHD_METHOD_SUPPORT_H
#define ATHD_METHOD_SUPPORT_H

#include "athd/athd.h"
#include "athd/consent.h"
#include "athd/key_store.h"
#include "athd/policy.h"
#include "athd/signing.h"

/* ---- params ---- */
const char *method_param(const struct request *request,
                         const char *name); /* NULL: absent or no string */
const struct json *method_param_json(const struct request *request, const char *name);

/* A string, or an array of at most max strings, that a param is (checked before). Borrowed. Returns
 * how many; 0: absent. */
size_t method_strings(const struct json *param, const char **ret_texts, size_t max);

/* The key of this name, which must have this role and not be expired. ATH_ERR_KEY_NOT_FOUND,
 * ATH_ERR_INVALID_PARAMS, ATH_ERR_KEY_EXPIRED with why. Borrowed. */
ath_err method_key(const struct request *request, const char *name, enum did_role role,
                   struct why *why, struct key **ret_key) ATH_MUST_USE;

/* The key that params name, or NULL: then the request has been failed (KEY_NOT_FOUND). Borrowed. */
struct key *method_named_key(struct request *request);

/* A handshake message or grant that came as an object, or as text: the profile's limits hold for
 * its bytes. *ret_message belongs to the caller. ATH_ERR_INVALID_MESSAGE. */
ath_err method_message(const struct json *param, struct why *why,
                       struct json **ret_message) ATH_MUST_USE;

/* Remembers that this was presented (replay_store_use), as far as whoever asks has room for it
 * (grant_room.h). Errors of both. */
ath_err method_use(struct request *request, const char *kid, const char *jti, int64_t expires_at,
                   store_done_fn *done, void *ctx, struct why *why) ATH_MUST_USE;

/* A public key given as PEM string or JWK object. ATH_ERR_INVALID_PUBLIC_KEY. */
ath_err method_public_key(const struct json *param, struct why *why,
                          struct public_key **ret_key) ATH_MUST_USE;

/* ---- may this be signed ---- */

/* Puts the question to policy. ATH_OK (*ret_ask: only if the user says yes), ATH_ERR_POLICY_DENIED,
 * ATH_ERR_RATE_LIMITED (*ret_data, for request_fail_data), which is on record then. */
ath_err method_policy(struct request *request, const struct policy_question *question,
                      struct why *why, struct json **ret_data, bool *ret_ask) ATH_MUST_USE;

/* Asks the user if policy (`ask`) or the key's `confirm` want it, else goes on at once: done may be
 * called from inside. The order's key is this one. */
void method_confirm(struct request *request, bool ask, struct consent_text *taken_text,
                    const struct consent_order *order, struct key *key, consent_done_fn *done,
                    void *ctx);
/* Would method_confirm ask this caller's user? */
bool method_would_ask(const struct caller *caller, const struct key *key, bool ask);

/* A line of a question that names somebody: by the name of our own pin or key, and by the DID. */
void method_put_party(struct consent_text *text, const struct tenant *tenant, const char *label,
                      const char *did);

/* ---- errors ---- */

/* {native, tries_left, retry_after} of a failed signature or key, as far as they are not 0; NULL:
 * nothing to say. */
struct json *method_hardware(uint32_t native, uint8_t tries_left, uint32_t retry_after_s);

#endif
