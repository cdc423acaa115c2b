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
#include "protocol/handshake_transcript.h"
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
    bool repeated;             /* an answer made before, given again: the last message came twice */
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
    struct ath_buf access_token; /* both sides; only the client's caller is shown it */
    uint8_t transcript[SHA256_LEN]; /* ath_th */
    uint8_t t5[SHA256_LEN];         /* joins the audit records of three parties */
    struct session_keys keys;       /* taken by the session */
};

void handshake_result_done(struct handshake_result *result);

/* ---- for the machines: filling a need (which is empty before) ---- */
void handshake_need_fail(struct handshake_need *need, ath_err err, const struct why *why);
/* SIGNATURE over the string of section 4 (the purpose's text is the label); message is without its
 * signature member. ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err handshake_need_signature(struct handshake_need *need, enum sign_purpose purpose,
                                 const uint8_t t[SHA256_LEN], const struct json *message) ATH_MUST_USE;
/* Adds a message (copied) to what is sent. ATH_ERR_NOMEM. */
ath_err handshake_need_add(struct handshake_need *need, const struct json *message) ATH_MUST_USE;
/* A whole copy into an empty need. ATH_ERR_NOMEM, and ret_need stays empty. */
ath_err handshake_need_copy(const struct handshake_need *need, struct handshake_need *ret_need) ATH_MUST_USE;

/* Ours (out of memory, a library call) rather than the peer's doing. */
bool handshake_err_is_own(ath_err err);

/* A peer's timestamp: at most 300 s from ours. ATH_ERR_TIMESTAMP_SKEW. */
ath_err handshake_timestamp_check(int64_t timestamp, int64_t now, struct why *why) ATH_MUST_USE;
/* "name": the key as PEM. */
void handshake_put_key(struct json_maker *message, const char *name, const struct public_key *key);
/* "name": the list as an array. */
void handshake_put_scopes(struct json_maker *message, const char *name, const struct scope_list *list);
/* Capabilities as we write them, and whether a peer's have ATH-TB1. */
void handshake_put_capabilities(struct json_maker *message);
bool handshake_has_profile(const struct json *capabilities);
#define HANDSHAKE_VERSION "0.1" /* the one version of the protocol there is */

#endif
