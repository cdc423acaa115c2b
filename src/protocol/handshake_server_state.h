/* Inside the server's machine: its state, and the steps that its table calls. */
#ifndef PROTOCOL_HANDSHAKE_SERVER_STATE_H
#define PROTOCOL_HANDSHAKE_SERVER_STATE_H

#include "base/base64url.h"
#include "crypto/key_agreement.h"
#include "protocol/handshake_decode.h"
#include "protocol/handshake_memory.h"
#include "protocol/handshake_server.h"
#include "protocol/user_grant.h"

enum server_state {
    SERVER_SIGN_RESPONSE, /* M2 */
    SERVER_WAIT_PROOF,
    SERVER_WAIT_SCOPE_REQUEST,
    SERVER_SIGN_CONFIRMATION, /* M6 */
    SERVER_WAIT_CONFIRMATION,
    SERVER_SIGN_TOKEN, /* M9 */
    SERVER_DONE,
    SERVER_FAILED,
};

#define REQUEST_ID_PREFIX "req_"
#define REQUEST_ID_LEN (sizeof(REQUEST_ID_PREFIX) - 1 + BASE64URL_LEN(RANDOM_ID_BYTES))

/* Steps 6 and 7 of one handshake. */
struct server_confirmation {
    bool open; /* at the gate */
    char request_id[REQUEST_ID_LEN + 1];
    int64_t asked_at, expires_at, ttl;
    struct scope_list requested;
    uint8_t u[SHA256_LEN]; /* U6, then U7 */
    bool answered;         /* M7 held: u is U7 */
    struct scope_list approved;
    int64_t access_ends_at; /* M7's expires_at */
};

struct handshake_server {
    enum server_state state;

    const struct service *service; /* borrowed, as handshake_server_config says */
    const struct did_pins *pins;   /* borrowed */
    struct confirmation_gate *gate; /* borrowed */
    char *server_did;
    struct public_key *server_key;
    char *client_name, *client_developer; /* may be NULL */

    char *client_did;
    struct public_key *client_key;
    char *traceparent; /* NULL: none */
    char handshake_id[BASE64URL_LEN(RANDOM_ID_BYTES) + 1];
    int64_t started_at;
    struct json *draft; /* what waits for its signature, without it */
    uint8_t t[SHA256_LEN];
    uint8_t t4[SHA256_LEN], t5[SHA256_LEN];
    bool has_t5;

    /* M5 */
    struct scope_list requested;
    int64_t ttl;
    struct user_grant grant;
    struct ath_secret z;
    char share[KEY_SHARE_TEXT_LEN + 1]; /* ours */
    struct scope_decision decision;
    struct server_confirmation confirmation;

    /* M8 and M9 */
    struct json *scope_result;
    struct ath_buf token_input; /* what is signed for the access token */
    int64_t token_expires_at;

    struct handshake_memory client_memory, user_memory; /* one a channel */
    struct handshake_result result;
};

static inline int64_t
server_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Steps: ATH_OK and a need, a refusal of the peer's message (ends the handshake), or an error of our own. */

ath_err server_response(struct handshake_server *server, int64_t now, struct handshake_need *need) ATH_MUST_USE;
ath_err server_response_signed(struct handshake_server *server, struct ath_slice signature,
                               struct handshake_need *need) ATH_MUST_USE;
ath_err server_on_proof(struct handshake_server *server, const struct json *message, int64_t now,
                        struct why *why, struct handshake_need *need) ATH_MUST_USE;
ath_err server_on_scope_request(struct handshake_server *server, const struct json *message, int64_t now,
                                struct why *why, struct handshake_need *need) ATH_MUST_USE;
/* M6 for this M5: the gate is asked, then SIGNATURE. */
ath_err server_confirm(struct handshake_server *server, const struct json *scope_request, int64_t now,
                       struct why *why, struct handshake_need *need) ATH_MUST_USE;
ath_err server_confirm_signed(struct handshake_server *server, struct ath_slice signature,
                              struct handshake_need *need) ATH_MUST_USE;
ath_err server_on_confirmation(struct handshake_server *server, const struct json *message, int64_t now,
                               struct why *why, struct handshake_need *need) ATH_MUST_USE;
/* M8 and M9 from what was decided: SIGNATURE for the token, or the refusal. */
ath_err server_finish(struct handshake_server *server, int64_t now, struct why *why,
                      struct handshake_need *need) ATH_MUST_USE;
ath_err server_token_signed(struct handshake_server *server, struct ath_slice signature,
                            struct handshake_need *need) ATH_MUST_USE;

/* A refusal that is our answer: M8 with err, no M9; state becomes FAILED. */
ath_err server_refuse(struct handshake_server *server, ath_err err, const struct why *why, int64_t now,
                      struct handshake_need *need) ATH_MUST_USE;
/* Puts the M4 or M8 that tells the client of err into need. ATH_ERR_NOMEM. */
ath_err server_add_identity_failure(ath_err err, const struct why *why, int64_t now,
                                    struct handshake_need *need) ATH_MUST_USE;
ath_err server_add_scope_refusal(const struct handshake_server *server, ath_err err, const struct why *why,
                                 int64_t now, struct handshake_need *need) ATH_MUST_USE;
void server_close_gate(struct handshake_server *server, int64_t now, enum confirmation_end end);

#endif
