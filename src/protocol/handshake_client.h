/* The client's machine: steps 1, 3, 5 out; 2, 4, 8, 9 in (profile section 5). */
#ifndef PROTOCOL_HANDSHAKE_CLIENT_H
#define PROTOCOL_HANDSHAKE_CLIENT_H

#include "protocol/handshake.h"

struct handshake_client;

struct handshake_client_config { /* all borrowed during the call and copied, unless it says otherwise */
    const char *client_did;
    const struct public_key *client_key;
    const char *server_did; /* the server that is wanted; NULL with an origin */
    const char *origin;     /* what M1's audience is where no DID is known or pinned; NULL with a DID */
    const char *origin_pin; /* the DID pinned for the origin; NULL: first contact, TRUST is needed */
    const struct did_pins *pins; /* must outlive the machine */
    const struct scope_list *scopes;
    int64_t ttl;             /* 1 to 3600 */
    const char *context;     /* NULL: none */
    const char *traceparent; /* W3C; NULL: none */
    const struct json *credential; /* the user's grant: a JSON string (JWS) or object; NULL: GRANT is needed after M2 */
};

/* Makes M1: need is SEND. ATH_ERR_INVALID_PARAMS, ATH_ERR_INVALID_CREDENTIAL (a credential that is
 * given is checked at once), ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err handshake_client_start(const struct handshake_client_config *config, int64_t now,
                               struct why *why, struct handshake_client **ret_client,
                               struct handshake_need *need) ATH_MUST_USE;
void handshake_client_free(struct handshake_client *client);

/*
 * In all calls below `need` is empty before. A refusal is need FAILED and ATH_OK here. Other errors
 * are our own: ATH_ERR_NOMEM, ATH_ERR_CRYPTO (the handshake has failed), and ATH_ERR_INVALID_PARAMS
 * for a call that does not fit the state (nothing has changed): so is receive() while a signature,
 * trust or a grant is awaited, so that a message that comes twice has to wait for its answer.
 */

/* The peer's next message. After M8 need is SEND with no message. */
ath_err handshake_client_receive(struct handshake_client *client, const struct json *message, int64_t now,
                                 struct handshake_need *need) ATH_MUST_USE;
ath_err handshake_client_signed(struct handshake_client *client, struct ath_slice signature, int64_t now,
                                struct handshake_need *need) ATH_MUST_USE;
/* The answer to TRUST. false: FAILED with USER_DENIED. */
ath_err handshake_client_trusted(struct handshake_client *client, bool trusted, int64_t now,
                                 struct handshake_need *need) ATH_MUST_USE;
/* The answer to GRANT. */
ath_err handshake_client_grant(struct handshake_client *client, const struct json *credential, int64_t now,
                               struct handshake_need *need) ATH_MUST_USE;
/* Ends it from outside (abort, a signature that failed, the user's no); no message. */
void handshake_client_fail(struct handshake_client *client, ath_err err, const char *why);

/* When it ends as HANDSHAKE_TIMEOUT; 0 when it has ended. */
int64_t handshake_client_deadline(const struct handshake_client *client);
bool handshake_client_is_expired(const struct handshake_client *client, int64_t now);

/* T5, which names the handshake on all three sides (M6's `handshake`); NULL before M5 is signed. 32 bytes. */
const uint8_t *handshake_client_t5(const struct handshake_client *client);
const char *handshake_client_server_did(const struct handshake_client *client); /* NULL before M2 */
const struct public_key *handshake_client_server_key(const struct handshake_client *client);
const char *handshake_client_state(const struct handshake_client *client); /* "waiting" "done" "failed" */
/* The grant's user; NULL before there is a grant. */
const char *handshake_client_user_did(const struct handshake_client *client);
/* After DONE, once: moves the result out. */
void handshake_client_take_result(struct handshake_client *client, struct handshake_result *ret_result);

#endif
