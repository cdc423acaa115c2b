/* Inside the client's machine: its state, and the steps that its table calls. */
#ifndef PROTOCOL_HANDSHAKE_CLIENT_STATE_H
#define PROTOCOL_HANDSHAKE_CLIENT_STATE_H

#include "crypto/key_agreement.h"
#include "protocol/handshake_client.h"
#include "protocol/handshake_memory.h"
#include "protocol/user_grant.h"

enum client_state {
    CLIENT_SIGN_HELLO, /* M1's proof */
    CLIENT_WAIT_RESPONSE,
    CLIENT_WAIT_TRUST,
    CLIENT_WAIT_GRANT,
    CLIENT_SIGN_IDENTITY, /* M3 */
    CLIENT_WAIT_IDENTITY_RESULT,
    CLIENT_SIGN_SCOPE_REQUEST, /* M5 */
    CLIENT_WAIT_SCOPE_RESULT,
    CLIENT_WAIT_COMPLETE,
    CLIENT_DONE,
    CLIENT_FAILED,
};

#define NONCE_BYTES 32

struct handshake_client {
    enum client_state state;

    /* what is wanted */
    char *client_did;
    struct public_key *client_key;
    char *wanted_did; /* the server's DID, given or pinned for the origin; NULL: first contact */
    char *origin;     /* NULL: a DID was given */
    const struct did_pins *pins; /* borrowed: outlives us (handshake_client_config) */
    struct scope_list scopes;
    int64_t ttl;
    char *context, *traceparent; /* NULL: none */

    /* the grant */
    struct json *credential; /* NULL: not given yet */
    struct user_grant grant; /* credential, decoded */

    /* where it stands */
    int64_t started_at;  /* of the M1 that counts */
    int64_t response_at; /* when M2 came; 0: not yet */
    int64_t wait_s;      /* before M1 is sent */
    bool waits_for_user; /* M4 said that step 6 takes place */
    unsigned retries;
    bool proof_made;
    char nonce[NONCE_MAX_LEN + 1];
    struct json *draft; /* the message whose signature is awaited, without it */
    uint8_t t[SHA256_LEN];
    char *server_did; /* M2's; NULL before */
    struct public_key *server_key;
    struct key_agreement *agreement;
    int64_t ttl_granted;
    struct handshake_memory memory;
    uint8_t t5[SHA256_LEN];
    bool has_t5;
    struct handshake_result result; /* filled by M8 and M9 */
};

/* Steps: ATH_OK and a need, a refusal of the peer's message (ends the handshake), or an error of our own. */

/* M1, after a retry with its cookie; with_proof: SIGNATURE first. */
ath_err client_hello(struct handshake_client *client, const char *cookie, bool with_proof, int64_t now,
                     struct handshake_need *need) ATH_MUST_USE;
ath_err client_hello_signed(struct handshake_client *client, struct ath_slice signature,
                            struct handshake_need *need) ATH_MUST_USE;
ath_err client_on_retry(struct handshake_client *client, const struct json *message, int64_t now,
                        struct why *why, struct handshake_need *need) ATH_MUST_USE;
ath_err client_on_response(struct handshake_client *client, const struct json *message, int64_t now,
                           struct why *why, struct handshake_need *need) ATH_MUST_USE;
/* After trust: GRANT, or M3's SIGNATURE. */
ath_err client_after_trust(struct handshake_client *client, int64_t now, struct why *why,
                           struct handshake_need *need) ATH_MUST_USE;
ath_err client_identity_signed(struct handshake_client *client, struct ath_slice signature,
                               struct handshake_need *need) ATH_MUST_USE;
ath_err client_on_identity_result(struct handshake_client *client, const struct json *message, int64_t now,
                                  struct why *why, struct handshake_need *need) ATH_MUST_USE;
ath_err client_scope_request_signed(struct handshake_client *client, struct ath_slice signature,
                                    struct handshake_need *need) ATH_MUST_USE;
ath_err client_on_scope_result(struct handshake_client *client, const struct json *message, int64_t now,
                               struct why *why, struct handshake_need *need) ATH_MUST_USE;
ath_err client_on_complete(struct handshake_client *client, const struct json *message, int64_t now,
                           struct why *why, struct handshake_need *need) ATH_MUST_USE;

/* Reads a credential into the machine (copied): for this client, and for the server if it is known;
 * three different keys. ATH_ERR_INVALID_CREDENTIAL, ATH_ERR_NOMEM. */
ath_err client_set_credential(struct handshake_client *client, const struct json *credential, int64_t now,
                              struct why *why) ATH_MUST_USE;

#endif
