/*
 * The nine messages and handshake_retry: decoding into plain structs (everything that needs no
 * knowledge of the handshake's state is checked here: form, types, limits, grammar), and building.
 * Decoded strings point into the message, which must outlive the struct.
 */
#ifndef PROTOCOL_HANDSHAKE_MESSAGE_H
#define PROTOCOL_HANDSHAKE_MESSAGE_H

#include "base/json.h"
#include "crypto/public_key.h"
#include "protocol/protocol_limits.h"
#include "protocol/scope.h"

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

/* Text as received -> message, with the profile's limits (section 1). ATH_ERR_INVALID_MESSAGE. */
ath_err handshake_message_parse(struct ath_slice text, struct why *why, struct json **ret_message) ATH_MUST_USE;
/* The same limits for a message that came as a JSON object inside a request. */
ath_err handshake_message_check(const struct json *message, struct why *why) ATH_MUST_USE;
enum handshake_message_type handshake_message_type(const struct json *message);
const char *handshake_message_type_name(enum handshake_message_type type);

#endif
