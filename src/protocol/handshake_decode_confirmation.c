/* M6 and M7, the messages of the user's channel, as plain structs. */
#include <stddef.h>
#include <string.h>

#include "base/base64url.h"
#include "protocol/handshake_decode.h"
#include "protocol/handshake_field.h"

#define REQUEST_ID_PREFIX "req_"
#define NAME_TEXT_MAX_LEN 1024 /* strangers' words; what is shown is cut to 256 characters */

#define AT(type, member) offsetof(struct type, member)

/* ---- M6 ---- */

static const struct field CONFIRMATION_FIELDS[] = {
    {.name = "request_id", .kind = FIELD_TEXT, .offset = AT(confirmation_request, request_id),
     .max = CAPABILITY_MAX_LEN},
    {.name = "client_did", .kind = FIELD_DID, .offset = AT(confirmation_request, client_did)},
    {.name = "requested_scopes", .kind = FIELD_SCOPES,
     .offset = AT(confirmation_request, requested_scopes), .min = 1},
    {.name = "expires_at", .kind = FIELD_TIME, .offset = AT(confirmation_request, expires_at)},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(confirmation_request, timestamp)},
    {.name = "traceparent", .kind = FIELD_TRACE, .offset = AT(confirmation_request, traceparent),
     .optional = true},
    {.name = "user_did", .kind = FIELD_DID, .offset = AT(confirmation_request, user_did)},
    {.name = "server_did", .kind = FIELD_DID, .offset = AT(confirmation_request, server_did)},
    {.name = "server_pubkey", .kind = FIELD_KEY, .offset = AT(confirmation_request, server_key)},
    {.name = "client_pubkey", .kind = FIELD_KEY, .offset = AT(confirmation_request, client_key)},
    {.name = "handshake", .kind = FIELD_BASE64, .offset = AT(confirmation_request, handshake),
     .max = 32},
    {.name = "transcript", .kind = FIELD_BASE64, .offset = AT(confirmation_request, transcript),
     .max = 32},
    {.name = "scope_request", .kind = FIELD_OBJECT,
     .offset = AT(confirmation_request, scope_request)},
    {.name = "context", .kind = FIELD_TEXT, .offset = AT(confirmation_request, context),
     .max = CONTEXT_MAX_LEN, .optional = true},
    {.name = "ttl", .kind = FIELD_INT, .offset = AT(confirmation_request, ttl), .min = 1,
     .max = TTL_MAX_S},
    {.name = "signature", .kind = FIELD_TEXT, .offset = AT(confirmation_request, signature),
     .max = SIGNATURE_TEXT_MAX_LEN},
};

static const struct field CLIENT_INFO_FIELDS[] = {
    {.name = "name", .kind = FIELD_TEXT, .offset = AT(confirmation_request, client_name),
     .max = NAME_TEXT_MAX_LEN, .optional = true},
    {.name = "developer", .kind = FIELD_TEXT, .offset = AT(confirmation_request, client_developer),
     .max = NAME_TEXT_MAX_LEN, .optional = true},
};

static bool
request_id_is_valid(const char *request_id)
{
    size_t prefix_len = sizeof(REQUEST_ID_PREFIX) - 1;
    uint8_t bytes[RANDOM_ID_BYTES];

    return strncmp(request_id, REQUEST_ID_PREFIX, prefix_len) == 0 &&
           base64url_decode_exact(ath_slice_of_string(request_id + prefix_len), bytes,
                                  sizeof(bytes)) == ATH_OK;
}

static ath_err
confirmation_request_rest(const struct json *message, struct why *why,
                          struct confirmation_request *request)
{
    const struct json *info = json_get(message, "client_info");

    if (!request_id_is_valid(request->request_id))
        return why_set(why, ATH_ERR_INVALID_MESSAGE,
                       "a request_id is req_ and 22 characters of base64url");
    if (info == NULL)
        return ATH_OK;
    if (!json_is_object(info))
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "member \"client_info\" is not an object");
    return fields_decode(CLIENT_INFO_FIELDS, FIELDS_COUNT(CLIENT_INFO_FIELDS), info, why, request);
}

ath_err
confirmation_request_decode(const struct json *message, struct why *why,
                            struct confirmation_request *ret_request)
{
    ath_err err;

    *ret_request = (struct confirmation_request){0};
    err = fields_decode(CONFIRMATION_FIELDS, FIELDS_COUNT(CONFIRMATION_FIELDS), message, why,
                        ret_request);
    if (err != ATH_OK)
        return err;
    if ((err = confirmation_request_rest(message, why, ret_request)) != ATH_OK)
        confirmation_request_done(ret_request);
    return err;
}

void
confirmation_request_done(struct confirmation_request *request)
{
    fields_done(CONFIRMATION_FIELDS, FIELDS_COUNT(CONFIRMATION_FIELDS), request);
}

/* ---- M7 ---- */

static const struct field ANSWER_FIELDS[] = {
    {.name = "request_id", .kind = FIELD_TEXT, .offset = AT(confirmation_response, request_id),
     .max = CAPABILITY_MAX_LEN},
    {.name = "approved", .kind = FIELD_BOOL, .offset = AT(confirmation_response, approved)},
    {.name = "approved_scopes", .kind = FIELD_SCOPES,
     .offset = AT(confirmation_response, approved_scopes), .min = 0},
    {.name = "expires_at", .kind = FIELD_TIME, .offset = AT(confirmation_response, expires_at)},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(confirmation_response, timestamp)},
    {.name = "user_did", .kind = FIELD_DID, .offset = AT(confirmation_response, user_did)},
    {.name = "user_pubkey", .kind = FIELD_KEY, .offset = AT(confirmation_response, user_key)},
    {.name = "signature", .kind = FIELD_TEXT, .offset = AT(confirmation_response, signature),
     .max = SIGNATURE_TEXT_MAX_LEN},
};

static ath_err
confirmation_response_rest(struct why *why, const struct confirmation_response *response)
{
    if (response->approved && response->approved_scopes.count == 0)
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "a consent names at least one scope");
    if (!response->approved && response->approved_scopes.count != 0)
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "a refusal approves no scope");
    if (!response->approved && response->expires_at != response->timestamp)
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "a refusal's expires_at is its timestamp");
    return ATH_OK;
}

ath_err
confirmation_response_decode(const struct json *message, struct why *why,
                             struct confirmation_response *ret_response)
{
    ath_err err;

    *ret_response = (struct confirmation_response){0};
    err = fields_decode(ANSWER_FIELDS, FIELDS_COUNT(ANSWER_FIELDS), message, why, ret_response);
    if (err != ATH_OK)
        return err;
    if ((err = confirmation_response_rest(why, ret_response)) != ATH_OK)
        confirmation_response_done(ret_response);
    return err;
}

void
confirmation_response_done(struct confirmation_response *response)
{
    fields_done(ANSWER_FIELDS, FIELDS_COUNT(ANSWER_FIELDS), response);
}
