/* From a line to the calls in it, and from a decoded call to the method that carries it out. */
#ifndef ATHD_DISPATCH_H
#define ATHD_DISPATCH_H

#include "athd/request.h"

struct connection;

/* A method owns the request from here and ends it, now or later. Its params have been checked. */
typedef void method_fn(struct request *request);

/* Indexed by enum rpc_method_id; every method of rpc/methods.h has its function (a static assertion
 * holds the table's length). method_table.c. */
extern method_fn *const method_table[RPC_METHOD_COUNT];

/* One line: a call or a batch of them. Each is answered, now or later, on the connection. Gives how
 * many there were. */
size_t dispatch_line(struct connection *connection, struct ath_slice line);

/* Policy for the caller and the method, then the method. */
void dispatch(struct request *request);

/* method_agent.c */
method_fn method_agent_hello, method_agent_status, method_events_subscribe;
/* method_lock.c */
method_fn method_agent_lock, method_agent_unlock;
/* method_key.c */
method_fn method_key_create, method_key_list, method_key_get, method_key_delete, method_key_import,
    method_key_export;
/* method_attestation.c */
method_fn method_attestation_create, method_attestation_verify;
/* method_handshake.c (client side), method_handshake_server.c */
method_fn method_handshake_start, method_handshake_receive, method_handshake_accept,
    method_handshake_get, method_handshake_list, method_handshake_abort;
/* method_confirmation.c */
method_fn method_confirmation_answer;
/* method_service.c */
method_fn method_service_put, method_service_list, method_service_delete;
/* method_credential.c */
method_fn method_credential_issue, method_credential_put, method_credential_verify,
    method_credential_list;
/* method_grant.c */
method_fn method_grant_create, method_grant_list, method_grant_revoke;
/* method_session.c, method_token.c */
method_fn method_session_seal, method_session_open, method_session_token, method_session_list,
    method_session_close, method_token_verify;
/* method_peer.c */
method_fn method_peer_pin, method_peer_list, method_peer_remove;
/* method_consent.c */
method_fn method_consent_list, method_consent_answer, method_consent_attend,
    method_consent_environment, method_consent_forget;
/* method_consent_pinentry.c */
method_fn method_consent_pinentry;
/* method_policy.c */
method_fn method_policy_check, method_policy_reload, method_policy_show, method_policy_freeze,
    method_policy_unfreeze;
/* method_audit.c */
method_fn method_audit_query, method_audit_checkpoint, method_audit_proof, method_audit_consistency;

#endif
