/*
 * Every method of the socket and the form of its params, in one table: athd switches on it, checks
 * with it, and lists it as its capabilities. What the values mean is the methods' own business.
 */
#ifndef RPC_METHODS_H
#define RPC_METHODS_H

#include "base/json.h"
#include "base/why.h"

/* X(enum name, name on the wire) */
#define RPC_METHOD_LIST(X)                                                                         \
    X(AGENT_HELLO, "agent.hello")                                                                  \
    X(AGENT_STATUS, "agent.status")                                                                \
    X(AGENT_LOCK, "agent.lock")                                                                    \
    X(AGENT_UNLOCK, "agent.unlock")                                                                \
    X(EVENTS_SUBSCRIBE, "events.subscribe")                                                        \
    X(KEY_CREATE, "key.create")                                                                    \
    X(KEY_LIST, "key.list")                                                                        \
    X(KEY_GET, "key.get")                                                                          \
    X(KEY_DELETE, "key.delete")                                                                    \
    X(KEY_IMPORT, "key.import")                                                                    \
    X(KEY_EXPORT, "key.export")                                                                    \
    X(ATTESTATION_CREATE, "attestation.create")                                                    \
    X(ATTESTATION_VERIFY, "attestation.verify")                                                    \
    X(HANDSHAKE_START, "handshake.start")                                                          \
    X(HANDSHAKE_RECEIVE, "handshake.receive")                                                      \
    X(HANDSHAKE_ACCEPT, "handshake.accept")                                                        \
    X(HANDSHAKE_GET, "handshake.get")                                                              \
    X(HANDSHAKE_LIST, "handshake.list")                                                            \
    X(HANDSHAKE_ABORT, "handshake.abort")                                                          \
    X(CONFIRMATION_ANSWER, "confirmation.answer")                                                  \
    X(SERVICE_PUT, "service.put")                                                                  \
    X(SERVICE_LIST, "service.list")                                                                \
    X(SERVICE_DELETE, "service.delete")                                                            \
    X(CREDENTIAL_ISSUE, "credential.issue")                                                        \
    X(CREDENTIAL_PUT, "credential.put")                                                            \
    X(CREDENTIAL_VERIFY, "credential.verify")                                                      \
    X(CREDENTIAL_LIST, "credential.list")                                                          \
    X(SESSION_SEAL, "session.seal")                                                                \
    X(SESSION_OPEN, "session.open")                                                                \
    X(SESSION_TOKEN, "session.token")                                                              \
    X(SESSION_LIST, "session.list")                                                                \
    X(SESSION_CLOSE, "session.close")                                                              \
    X(TOKEN_VERIFY, "token.verify")                                                                \
    X(GRANT_CREATE, "grant.create")                                                                \
    X(GRANT_LIST, "grant.list")                                                                    \
    X(GRANT_REVOKE, "grant.revoke")                                                                \
    X(PEER_PIN, "peer.pin")                                                                        \
    X(PEER_LIST, "peer.list")                                                                      \
    X(PEER_REMOVE, "peer.remove")                                                                  \
    X(CONSENT_LIST, "consent.list")                                                                \
    X(CONSENT_ANSWER, "consent.answer")                                                            \
    X(CONSENT_ATTEND, "consent.attend")                                                            \
    X(CONSENT_ENVIRONMENT, "consent.environment")                                                  \
    X(CONSENT_FORGET, "consent.forget")                                                            \
    X(CONSENT_PINENTRY, "consent.pinentry")                                                        \
    X(POLICY_CHECK, "policy.check")                                                                \
    X(POLICY_RELOAD, "policy.reload")                                                              \
    X(POLICY_SHOW, "policy.show")                                                                  \
    X(POLICY_FREEZE, "policy.freeze")                                                              \
    X(POLICY_UNFREEZE, "policy.unfreeze")                                                          \
    X(AUDIT_QUERY, "audit.query")                                                                  \
    X(AUDIT_CHECKPOINT, "audit.checkpoint")                                                        \
    X(AUDIT_PROOF, "audit.proof")                                                                  \
    X(AUDIT_CONSISTENCY, "audit.consistency")

#define RPC_METHOD_ENUM(id, name) RPC_##id,
enum rpc_method_id { RPC_METHOD_LIST(RPC_METHOD_ENUM) RPC_METHOD_COUNT };
#undef RPC_METHOD_ENUM

enum rpc_type {
    RPC_STRING,    /* min to max bytes; where choices are given, one of them */
    RPC_NAME,      /* base/name.h */
    RPC_DID,       /* "did:", then visible ASCII; at most max bytes */
    RPC_BASE64URL, /* of min to max bytes */
    RPC_INT,       /* min to max */
    RPC_BOOL,
    RPC_OBJECT,
    RPC_STRINGS,           /* array of min to max strings, none empty; choices as above */
    RPC_STRING_OR_OBJECT,  /* a string of min to max bytes, or an object */
    RPC_STRING_OR_STRINGS, /* a string that is not empty, or an array as RPC_STRINGS */
    RPC_FALSE,             /* a switch whose `true` athd does not have yet */
};

struct rpc_param {
    const char *name;
    enum rpc_type type;
    bool required;
    int64_t min, max;
    const char *choices; /* separated by single spaces; NULL: anything */
};

struct rpc_method {
    enum rpc_method_id id;
    const char *name;
    const struct rpc_param *params;
    size_t param_count;
};

/* The method of this name, NULL if there is none. */
const struct rpc_method *method_find(const char *name);
const struct rpc_method *method_at(enum rpc_method_id id);

/* Refuses unknown members, wrong types, missing members and bad names with ATH_ERR_INVALID_PARAMS
 * and a sentence that names the member (bytes that are too many: ATH_ERR_LIMIT_EXCEEDED). Each
 * method also takes `trace`, a W3C traceparent. ATH_ERR_NOMEM. */
ath_err method_check_params(const struct rpc_method *method, const struct json *params,
                            struct why *why) ATH_MUST_USE;

#endif
