/*
 * The nine messages and handshake_retry as plain structs. Everything that needs no knowledge of the
 * handshake's state is checked while decoding: form, types, limits, grammar. Strings and JSON values
 * point into the message, which must outlive the struct; keys and scope lists are owned and freed by
 * x_done. Optional strings are NULL when absent.
 *
 * Every x_decode: ATH_ERR_INVALID_MESSAGE, ATH_ERR_INVALID_NONCE, ATH_ERR_INVALID_PUBLIC_KEY,
 * ATH_ERR_NOMEM; on an error there is nothing to free.
 */
#ifndef PROTOCOL_HANDSHAKE_DECODE_H
#define PROTOCOL_HANDSHAKE_DECODE_H

#include "crypto/public_key.h"
#include "protocol/handshake_message.h"
#include "protocol/scope.h"

#define KEY_EXCHANGE_ALG "ECDH-P256"
#define CIPHER_SUITE "AES-256-GCM"

struct handshake_request { /* M1 */
    const char *client_did;
    struct public_key *client_key;
    const struct json *versions, *capabilities;
    const char *nonce;
    int64_t timestamp;
    const char *audience;
    const char *traceparent, *cookie, *proof; /* optional */
};

struct handshake_response { /* M2 */
    const char *server_did;
    struct public_key *server_key;
    const char *version;
    const struct json *capabilities;
    const char *nonce;
    const char *handshake_id;
    int64_t timestamp;
    const char *signature;
};

struct identity_proof { /* M3 */
    const char *signature;
    const struct json *credentials; /* optional */
    int64_t timestamp;
};

struct identity_result { /* M4 */
    bool success;
    int64_t timestamp;
    struct scope_list scopes_supported; /* with success */
    int64_t token_max_ttl;
    bool require_user_confirmation;
    const char *error_code, *error_message; /* without */
};

struct scope_request { /* M5 */
    struct scope_list scopes;
    int64_t ttl;
    const struct json *credential;
    const char *signature;
    const char *context; /* optional */
    const char *server_did;
    const char *key_share;
    int64_t timestamp;
};

struct confirmation_request { /* M6 */
    const char *request_id;
    const char *client_did;
    const char *client_name, *client_developer; /* optional */
    struct scope_list requested_scopes;
    int64_t expires_at, timestamp;
    const char *traceparent; /* optional */
    const char *user_did;
    const char *server_did;
    struct public_key *server_key, *client_key;
    const char *handshake, *transcript; /* b64u of 32 bytes each */
    const struct json *scope_request;
    const char *context; /* optional */
    int64_t ttl;
    const char *signature;
};

struct confirmation_response { /* M7 */
    const char *request_id;
    bool approved;
    struct scope_list approved_scopes;
    int64_t expires_at, timestamp;
    const char *user_did;
    struct public_key *user_key;
    const char *signature;
};

struct scope_result { /* M8 */
    struct scope_list scopes_granted;   /* empty: refused */
    const struct json *scopes_denied;   /* array of {scope, reason}, checked */
    int64_t ttl_granted;
    const struct json *restrictions;    /* optional object */
    const char *confirmation;           /* optional b64u of 32 bytes */
    const char *error_code, *error_message; /* when refused */
    int64_t timestamp;
};

struct handshake_complete { /* M9 */
    const char *key_share;
    const char *access_token;
    int64_t timestamp;
};

struct handshake_retry {
    const char *cookie;
    bool proof;
    int64_t retry_after, timestamp;
};

ath_err handshake_request_decode(const struct json *message, struct why *why, struct handshake_request *ret_request) ATH_MUST_USE;
void handshake_request_done(struct handshake_request *request);
ath_err handshake_response_decode(const struct json *message, struct why *why, struct handshake_response *ret_response) ATH_MUST_USE;
void handshake_response_done(struct handshake_response *response);
ath_err identity_proof_decode(const struct json *message, struct why *why, struct identity_proof *ret_proof) ATH_MUST_USE;
ath_err identity_result_decode(const struct json *message, struct why *why, struct identity_result *ret_result) ATH_MUST_USE;
void identity_result_done(struct identity_result *result);
ath_err scope_request_decode(const struct json *message, struct why *why, struct scope_request *ret_request) ATH_MUST_USE;
void scope_request_done(struct scope_request *request);
ath_err confirmation_request_decode(const struct json *message, struct why *why, struct confirmation_request *ret_request) ATH_MUST_USE;
void confirmation_request_done(struct confirmation_request *request);
ath_err confirmation_response_decode(const struct json *message, struct why *why, struct confirmation_response *ret_response) ATH_MUST_USE;
void confirmation_response_done(struct confirmation_response *response);
ath_err scope_result_decode(const struct json *message, struct why *why, struct scope_result *ret_result) ATH_MUST_USE;
void scope_result_done(struct scope_result *result);
ath_err handshake_complete_decode(const struct json *message, struct why *why, struct handshake_complete *ret_complete) ATH_MUST_USE;
ath_err handshake_retry_decode(const struct json *message, struct why *why, struct handshake_retry *ret_retry) ATH_MUST_USE;

#endif
