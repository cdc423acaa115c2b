/*
 * The nine messages and handshake_retry as JSON: reading the text with the profile's limits, telling
 * the types apart, and the `error` member of a refusal. Their members are decoded in
 * protocol/handshake_decode.h.
 */
#ifndef PROTOCOL_HANDSHAKE_MESSAGE_H
#define PROTOCOL_HANDSHAKE_MESSAGE_H

#include "base/json.h"
#include "protocol/protocol_limits.h"

enum handshake_message_type {
    MESSAGE_HANDSHAKE_REQUEST = 1,
    MESSAGE_HANDSHAKE_RESPONSE,
    MESSAGE_IDENTITY_PROOF,
    MESSAGE_IDENTITY_RESULT,
    MESSAGE_SCOPE_REQUEST,
    MESSAGE_CONFIRMATION_REQUEST,
    MESSAGE_CONFIRMATION_RESPONSE,
    MESSAGE_SCOPE_RESULT,
    MESSAGE_HANDSHAKE_COMPLETE,
    MESSAGE_HANDSHAKE_RETRY,
    MESSAGE_UNKNOWN,
};

/* Text as received -> message, with the profile's limits (section 1). ATH_ERR_INVALID_MESSAGE,
 * ATH_ERR_NOMEM. */
ath_err handshake_message_parse(struct ath_slice text, struct why *why, struct json **ret_message) ATH_MUST_USE;
/* The same limits for a message that came as a JSON object inside a request (its compact form is what
 * must not exceed MESSAGE_MAX_LEN). The machines call it for each message they are given. */
ath_err handshake_message_check(const struct json *message, struct why *why) ATH_MUST_USE;
enum handshake_message_type handshake_message_type(const struct json *message);
const char *handshake_message_type_name(enum handshake_message_type type);

/* "error": {"code": err's reason, "message": why}, as M4 and M8 carry it. */
void handshake_error_put(struct json_maker *message, ath_err err, const struct why *why);
/* The error of a peer's `error.code`: a reason of -32009, -32002 or -32007, else INVALID_MESSAGE. */
ath_err handshake_error_of_code(const char *code);

#endif
