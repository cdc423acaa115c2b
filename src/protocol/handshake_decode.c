#include "protocol/handshake_decode.h"

#include <stddef.h>
#include <string.h>

#include "crypto/key_agreement.h"
#include "protocol/handshake_field.h"

#define ERROR_CODE_MAX_LEN 64
#define ERROR_MESSAGE_MAX_LEN 1024
#define TOKEN_MAX_TTL_MAX INT32_MAX /* what a server says; what it grants is at most TTL_MAX_S */

#define AT(type, member) offsetof(struct type, member)

/* Members that have one permitted value. */
struct constant {
    const char *name, *value;
};

static ath_err
constants_check(const struct constant *constants, size_t count, const struct json *message,
                struct why *why)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = json_get_string(message, constants[i].name);

        if (text == NULL || strcmp(text, constants[i].value) != 0)
            return why_set(why, ATH_ERR_INVALID_MESSAGE, "member \"%s\" is not \"%s\"",
                           constants[i].name, constants[i].value);
    }
    return ATH_OK;
}

/* ---- M1 ---- */

static const struct field REQUEST_FIELDS[] = {
    {.name = "client_did", .kind = FIELD_DID, .offset = AT(handshake_request, client_did)},
    {.name = "client_pubkey", .kind = FIELD_KEY, .offset = AT(handshake_request, client_key)},
    {.name = "versions", .kind = FIELD_STRINGS, .offset = AT(handshake_request, versions),
     .max = VERSIONS_MAX},
    {.name = "capabilities", .kind = FIELD_STRINGS, .offset = AT(handshake_request, capabilities),
     .max = CAPABILITIES_MAX},
    {.name = "nonce", .kind = FIELD_NONCE, .offset = AT(handshake_request, nonce)},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(handshake_request, timestamp)},
    {.name = "audience", .kind = FIELD_TEXT, .offset = AT(handshake_request, audience), .min = 1,
     .max = DID_MAX_LEN},
    {.name = "traceparent", .kind = FIELD_TRACE, .offset = AT(handshake_request, traceparent),
     .optional = true},
    {.name = "cookie", .kind = FIELD_ALPHABET, .offset = AT(handshake_request, cookie),
     .min = COOKIE_MIN_LEN, .max = COOKIE_MAX_LEN, .optional = true},
    {.name = "proof", .kind = FIELD_TEXT, .offset = AT(handshake_request, proof), .min = 1,
     .max = SIGNATURE_TEXT_MAX_LEN, .optional = true},
};

ath_err
handshake_request_decode(const struct json *message, struct why *why,
                         struct handshake_request *ret_request)
{
    *ret_request = (struct handshake_request){0};
    return fields_decode(REQUEST_FIELDS, FIELDS_COUNT(REQUEST_FIELDS), message, why, ret_request);
}

void
handshake_request_done(struct handshake_request *request)
{
    fields_done(REQUEST_FIELDS, FIELDS_COUNT(REQUEST_FIELDS), request);
}

/* ---- M2 ---- */

static const struct field RESPONSE_FIELDS[] = {
    {.name = "server_did", .kind = FIELD_DID, .offset = AT(handshake_response, server_did)},
    {.name = "server_pubkey", .kind = FIELD_KEY, .offset = AT(handshake_response, server_key)},
    {.name = "version", .kind = FIELD_TEXT, .offset = AT(handshake_response, version), .min = 1,
     .max = CAPABILITY_MAX_LEN},
    {.name = "capabilities", .kind = FIELD_STRINGS, .offset = AT(handshake_response, capabilities),
     .max = CAPABILITIES_MAX},
    {.name = "nonce", .kind = FIELD_NONCE, .offset = AT(handshake_response, nonce)},
    {.name = "handshake_id", .kind = FIELD_BASE64, .offset = AT(handshake_response, handshake_id),
     .max = RANDOM_ID_BYTES},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(handshake_response, timestamp)},
    {.name = "signature", .kind = FIELD_TEXT, .offset = AT(handshake_response, signature),
     .max = SIGNATURE_TEXT_MAX_LEN},
};

ath_err
handshake_response_decode(const struct json *message, struct why *why,
                          struct handshake_response *ret_response)
{
    *ret_response = (struct handshake_response){0};
    return fields_decode(RESPONSE_FIELDS, FIELDS_COUNT(RESPONSE_FIELDS), message, why, ret_response);
}

void
handshake_response_done(struct handshake_response *response)
{
    fields_done(RESPONSE_FIELDS, FIELDS_COUNT(RESPONSE_FIELDS), response);
}

/* ---- M3 ---- */

static const struct field PROOF_FIELDS[] = {
    {.name = "signature", .kind = FIELD_TEXT, .offset = AT(identity_proof, signature),
     .max = SIGNATURE_TEXT_MAX_LEN},
    {.name = "credentials", .kind = FIELD_ARRAY, .offset = AT(identity_proof, credentials),
     .optional = true},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(identity_proof, timestamp)},
};

ath_err
identity_proof_decode(const struct json *message, struct why *why, struct identity_proof *ret_proof)
{
    *ret_proof = (struct identity_proof){0};
    return fields_decode(PROOF_FIELDS, FIELDS_COUNT(PROOF_FIELDS), message, why, ret_proof);
}

/* ---- the error of M4 and M8 ---- */

struct refusal {
    const char *code, *message;
};

static const struct field REFUSAL_FIELDS[] = {
    {.name = "code", .kind = FIELD_TEXT, .offset = AT(refusal, code), .min = 1,
     .max = ERROR_CODE_MAX_LEN},
    {.name = "message", .kind = FIELD_TEXT, .offset = AT(refusal, message),
     .max = ERROR_MESSAGE_MAX_LEN},
};

static ath_err
refusal_decode(const struct json *error, struct why *why, const char **ret_code,
               const char **ret_message)
{
    struct refusal refusal = {0};
    ath_err err;

    if (!json_is_object(error))
        return why_set(why, ATH_ERR_INVALID_MESSAGE,
                       "a refusal has an error object with code and message");
    err = fields_decode(REFUSAL_FIELDS, FIELDS_COUNT(REFUSAL_FIELDS), error, why, &refusal);
    if (err != ATH_OK)
        return err;
    *ret_code = refusal.code;
    *ret_message = refusal.message;
    return ATH_OK;
}

/* ---- M4 ---- */

static const struct field RESULT_FIELDS[] = {
    {.name = "success", .kind = FIELD_BOOL, .offset = AT(identity_result, success)},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(identity_result, timestamp)},
};

static const struct field METADATA_FIELDS[] = {
    {.name = "scopes_supported", .kind = FIELD_SCOPES,
     .offset = AT(identity_result, scopes_supported), .min = 1},
    {.name = "token_max_ttl", .kind = FIELD_INT, .offset = AT(identity_result, token_max_ttl),
     .min = 1, .max = TOKEN_MAX_TTL_MAX},
    {.name = "require_user_confirmation", .kind = FIELD_BOOL,
     .offset = AT(identity_result, require_user_confirmation)},
};

ath_err
identity_result_decode(const struct json *message, struct why *why,
                       struct identity_result *ret_result)
{
    const struct json *error = json_get(message, "error"), *metadata = json_get(message, "metadata");
    ath_err err;

    *ret_result = (struct identity_result){0};
    err = fields_decode(RESULT_FIELDS, FIELDS_COUNT(RESULT_FIELDS), message, why, ret_result);
    if (err != ATH_OK)
        return err;
    if (!ret_result->success)
        return refusal_decode(error, why, &ret_result->error_code, &ret_result->error_message);
    if (!json_is_null(error))
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "a success has \"error\":null");
    if (!json_is_object(metadata))
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "member \"metadata\" is not an object");
    return fields_decode(METADATA_FIELDS, FIELDS_COUNT(METADATA_FIELDS), metadata, why, ret_result);
}

void
identity_result_done(struct identity_result *result)
{
    fields_done(METADATA_FIELDS, FIELDS_COUNT(METADATA_FIELDS), result);
}

/* ---- M5 ---- */

static const struct field SCOPE_REQUEST_FIELDS[] = {
    {.name = "scopes", .kind = FIELD_SCOPES, .offset = AT(scope_request, scopes), .min = 1},
    {.name = "ttl", .kind = FIELD_INT, .offset = AT(scope_request, ttl), .min = 1,
     .max = TTL_MAX_S},
    {.name = "context", .kind = FIELD_TEXT, .offset = AT(scope_request, context),
     .max = CONTEXT_MAX_LEN, .optional = true},
    {.name = "server_did", .kind = FIELD_DID, .offset = AT(scope_request, server_did)},
    {.name = "key_exchange_params", .kind = FIELD_TEXT, .offset = AT(scope_request, key_share),
     .max = CAPABILITY_MAX_LEN + KEY_SHARE_TEXT_LEN},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(scope_request, timestamp)},
};

static const struct field AUTHORIZATION_FIELDS[] = {
    {.name = "credential", .kind = FIELD_ANY, .offset = AT(scope_request, credential)},
    {.name = "signature", .kind = FIELD_TEXT, .offset = AT(scope_request, signature),
     .max = SIGNATURE_TEXT_MAX_LEN},
};

static const struct constant SCOPE_REQUEST_CONSTANTS[] = {
    {"key_exchange_alg", KEY_EXCHANGE_ALG},
};

static ath_err
scope_request_rest(const struct json *message, struct why *why, struct scope_request *request)
{
    const struct json *authorization = json_get(message, "user_authorization");
    ath_err err = constants_check(SCOPE_REQUEST_CONSTANTS, FIELDS_COUNT(SCOPE_REQUEST_CONSTANTS),
                                  message, why);

    if (err != ATH_OK)
        return err;
    if (!json_is_object(authorization))
        return why_set(why, ATH_ERR_INVALID_MESSAGE,
                       "member \"user_authorization\" is not an object");
    err = fields_decode(AUTHORIZATION_FIELDS, FIELDS_COUNT(AUTHORIZATION_FIELDS), authorization, why,
                        request);
    if (err != ATH_OK)
        return err;
    if (json_string(request->credential) == NULL && !json_is_object(request->credential))
        return why_set(why, ATH_ERR_INVALID_MESSAGE,
                       "member \"credential\" is neither a string nor an object");
    return ATH_OK;
}

ath_err
scope_request_decode(const struct json *message, struct why *why, struct scope_request *ret_request)
{
    ath_err err;

    *ret_request = (struct scope_request){0};
    err = fields_decode(SCOPE_REQUEST_FIELDS, FIELDS_COUNT(SCOPE_REQUEST_FIELDS), message, why,
                        ret_request);
    if (err != ATH_OK)
        return err;
    if ((err = scope_request_rest(message, why, ret_request)) != ATH_OK)
        scope_request_done(ret_request);
    return err;
}

void
scope_request_done(struct scope_request *request)
{
    fields_done(SCOPE_REQUEST_FIELDS, FIELDS_COUNT(SCOPE_REQUEST_FIELDS), request);
}

/* ---- M8 ---- */

static const struct field SCOPE_RESULT_FIELDS[] = {
    {.name = "scopes_granted", .kind = FIELD_SCOPES, .offset = AT(scope_result, scopes_granted),
     .min = 0},
    {.name = "scopes_denied", .kind = FIELD_ARRAY, .offset = AT(scope_result, scopes_denied)},
    {.name = "ttl_granted", .kind = FIELD_INT, .offset = AT(scope_result, ttl_granted), .min = 0,
     .max = TTL_MAX_S},
    {.name = "restrictions", .kind = FIELD_OBJECT, .offset = AT(scope_result, restrictions),
     .optional = true},
    {.name = "confirmation", .kind = FIELD_BASE64, .offset = AT(scope_result, confirmation),
     .max = 32, .optional = true},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(scope_result, timestamp)},
};

static ath_err
denied_check(const struct scope_result *result, struct why *why)
{
    if (json_count(result->scopes_denied) > SCOPES_MAX)
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "too many scopes are denied");
    for (const struct json *item = json_first(result->scopes_denied); item != NULL;
         item = json_next(item)) {
        const char *scope = json_get_string(item, "scope");
        const char *reason = json_get_string(item, "reason");

        if (scope == NULL || !scope_is_valid(scope) || reason == NULL ||
            strlen(reason) > ERROR_CODE_MAX_LEN)
            return why_set(why, ATH_ERR_INVALID_MESSAGE, "a denied scope has a scope and a reason");
        if (scope_list_has(&result->scopes_granted, scope))
            return why_set(why, ATH_ERR_INVALID_MESSAGE, "scope %s is both granted and denied",
                           scope);
    }
    return ATH_OK;
}

static ath_err
scope_result_rest(const struct json *message, struct why *why, struct scope_result *result)
{
    const struct json *error = json_get(message, "error");
    ath_err err;

    if ((err = denied_check(result, why)) != ATH_OK)
        return err;
    if (result->scopes_granted.count == 0) {
        if (result->ttl_granted != 0)
            return why_set(why, ATH_ERR_INVALID_MESSAGE, "a refusal has \"ttl_granted\":0");
        return refusal_decode(error, why, &result->error_code, &result->error_message);
    }
    if (error != NULL && !json_is_null(error))
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "an error beside granted scopes");
    if (result->ttl_granted == 0)
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "scopes are granted for no time");
    return ATH_OK;
}

ath_err
scope_result_decode(const struct json *message, struct why *why, struct scope_result *ret_result)
{
    ath_err err;

    *ret_result = (struct scope_result){0};
    err = fields_decode(SCOPE_RESULT_FIELDS, FIELDS_COUNT(SCOPE_RESULT_FIELDS), message, why,
                        ret_result);
    if (err != ATH_OK)
        return err;
    if ((err = scope_result_rest(message, why, ret_result)) != ATH_OK)
        scope_result_done(ret_result);
    return err;
}

void
scope_result_done(struct scope_result *result)
{
    fields_done(SCOPE_RESULT_FIELDS, FIELDS_COUNT(SCOPE_RESULT_FIELDS), result);
}

/* ---- M9 ---- */

static const struct field COMPLETE_FIELDS[] = {
    {.name = "key_exchange_params", .kind = FIELD_TEXT, .offset = AT(handshake_complete, key_share),
     .max = CAPABILITY_MAX_LEN + KEY_SHARE_TEXT_LEN},
    {.name = "access_token", .kind = FIELD_TEXT, .offset = AT(handshake_complete, access_token),
     .min = 1, .max = JWS_MAX_LEN},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(handshake_complete, timestamp)},
};

static const struct constant COMPLETE_CONSTANTS[] = {
    {"key_exchange_alg", KEY_EXCHANGE_ALG},
    {"cipher_suite", CIPHER_SUITE},
};

ath_err
handshake_complete_decode(const struct json *message, struct why *why,
                          struct handshake_complete *ret_complete)
{
    ath_err err;

    *ret_complete = (struct handshake_complete){0};
    err = constants_check(COMPLETE_CONSTANTS, FIELDS_COUNT(COMPLETE_CONSTANTS), message, why);
    if (err != ATH_OK)
        return err;
    return fields_decode(COMPLETE_FIELDS, FIELDS_COUNT(COMPLETE_FIELDS), message, why, ret_complete);
}

/* ---- handshake_retry ---- */

static const struct field RETRY_FIELDS[] = {
    {.name = "cookie", .kind = FIELD_ALPHABET, .offset = AT(handshake_retry, cookie),
     .min = COOKIE_MIN_LEN, .max = COOKIE_MAX_LEN},
    {.name = "proof", .kind = FIELD_BOOL, .offset = AT(handshake_retry, proof)},
    {.name = "retry_after", .kind = FIELD_INT, .offset = AT(handshake_retry, retry_after), .min = 0,
     .max = RETRY_AFTER_MAX_S},
    {.name = "timestamp", .kind = FIELD_TIME, .offset = AT(handshake_retry, timestamp)},
};

ath_err
handshake_retry_decode(const struct json *message, struct why *why, struct handshake_retry *ret_retry)
{
    *ret_retry = (struct handshake_retry){0};
    return fields_decode(RETRY_FIELDS, FIELDS_COUNT(RETRY_FIELDS), message, why, ret_retry);
}
