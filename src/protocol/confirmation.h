/* Steps 6 and 7: the user's side, and the server's memory of whom it may ask again when. */
#ifndef PROTOCOL_CONFIRMATION_H
#define PROTOCOL_CONFIRMATION_H

#include "protocol/handshake.h"

/* ---- the user's side: M6 in, M7 out ---- */
struct confirmation;

struct confirmation_view { /* what the person is shown; borrowed from the confirmation */
    const char *server_did, *client_did, *user_did;
    const char *client_name, *client_developer; /* strangers' words, may be NULL: quote them */
    const char *context;                         /* a stranger's words, may be NULL */
    const struct scope_list *scopes;
    int64_t ttl, expires_at; /* expires_at: last moment for the answer */
    const char *handshake;   /* b64u(T5) */
    const char *request_id;
    const char *traceparent; /* NULL: none */
};

/* Checks everything of profile section 5, step 6. polled_server_did may be NULL (not asked).
 * ATH_ERR_INVALID_MESSAGE, UNKNOWN_PEER, PEER_KEY_CHANGED, INVALID_SIGNATURE, INVALID_CREDENTIAL,
 * TIMESTAMP_SKEW, SCOPE_NOT_APPROVED, INVALID_PUBLIC_KEY. The message is copied. */
ath_err confirmation_open(const struct json *m6, const char *user_did, const struct public_key *user_key,
                          const char *polled_server_did, const struct did_pins *pins, int64_t now,
                          struct why *why, struct confirmation **ret_confirmation) ATH_MUST_USE;
void confirmation_view(const struct confirmation *confirmation, struct confirmation_view *ret_view);

/* The answer: approved_scopes is a subset (NULL: all requested; ignored on a refusal). Gives what the
 * user's key signs. ATH_ERR_CONSENT_TIMEOUT if now is past expires_at. */
ath_err confirmation_answer(struct confirmation *confirmation, bool approved,
                            const struct scope_list *approved_scopes, int64_t now,
                            struct ath_buf *to_sign) ATH_MUST_USE;
/* M7; *ret_m7 belongs to the caller. */
ath_err confirmation_signed(struct confirmation *confirmation, struct ath_slice signature,
                            struct json **ret_m7) ATH_MUST_USE;
void confirmation_free(struct confirmation *confirmation);

/* ---- the server's side: one open M6 a user and client; pauses after refusal or silence ---- */
struct confirmation_gate;

enum confirmation_end {
    CONFIRMATION_APPROVED,  /* the pause is forgotten */
    CONFIRMATION_REFUSED,   /* or silence: 60 s, doubled each time, at most an hour */
    CONFIRMATION_VOID,      /* never shown, or answered by nothing that holds: no pause */
};

ath_err confirmation_gate_new(struct confirmation_gate **ret_gate) ATH_MUST_USE;
void confirmation_gate_free(struct confirmation_gate *gate); /* NULL is fine */
/* May this user be asked for this client now? If so it is open until closed, or until expires_at (then
 * a pause follows). ATH_ERR_RATE_LIMITED and *ret_retry_after_s. ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM. */
ath_err confirmation_gate_open(struct confirmation_gate *gate, const char *user_did, const char *client_did,
                               int64_t now, int64_t expires_at, int64_t *ret_retry_after_s) ATH_MUST_USE;
/* expires_at is the one it was opened with: nothing happens where that M6 is no longer open, so a
 * handshake that outlives its own question does not end the next one's. */
void confirmation_gate_close(struct confirmation_gate *gate, const char *user_did, const char *client_did,
                             int64_t expires_at, int64_t now, enum confirmation_end end);

#endif
