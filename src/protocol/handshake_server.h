/* The server's machine: steps 1, 3, 5, 7 in; 2, 4, 6, 8, 9 out (profile section 5). */
#ifndef PROTOCOL_HANDSHAKE_SERVER_H
#define PROTOCOL_HANDSHAKE_SERVER_H

#include "protocol/confirmation.h"
#include "protocol/handshake.h"
#include "protocol/handshake_cookie.h"
#include "protocol/service.h"

struct handshake_server;

struct handshake_server_config {
    const struct service *service; /* borrowed: must outlive the machine */
    const char *server_did;        /* copied */
    const struct public_key *server_key;
    const struct did_pins *pins;    /* borrowed: must outlive the machine */
    struct confirmation_gate *gate; /* borrowed: must outlive the machine */
    /* names from the server's own pins or service for M6's client_info; may be NULL; copied */
    const char *client_name, *client_developer;
};

/* What must be known before a signature is spent on M2: M1 was checked for all that costs none. */
struct handshake_hello {
    char *client_did;              /* owned */
    struct public_key *client_key; /* owned */
    struct json *message;          /* M1; owned */
    const char *cookie;            /* points into message; NULL: none */
    bool has_proof;
    uint8_t hash[SHA256_LEN];      /* H(JCS(M1)): the same M1 is answered by the same M2 */
};

/* Checks M1's form, timestamp, audience, capabilities, version, DID against key. Refusals are returned
 * as errors -32009. A client that no rule names is refused after M3, by M4. */
ath_err handshake_server_hello(const struct handshake_server_config *config, const struct json *message,
                               int64_t now, struct why *why, struct handshake_hello *ret_hello) ATH_MUST_USE;
/* The `proof` of M1 (label client-hello over T0). ATH_ERR_INVALID_SIGNATURE, also if there is none. */
ath_err handshake_hello_check_proof(const struct handshake_hello *hello) ATH_MUST_USE;
void handshake_hello_done(struct handshake_hello *hello);

/* Takes the hello (emptied); need is SIGNATURE for M2. ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err handshake_server_start(const struct handshake_server_config *config, struct handshake_hello *hello,
                               int64_t now, struct handshake_server **ret_server,
                               struct handshake_need *need) ATH_MUST_USE;
/* An M6 that nobody answered stays open at the gate until it expires; then a pause follows. */
void handshake_server_free(struct handshake_server *server);

/*
 * `need` is empty before. M3, M5, M7, or the last message again. Refusals: need FAILED and ATH_OK here,
 * with an M4 or M8 in send where the profile has one. After M5 with confirmation: SIGNATURE, then
 * CONFIRM. Errors are our own, as at the client: ATH_ERR_NOMEM, ATH_ERR_CRYPTO (the handshake has
 * failed), ATH_ERR_INVALID_PARAMS (the call does not fit the state: a signature is awaited).
 */
ath_err handshake_server_receive(struct handshake_server *server, const struct json *message, int64_t now,
                                 struct handshake_need *need) ATH_MUST_USE;
ath_err handshake_server_signed(struct handshake_server *server, struct ath_slice signature, int64_t now,
                                struct handshake_need *need) ATH_MUST_USE;
/* Ends it from outside. With HANDSHAKE_TIMEOUT an open M6 was met by silence (a pause follows), else it
 * is void. */
void handshake_server_fail(struct handshake_server *server, ath_err err, const char *why);

/* When it ends as HANDSHAKE_TIMEOUT: 60 s while half open, then 120 s, and the time from M6 to its
 * expires_at does not count; 0 when it has ended. */
int64_t handshake_server_deadline(const struct handshake_server *server);
bool handshake_server_is_expired(const struct handshake_server *server, int64_t now);
bool handshake_server_is_half_open(const struct handshake_server *server); /* no valid M3 yet */
const char *handshake_server_id(const struct handshake_server *server); /* M2's handshake_id */
const char *handshake_server_state(const struct handshake_server *server); /* "waiting" "confirm" "done" "failed" */
/* T5, which names the handshake on all three sides (M6's `handshake`); NULL before a good M5. 32 bytes. */
const uint8_t *handshake_server_t5(const struct handshake_server *server);
const char *handshake_server_client_did(const struct handshake_server *server);
const char *handshake_server_user_did(const struct handshake_server *server); /* NULL before M5 */
const char *handshake_server_traceparent(const struct handshake_server *server); /* M1's; NULL */
/* After DONE, once: moves the result out. */
void handshake_server_take_result(struct handshake_server *server, struct handshake_result *ret_result);

#endif
