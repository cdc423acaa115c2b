/*
 * libath: athd's socket from C. Blocking calls, one socket a client, no threads of its own.
 *
 *     struct ath_client *client = ath_client_new();
 *     const char *audience = "https://flights.example";
 *     char *jwt = NULL;
 *
 *     if (ath_client_connect(client, NULL) != ATH_OK ||
 *         ath_attestation_create(client, "travel", audience, 0, &jwt, NULL) != ATH_OK)
 *         fprintf(stderr, "%s\n", ath_client_error_message(client));
 *     ath_string_free(jwt);
 *     ath_client_free(client);
 *
 * A client belongs to one thread at a time; different clients may be used by different threads at
 * once. No function here writes to stderr, changes signal dispositions or raises SIGPIPE.
 *
 * Every function that can fail returns an ath_err (ath/err.h); the client then holds the error's
 * reason, sentence and data until its next call. Text is UTF-8 and NUL-terminated. Texts given back
 * through a `char **` belong to the caller, who frees them with ath_string_free, which wipes them
 * first; they are set only on success. Params and results are JSON as docs/api.md describes them.
 * Where athd does not answer in time, or the connection ends, the error is ATH_ERR_UNREACHABLE, the
 * connection is closed (which makes athd drop what it was doing for it), and the client may connect
 * again.
 */
#ifndef ATH_CLIENT_H
#define ATH_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "ath/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ath_client;

/* How long a call waits for its answer unless ath_client_set_timeout says otherwise: longer than
 * athd waits for a person (120 s). */
#define ATH_CLIENT_TIMEOUT_MS 180000

/* ---- a connection ---- */

/* A client that is not connected. NULL when out of memory. Free it with ath_client_free. */
ATH_PUBLIC struct ath_client *ath_client_new(void);

/* Closes the connection and frees; athd drops what it was still doing for it. NULL is fine. */
ATH_PUBLIC void ath_client_free(struct ath_client *client);

/*
 * Connects to athd at path; NULL: where ath_client_socket_path looks. A connection that was open is
 * closed first. ATH_ERR_UNREACHABLE: athd is not there; the message says which of these it was, the
 * error's data has it as `cause`:
 *   `not_running`  no socket at any of the places that were looked at
 *   `stale`        a socket that nobody listens at: athd ended without removing it
 *   `forbidden`    the socket is there, but permissions, a sandbox or a container forbid its use
 *   `invalid`      the path is too long, or names something that is no socket
 *   `failed`       anything else, with the system's own words
 * Later calls add `closed` (athd ended the connection) and `timeout`. ATH_ERR_NOMEM.
 */
ATH_PUBLIC ath_err ath_client_connect(struct ath_client *client, const char *path) ATH_MUST_USE;

/* The path that a connect to NULL takes: $ATH_AUTH_SOCK; else $XDG_RUNTIME_DIR/ath/agent.sock if it
 * exists; else /run/ath/agent.sock if it exists; else the first of these two that could exist. NULL
 * when out of memory. The caller frees it with ath_string_free. */
ATH_PUBLIC char *ath_client_socket_path(void);

/* Milliseconds that each later call may take in all, as it begins with ATH_CLIENT_TIMEOUT_MS; -1:
 * as long as it takes. */
ATH_PUBLIC void ath_client_set_timeout(struct ath_client *client, int timeout_ms);

/* The socket, for poll(2); -1 when not connected. It remains the client's. */
ATH_PUBLIC int ath_client_fd(const struct ath_client *client);

/* ---- calls ---- */

/*
 * Calls a method and waits. params: a JSON object, NULL for {}. ret_result (may be NULL): the
 * result as JSON text. ATH_ERR_UNREACHABLE, ATH_ERR_NOMEM; ATH_ERR_PARSE and
 * ATH_ERR_INVALID_PARAMS: params is not JSON, or no object. Everything else is athd's own answer.
 */
ATH_PUBLIC ath_err ath_client_call(struct ath_client *client, const char *method,
                                   const char *params, char **ret_result) ATH_MUST_USE;

/*
 * Pipelining: sends a call and does not wait; ret_id is its number. athd carries out at most 128 at
 * once for a connection. ath_client_receive waits for the next answer, whichever call it belongs
 * to. An error answer is returned as its ath_err with *ret_id set and no result; *ret_id is 0 where
 * the error belongs to no call (as in ath_client_call). ret_result may be NULL.
 */
ATH_PUBLIC ath_err ath_client_send(struct ath_client *client, const char *method,
                                   const char *params, int64_t *ret_id) ATH_MUST_USE;
ATH_PUBLIC ath_err ath_client_receive(struct ath_client *client, int64_t *ret_id,
                                      char **ret_result) ATH_MUST_USE;

/*
 * Waits for the next event of the topics that events.subscribe was called with: the notification's
 * params as JSON, {"topic":…,…}. Events that came during calls are kept (the newest 256). Errors as
 * ath_client_call.
 */
ATH_PUBLIC ath_err ath_client_event(struct ath_client *client, char **ret_event) ATH_MUST_USE;

/* Takes in what has come, without waiting, for programs that poll(2) ath_client_fd among others:
 * events and answers are kept as during a call. Before poll(2) it is called once and the events
 * kept are taken, for what came with an answer is no longer in the socket. Errors as
 * ath_client_call. */
ATH_PUBLIC ath_err ath_client_take_in(struct ath_client *client) ATH_MUST_USE;

/* How many events are kept: so many ath_client_event calls do not wait. */
ATH_PUBLIC size_t ath_client_events_kept(const struct ath_client *client);

/* ---- why the last call failed; valid until the client's next call ---- */

/* The API's reason, as "KEY_NOT_FOUND" (docs/api.md, "Errors"); "OK" after a success. */
ATH_PUBLIC const char *ath_client_error_reason(const struct ath_client *client);
/* One sentence a person can act on. */
ATH_PUBLIC const char *ath_client_error_message(const struct ath_client *client);
/* JSON-RPC's code as it came, 0 after a success. */
ATH_PUBLIC int ath_client_error_code(const struct ath_client *client);
/* The error's `data` as JSON text; NULL where there is none. */
ATH_PUBLIC const char *ath_client_error_data(const struct ath_client *client);

/* Wipes and frees a text of this library. NULL is fine. */
ATH_PUBLIC void ath_string_free(char *text);

/* ---- the methods most used, typed; errors are those of ath_client_call and of the method ---- */

/*
 * attestation.create: a JWT (RFC 7519) of the client key, as ATH's HTTP API takes it.
 *   key          name of a client key with an agent_id
 *   audience     who is to accept it, a URI; not empty
 *   ttl_s        1 to 3600; 0: the default, 300
 *   ret_jwt      compact JWS
 *   ret_expires_at  Unix seconds; may be NULL
 */
ATH_PUBLIC ath_err ath_attestation_create(struct ath_client *client, const char *key,
                                          const char *audience, int ttl_s, char **ret_jwt,
                                          int64_t *ret_expires_at) ATH_MUST_USE;

/* session.seal: plaintext (at most 65,536 bytes) as a compact JWE for the session's other side. re:
 * the number of the message that this one answers, -1: none. ret_seq (may be NULL): this one's
 * number. */
ATH_PUBLIC ath_err ath_session_seal(struct ath_client *client, const char *session,
                                    const void *plaintext, size_t len, int64_t re, char **ret_jwe,
                                    int64_t *ret_seq) ATH_MUST_USE;

/* session.open: what the other side sealed. ret_plaintext has *ret_len bytes and a NUL behind them
 * that is not counted; free it with ath_bytes_free. ret_seq and ret_re (may be NULL): its number,
 * and that of the message it answers, -1: none. Who asked has to compare the latter.
 * ATH_ERR_DECRYPT_FAILED, ATH_ERR_SESSION_REPLAYED, ATH_ERR_SESSION_NOT_FOUND,
 * ATH_ERR_SESSION_EXPIRED. */
ATH_PUBLIC ath_err ath_session_open(struct ath_client *client, const char *session, const char *jwe,
                                    void **ret_plaintext, size_t *ret_len, int64_t *ret_seq,
                                    int64_t *ret_re) ATH_MUST_USE;

/* session.token: the access token of step 9 (client's side). ret_expires_at may be NULL. */
ATH_PUBLIC ath_err ath_session_token(struct ath_client *client, const char *session,
                                     char **ret_token, int64_t *ret_expires_at) ATH_MUST_USE;

/* session.close: both keys are wiped. */
ATH_PUBLIC ath_err ath_session_close(struct ath_client *client, const char *session) ATH_MUST_USE;

/* token.verify (server's side): a token that came through `session` (NULL: `proof`, a DPoP proof of
 * RFC 9449; NULL too: only where the service takes bearer tokens), for `scope` (NULL: any).
 * ret_claims: the token's claims as JSON. */
ATH_PUBLIC ath_err ath_token_verify(struct ath_client *client, const char *service,
                                    const char *token, const char *scope, const char *session,
                                    const char *proof, char **ret_claims) ATH_MUST_USE;

/* Wipes and frees what ath_session_open gave. NULL is fine. */
ATH_PUBLIC void ath_bytes_free(void *bytes, size_t len);

/* ---- a handshake: athd holds the state, the caller carries the messages ---- */

enum ath_handshake_state {
    ATH_HANDSHAKE_WAITING, /* for the next message */
    ATH_HANDSHAKE_CONFIRM, /* server: for the user's answer (M7) */
    ATH_HANDSHAKE_DONE,    /* the result is there */
    ATH_HANDSHAKE_FAILED,  /* server: refused; `send` tells the client, the result says why */
};

/* What to do next. Zero-initialise before the first use; each call replaces what it held. */
struct ath_handshake_step {
    char *handshake; /* athd's name of it; NULL where athd kept no state (a handshake_retry) */
    enum ath_handshake_state state;
    char **send; /* messages to carry to the other side, in order, each JSON text */
    size_t send_count;
    int wait_s;    /* to wait before sending: a busy server asked for it; usually 0 */
    char *confirm; /* server: M6, for the user's channel only; else NULL */
    char *result;  /* {session, peer, scopes, denied, …} once done or failed; else NULL */
};

/* Frees what the step holds and zeroes it. */
ATH_PUBLIC void ath_handshake_step_done(struct ath_handshake_step *step);

/* What a client wants. Zero-initialise; members that stay NULL or 0 are left out. */
struct ath_handshake_request {
    const char *key;           /* name of the client key; required */
    const char *const *scopes; /* what is asked for; required */
    size_t scope_count;
    const char *server_did;    /* one of these two is required: the server's DID, */
    const char *server_origin; /* or its origin, "https://host[:port]" */
    const char *credential;    /* the user's grant, a compact JWS */
    const char *user_key;      /* or the user key here that issues one (the user is asked) */
    const char *context;       /* words for the user, at most 1,024 bytes */
    int ttl_s;                 /* 1 to 3600 */
    const char *traceparent;   /* W3C Trace Context */
};

/* handshake.start (client): the first message. */
ATH_PUBLIC ath_err ath_handshake_start(struct ath_client *client,
                                       const struct ath_handshake_request *request,
                                       struct ath_handshake_step *step) ATH_MUST_USE;

/* handshake.accept (server): a client's first message for `service`. source: where it came from,
 * for limits; may be NULL. */
ATH_PUBLIC ath_err ath_handshake_accept(struct ath_client *client, const char *service,
                                        const char *message, const char *source,
                                        struct ath_handshake_step *step) ATH_MUST_USE;

/* handshake.receive (both): the other side's next message, or the user's M7 at the server. step is
 * the one that start or accept filled. A refusal is the method's error; where there is a message
 * that tells the other side, step->send has it also then. */
ATH_PUBLIC ath_err ath_handshake_receive(struct ath_client *client, const char *message,
                                         struct ath_handshake_step *step) ATH_MUST_USE;

/* handshake.abort. */
ATH_PUBLIC ath_err ath_handshake_abort(struct ath_client *client,
                                       const char *handshake) ATH_MUST_USE;

/* confirmation.answer (user): athd asks the user about M6; ret_send is M7, also when the answer is
 * no. server_did: whom M6 came from; may be NULL. */
ATH_PUBLIC ath_err ath_confirmation_answer(struct ath_client *client, const char *key,
                                           const char *message, const char *server_did,
                                           char **ret_send) ATH_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
