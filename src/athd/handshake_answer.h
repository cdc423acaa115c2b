/* What a caller is told of a handshake's step. */
#ifndef ATHD_HANDSHAKE_ANSWER_H
#define ATHD_HANDSHAKE_ANSWER_H

#include "athd/handshake_table.h"
#include "athd/session_table.h"

/* {state, send?, wait?, confirm?, result?}: messages and confirm are moved out of the need; result
 * (taken) may be NULL. NULL: out of memory. */
struct json *handshake_answer_new(const char *state, struct handshake_need *need,
                                  struct json *taken_result);
/* {session, peer, user_did, account?, scopes, denied, expires_at, restrictions?, access_token?}.
 * NULL: out of memory. */
struct json *handshake_answer_result(const struct tenant *tenant, const struct handshake *handshake,
                                     const struct handshake_result *result,
                                     const struct session *session);
/* Keeps the answer, for a message that comes twice and for handshake.get; without memory (or NULL)
 * nothing is kept. */
void handshake_answer_keep(struct handshake *handshake, const struct json *answer);
/* What was kept; the caller frees it. NULL: nothing, or out of memory. */
struct json *handshake_answer_kept(const struct handshake *handshake);
/* {error:{code, message}} of a refusal that is itself an answer. NULL: out of memory. */
struct json *handshake_answer_error(ath_err err, const struct why *why);
/* {send} for request_fail_data, moved out of the need; NULL: there is nothing to send. */
struct json *handshake_answer_data(struct handshake_need *need);

#endif
