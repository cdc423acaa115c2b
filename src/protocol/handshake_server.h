/* The server's machine: steps 1, 3, 5, 7 in; 2, 4, 6, 8, 9 out (profile section 5). */
#ifndef PROTOCOL_HANDSHAKE_SERVER_H
#define PROTOCOL_HANDSHAKE_SERVER_H

#include "protocol/confirmation.h"
#include "protocol/handshake.h"
#include "protocol/handshake_cookie.h"
#include "protocol/service.h"

struct handshake_server;

struct handshake_server_config { /* borrowed; service and gate must outlive the machine */
    const struct service *service; /* copied rules are not needed: athd keeps a service while used */
    const char *server_did;
    const struct public_key *server_key;
    const struct did_pins *pins;
    struct confirmation_gate *gate;
    /* names from the server's own pins or service for M6's client_info; may be NULL */
    const char *client_name, *client_developer;
};

/* What must be known before a signature is spent on M2: M1 was checked for all that costs none. */
struct handshake_hello {
    char *client_did;      /* owned */
    struct json *message;  /* M1; owned */
    const char *cookie;    /* points into message; NULL: none */
    bool has_proof;
};

/* Checks M1's form, timestamp, audience, capabilities, version, DID against key; the client is named
 * by a rule (all listed: refused here with UNKNOWN_PEER). Refusals are returned as errors -32009. */
ath_err handshake_server_hello(const struct handshake_server_config *config, const struct json *message,
                               int64_t now, struct why *why, struct handshake_hello *ret_hello) ATH_MUST_USE;
/* The `proof` of M1 (label client-hello over T0). ATH_ERR_INVALID_SIGNATURE. */
ath_err handshake_hello_check_proof(const struct handshake_hello *hello) ATH_MUST_USE;
void handshake_hello_done(struct handshake_hello *hello);

/* Takes the hello (emptied); need is SIGNATURE for M2. */
ath_err handshake_server_start(const struct handshake_server_config *config, struct handshake_hello *hello,
                               int64_t now, struct handshake_server **ret_server,
                               struct handshake_need *need) ATH_MUST_USE;
void handshake_server_free(struct handshake_server *server); /* closes an open M6 at the gate */

/* M3, M5, M7. Refusals: need FAILED. After M5 with confirmation: SIGNATURE, then CONFIRM. */
ath_err handshake_server_receive(struct handshake_server *server, const struct json *message, int64_t now,
                                 struct handshake_need *need) ATH_MUST_USE;
ath_err handshake_server_signed(struct handshake_server *server, struct ath_slice signature, int64_t now,
                                struct handshake_need *need) ATH_MUST_USE;
void handshake_server_fail(struct handshake_server *server, ath_err err, const char *why);

int64_t handshake_server_deadline(const struct handshake_server *server);
bool handshake_server_is_expired(const struct handshake_server *server, int64_t now);
bool handshake_server_is_half_open(const struct handshake_server *server); /* no valid M3 yet */
/* Silence: called when M6's expires_at has passed without M7; closes the gate with a pause. */
const char *handshake_server_id(const struct handshake_server *server); /* M2's handshake_id */
const char *handshake_server_state(const struct handshake_server *server); /* "waiting" "confirm" "done" "failed" */
const char *handshake_server_client_did(const struct handshake_server *server);
const char *handshake_server_user_did(const struct handshake_server *server); /* NULL before M5 */
const char *handshake_server_traceparent(const struct handshake_server *server); /* M1's; NULL */
void handshake_server_take_result(struct handshake_server *server, struct handshake_result *ret_result);

#endif
