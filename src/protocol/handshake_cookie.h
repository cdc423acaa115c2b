/* handshake_retry's cookies: a MAC over time, client and source, and no state until one is redeemed
 * (profile section 5, step 1). One jar a service key. */
#ifndef PROTOCOL_HANDSHAKE_COOKIE_H
#define PROTOCOL_HANDSHAKE_COOKIE_H

#include "base/json.h"

struct cookie_jar;

ath_err cookie_jar_new(struct cookie_jar **ret_jar) ATH_MUST_USE; /* draws its key with random_bytes */
void cookie_jar_free(struct cookie_jar *jar); /* NULL is fine */

/* The handshake_retry message for this client and source ("" : none given). retry_after_s is 0 to 60;
 * the 60 s of the cookie begin when the client may come back. The caller frees *ret_message.
 * ATH_ERR_INVALID_PARAMS (retry_after_s), ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err cookie_jar_retry(struct cookie_jar *jar, const char *client_did, const char *source, bool proof,
                         int64_t retry_after_s, int64_t now, struct json **ret_message) ATH_MUST_USE;

/* Takes a cookie that came back: good for 60 s, for this client and source, once. ATH_OK;
 * ATH_ERR_INVALID_MESSAGE (forged, stale, spent, other client or source); ATH_ERR_RATE_LIMITED: the
 * memory of spent ones is full, answer with another retry; ATH_ERR_NOMEM, ATH_ERR_CRYPTO.
 * *ret_proof: the retry had asked for a proof. */
ath_err cookie_jar_redeem(struct cookie_jar *jar, const char *cookie, const char *client_did,
                          const char *source, int64_t now, bool *ret_proof) ATH_MUST_USE;

#endif
