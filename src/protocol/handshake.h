/*
 * What the three roles' machines share. A machine does no I/O: a message, a signature, a user's
 * answer and the time go in; a *need* comes out. After each call the owner does what the need says
 * and comes back with the result:
 *
 *   receive(message) ─▶ need ─┬ SIGNATURE ─▶ (hardware) ─▶ signed(signature) ─▶ need ...
 *                             ├ TRUST, GRANT (client) ─▶ (the user) ─▶ trusted() / grant() ─▶ need ...
 *                             ├ SEND   : messages for the peer; wait for its next one
 *                             ├ CONFIRM: (server) M6 for the user's channel; wait for M7
 *                             ├ DONE   : messages for the peer (server) and the result
 *                             └ FAILED : err and why; a message for the peer where the profile has one
 */
#ifndef PROTOCOL_HANDSHAKE_H
#define PROTOCOL_HANDSHAKE_H

#include "base/json.h"
#include "crypto/digest.h"
#include "crypto/public_key.h"
#include "protocol/did.h"
#include "protocol/purpose.h"
#include "protocol/scope.h"
#include "protocol/session_keys.h"

enum handshake_need_kind {
    HANDSHAKE_NEED_SIGNATURE,
    HANDSHAKE_NEED_TRUST,
    HANDSHAKE_NEED_GRANT,
    HANDSHAKE_NEED_SEND,
    HANDSHAKE_NEED_CONFIRM,
    HANDSHAKE_NEED_DONE,
    HANDSHAKE_NEED_FAILED,
};

#define HANDSHAKE_MESSAGES_MAX 2

/* Zero-initialise; handshake_need_done frees what it owns. */
struct handshake_need {
    enum handshake_need_kind kind;
    /* SEND, DONE, FAILED (M4 or M8, or none): in order; owned */
    struct json *send[HANDSHAKE_MESSAGES_MAX];
    size_t send_count;
    struct json *confirm;      /* CONFIRM: M6; owned */
    enum sign_purpose purpose; /* SIGNATURE */
    struct ath_buf to_sign;    /* SIGNATURE: the whole message for the hardware */
    ath_err err;               /* FAILED */
    struct why why;            /* FAILED */
    bool refused_by_message;   /* FAILED: the refusal itself is the answer (an M8 of ours at the
                                  server); the call succeeded. Else the call failed with err. */
    bool repeated;             /* SEND, DONE: an answer made before, given again */
    int64_t wait_s;            /* SEND (client, after handshake_retry): wait so long first */
};

void handshake_need_done(struct handshake_need *need);

/* What a finished handshake leaves. Zero-initialise; owned. */
struct handshake_result {
    char *peer_did;
    struct public_key *peer_key;
    char *user_did;
    struct scope_decision scopes;
    int64_t expires_at;
    struct json *restrictions;   /* NULL: none */
    struct ath_buf access_token; /* client: the token; server: the same, for token.verify's tests */
    uint8_t transcript[SHA256_LEN]; /* ath_th */
    uint8_t t5[SHA256_LEN];         /* joins the audit records of three parties */
    struct session_keys keys;       /* taken by the session */
};

void handshake_result_done(struct handshake_result *result);

/* ---- transcript (profile section 4) ---- */
void transcript_start(uint8_t ret_t0[SHA256_LEN]);                     /* H("ATH-TB1") */
/* T(n) = H(T(n-1) || H(JCS(message))), in place. */
ath_err transcript_add(uint8_t t[SHA256_LEN], const struct json *message) ATH_MUST_USE;
/* "ATH-TB1 " label " " b64u(t) " " b64u(H(JCS(message))) ; message is without its signature member. */
ath_err handshake_string(const char *label, const uint8_t t[SHA256_LEN], const struct json *message,
                         struct ath_buf *out) ATH_MUST_USE;
/* Verifies `signature` (text as it stood in the message) over that string. Batch form is accepted when
 * allow_batch. ATH_ERR_INVALID_SIGNATURE, ATH_ERR_NOMEM. */
ath_err handshake_signature_verify(const struct public_key *key, const char *label,
                                   const uint8_t t[SHA256_LEN], const struct json *message,
                                   const char *signature, bool allow_batch) ATH_MUST_USE;

#endif
