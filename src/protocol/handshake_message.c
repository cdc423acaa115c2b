#include "protocol/handshake_message.h"

#include <string.h>

static const struct json_limits MESSAGE_LIMITS = {
    .max_len = MESSAGE_MAX_LEN,
    .max_depth = MESSAGE_MAX_DEPTH,
    .max_members = MESSAGE_MAX_MEMBERS,
    .numbers = JSON_INTEGERS,
};

static const struct {
    enum handshake_message_type type;
    const char *name;
} TYPES[] = {
    {MESSAGE_HANDSHAKE_REQUEST, "handshake_request"},
    {MESSAGE_HANDSHAKE_RESPONSE, "handshake_response"},
    {MESSAGE_IDENTITY_PROOF, "identity_proof"},
    {MESSAGE_IDENTITY_RESULT, "identity_result"},
    {MESSAGE_SCOPE_REQUEST, "scope_request"},
    {MESSAGE_CONFIRMATION_REQUEST, "authorization_confirmation_request"},
    {MESSAGE_CONFIRMATION_RESPONSE, "authorization_confirmation_response"},
    {MESSAGE_SCOPE_RESULT, "scope_result"},
    {MESSAGE_HANDSHAKE_COMPLETE, "handshake_complete"},
    {MESSAGE_HANDSHAKE_RETRY, "handshake_retry"},
};

#define TYPE_COUNT (sizeof(TYPES) / sizeof(TYPES[0]))

ath_err
handshake_message_parse(struct ath_slice text, struct why *why, struct json **ret_message)
{
    struct json *message = NULL;
    ath_err err = json_parse(text, &MESSAGE_LIMITS, why, &message);

    if (err == ATH_ERR_NOMEM)
        return err;
    if (err != ATH_OK)
        return ATH_ERR_INVALID_MESSAGE;
    if (!json_is_object(message)) {
        json_free(message);
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "a handshake message is a JSON object");
    }
    *ret_message = message;
    return ATH_OK;
}

/* Written and read again: the limits then hold for exactly the bytes that would be sent, and there is
 * one place that knows them. */
ath_err
handshake_message_check(const struct json *message, struct why *why)
{
    struct ath_buf text = {.max = MESSAGE_MAX_LEN};
    struct json *copy = NULL;
    ath_err err;

    if (!json_is_object(message))
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "a handshake message is a JSON object");
    json_write(message, &text);
    if (text.err == ATH_ERR_LIMIT_EXCEEDED)
        err = why_set(why, ATH_ERR_INVALID_MESSAGE, "the message is longer than %u bytes",
                      MESSAGE_MAX_LEN);
    else if (text.err != ATH_OK)
        err = text.err;
    else
        err = handshake_message_parse(ath_buf_slice(&text), why, &copy);
    json_free(copy);
    ath_buf_done(&text);
    return err;
}

enum handshake_message_type
handshake_message_type(const struct json *message)
{
    const char *name = json_get_string(message, "type");

    for (size_t i = 0; name != NULL && i < TYPE_COUNT; i++) {
        if (strcmp(TYPES[i].name, name) == 0)
            return TYPES[i].type;
    }
    return MESSAGE_UNKNOWN;
}

const char *
handshake_message_type_name(enum handshake_message_type type)
{
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (TYPES[i].type == type)
            return TYPES[i].name;
    }
    return "unknown";
}

void
handshake_error_put(struct json_maker *message, ath_err err, const struct why *why)
{
    struct json_maker error = {0};

    json_object_begin(&error);
    json_put_string(&error, "code", ath_err_reason(err));
    json_put_string(&error, "message", why_text(why, err));
    json_put_maker(message, "error", &error);
}

ath_err
handshake_error_of_code(const char *code)
{
    /* what a server may refuse with: the peer's messages, the user's no, too often */
    static const int JSON_RPC_CODES[] = {-32009, -32002, -32007};

    for (size_t i = 0; i < sizeof(JSON_RPC_CODES) / sizeof(JSON_RPC_CODES[0]); i++) {
        ath_err err = ath_err_from_wire(JSON_RPC_CODES[i], code);

        if (err != ATH_ERR_INTERNAL)
            return err;
    }
    return ATH_ERR_INVALID_MESSAGE;
}
