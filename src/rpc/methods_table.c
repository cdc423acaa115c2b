#include "rpc/methods_table.h"

#include "rpc/rpc_limits.h"

/* Lengths in bytes. What a peer wrote, and handles, are only bounded by the line: whoever reads
 * them knows the exact limit and has the exact error. */
#define TEXT_LEN 256
#define URI_LEN 2048
#define PEM_LEN 16384
#define DID_LEN 512
#define CONTEXT_LEN 1024
#define PLAINTEXT_LEN 65536
#define SCOPES 64
#define AUDIENCES 16
#define CAPABILITIES 64
#define ORIGINS 64
#define TTL 3600
#define QUERY_LIMIT 1000
#define INDEX_MAX 9007199254740990 /* of a record: 2^53-2, so that the next one's fits too */
#define TTL_OF_GRANT 3155760000 /* a hundred years */
#define CONSENT_ID_LEN 32
#define VARIABLE_LEN 1024 /* of an environment */
#define TERMINAL_LEN 128  /* of what a pinentry is told of it */
#define GRANT_LIST 64
#define GRANT_USES 1000000000
#define PID_MAX 4194304 /* PID_MAX_LIMIT of the kernel */
#define UNIT_LEN 127
#define YEAR_9999 253402300799  /* the last second that RFC 3339 can write */

#define ROLES "user client server"
#define CONFIRMS "never always session"
#define TOPICS "consent hsm key audit lock"
#define FORMATS "jwk pem did ssh tss2 agent.json"

#define REQUIRED true
#define OPTIONAL false
#define NAME(name, required) {name, RPC_NAME, required, 0, 0, NULL}
#define TEXT(name, required, max) {name, RPC_STRING, required, 1, max, NULL}
#define FOREIGN(name, required) {name, RPC_STRING, required, 0, RPC_LINE_MAX, NULL}
#define CHOICE(name, required, choices) {name, RPC_STRING, required, 1, TEXT_LEN, choices}
#define DID(name, required) {name, RPC_DID, required, 0, DID_LEN, NULL}
#define BYTES(name, required, max) {name, RPC_BASE64URL, required, 0, max, NULL}
#define INDEX(name, required) {name, RPC_INT, required, 0, INDEX_MAX, NULL}
#define INT(name, required, max) {name, RPC_INT, required, 1, max, NULL}
#define BOOL(name, required) {name, RPC_BOOL, required, 0, 0, NULL}
#define OBJECT(name, required) {name, RPC_OBJECT, required, 0, 0, NULL}
#define STRINGS(name, required, min, max) {name, RPC_STRINGS, required, min, max, NULL}
#define AUDIENCE(name, required) {name, RPC_STRING_OR_STRINGS, required, 1, AUDIENCES, NULL}
#define TEXT_OR_OBJECT(name, required, max) {name, RPC_STRING_OR_OBJECT, required, 1, max, NULL}
#define FOREIGN_OR_OBJECT(name, required)                                                          \
    {name, RPC_STRING_OR_OBJECT, required, 0, RPC_LINE_MAX, NULL}
#define FALSE_ONLY(name) {name, RPC_FALSE, OPTIONAL, 0, 0, NULL}
#define END {NULL, RPC_STRING, OPTIONAL, 0, 0, NULL}

/* One array for each entry of RPC_METHOD_LIST, named after it. */

/* ---- agent ---- */
static const struct rpc_param params_AGENT_HELLO[] = {
    TEXT_OR_OBJECT("client", OPTIONAL, TEXT_LEN),
    END,
};
static const struct rpc_param params_AGENT_STATUS[] = {END};
static const struct rpc_param params_AGENT_LOCK[] = {END};
static const struct rpc_param params_AGENT_UNLOCK[] = {END};
static const struct rpc_param params_EVENTS_SUBSCRIBE[] = {
    {"topics", RPC_STRINGS, REQUIRED, 0, 16, TOPICS},
    END,
};

/* ---- key ---- */
static const struct rpc_param params_KEY_CREATE[] = {
    NAME("name", REQUIRED),
    CHOICE("role", REQUIRED, ROLES),
    NAME("hsm", OPTIONAL),
    TEXT("algorithm", OPTIONAL, TEXT_LEN),
    TEXT("agent_id", OPTIONAL, URI_LEN),
    OBJECT("display", OPTIONAL),
    BOOL("pin", OPTIONAL),
    CHOICE("confirm", OPTIONAL, CONFIRMS),
    INT("expires_at", OPTIONAL, YEAR_9999),
    END,
};
static const struct rpc_param params_KEY_LIST[] = {CHOICE("role", OPTIONAL, ROLES), END};
static const struct rpc_param params_KEY_GET[] = {NAME("name", REQUIRED), END};
static const struct rpc_param params_KEY_DELETE[] = {NAME("name", REQUIRED), END};
static const struct rpc_param params_KEY_IMPORT[] = {
    NAME("name", REQUIRED),
    CHOICE("role", REQUIRED, ROLES),
    TEXT("pkcs11_uri", OPTIONAL, URI_LEN),
    BOOL("allow_extractable", OPTIONAL),
    TEXT("tss2_pem", OPTIONAL, PEM_LEN),
    NAME("hsm", OPTIONAL),
    TEXT("agent_id", OPTIONAL, URI_LEN),
    OBJECT("display", OPTIONAL),
    FALSE_ONLY("pin"),
    CHOICE("confirm", OPTIONAL, CONFIRMS),
    INT("expires_at", OPTIONAL, YEAR_9999),
    END,
};
static const struct rpc_param params_KEY_EXPORT[] = {
    NAME("name", REQUIRED),
    CHOICE("format", REQUIRED, FORMATS),
    END,
};

/* ---- attestation ---- */
static const struct rpc_param params_ATTESTATION_CREATE[] = {
    NAME("key", REQUIRED),
    AUDIENCE("audience", REQUIRED),
    INT("ttl", OPTIONAL, TTL),
    STRINGS("capabilities", OPTIONAL, 0, CAPABILITIES),
    CHOICE("issuer", OPTIONAL, "agent_id origin"),
    END,
};
static const struct rpc_param params_ATTESTATION_VERIFY[] = {
    FOREIGN("jwt", REQUIRED),
    TEXT("audience", REQUIRED, URI_LEN),
    FOREIGN_OR_OBJECT("public_key", OPTIONAL),
    OBJECT("identity_document", OPTIONAL),
    END,
};

/* ---- handshake, confirmation ---- */
static const struct rpc_param params_HANDSHAKE_START[] = {
    NAME("key", REQUIRED),
    STRINGS("scopes", REQUIRED, 1, SCOPES),
    INT("ttl", OPTIONAL, TTL),
    TEXT("context", OPTIONAL, CONTEXT_LEN),
    FOREIGN_OR_OBJECT("credential", OPTIONAL),
    NAME("user_key", OPTIONAL),
    OBJECT("server", REQUIRED),
    END,
};
static const struct rpc_param params_HANDSHAKE_RECEIVE[] = {
    FOREIGN("handshake", REQUIRED),
    FOREIGN_OR_OBJECT("message", REQUIRED),
    END,
};
static const struct rpc_param params_HANDSHAKE_ACCEPT[] = {
    NAME("service", REQUIRED),
    FOREIGN_OR_OBJECT("message", REQUIRED),
    TEXT("source", OPTIONAL, TEXT_LEN),
    END,
};
static const struct rpc_param params_HANDSHAKE_GET[] = {FOREIGN("handshake", REQUIRED), END};
static const struct rpc_param params_HANDSHAKE_LIST[] = {END};
static const struct rpc_param params_HANDSHAKE_ABORT[] = {FOREIGN("handshake", REQUIRED), END};
static const struct rpc_param params_CONFIRMATION_ANSWER[] = {
    NAME("key", REQUIRED),
    FOREIGN_OR_OBJECT("message", REQUIRED),
    DID("server", OPTIONAL),
    END,
};

/* ---- service ---- */
static const struct rpc_param params_SERVICE_PUT[] = {
    NAME("name", REQUIRED),
    NAME("key", REQUIRED),
    STRINGS("scopes_supported", REQUIRED, 1, SCOPES),
    INT("token_max_ttl", REQUIRED, TTL),
    BOOL("require_user_confirmation", REQUIRED),
    OBJECT("agents", REQUIRED),
    OBJECT("users", REQUIRED),
    STRINGS("origins", OPTIONAL, 0, ORIGINS),
    BOOL("bearer", OPTIONAL),
    OBJECT("restrictions", OPTIONAL),
    END,
};
static const struct rpc_param params_SERVICE_LIST[] = {END};
static const struct rpc_param params_SERVICE_DELETE[] = {NAME("name", REQUIRED), END};

/* ---- credential ---- */
static const struct rpc_param params_CREDENTIAL_ISSUE[] = {
    NAME("key", REQUIRED),
    DID("client", REQUIRED),
    STRINGS("scopes", REQUIRED, 1, SCOPES),
    AUDIENCE("audience", OPTIONAL),
    INT("ttl", REQUIRED, TTL_OF_GRANT),
    END,
};
static const struct rpc_param params_CREDENTIAL_PUT[] = {
    FOREIGN_OR_OBJECT("credential", REQUIRED),
    END,
};
static const struct rpc_param params_CREDENTIAL_VERIFY[] = {
    FOREIGN_OR_OBJECT("credential", REQUIRED),
    DID("client", OPTIONAL),
    DID("audience", OPTIONAL),
    END,
};
static const struct rpc_param params_CREDENTIAL_LIST[] = {END};

/* ---- session, token ---- */
static const struct rpc_param params_SESSION_SEAL[] = {
    FOREIGN("session", REQUIRED),
    BYTES("plaintext", REQUIRED, PLAINTEXT_LEN),
    {"re", RPC_INT, OPTIONAL, 0, UINT32_MAX, NULL},
    END,
};
static const struct rpc_param params_SESSION_OPEN[] = {
    FOREIGN("session", REQUIRED),
    FOREIGN("jwe", REQUIRED),
    END,
};
static const struct rpc_param params_SESSION_TOKEN[] = {FOREIGN("session", REQUIRED), END};
static const struct rpc_param params_SESSION_LIST[] = {END};
static const struct rpc_param params_SESSION_CLOSE[] = {FOREIGN("session", REQUIRED), END};
static const struct rpc_param params_TOKEN_VERIFY[] = {
    NAME("service", REQUIRED),
    FOREIGN("token", REQUIRED),
    FOREIGN("scope", OPTIONAL),
    FOREIGN("session", OPTIONAL),
    FOREIGN_OR_OBJECT("proof", OPTIONAL),
    END,
};

/* ---- grant ---- */
static const struct rpc_param params_GRANT_CREATE[] = {
    NAME("name", REQUIRED),
    STRINGS("keys", OPTIONAL, 1, GRANT_LIST),
    STRINGS("methods", OPTIONAL, 1, GRANT_LIST),
    STRINGS("audiences", OPTIONAL, 1, GRANT_LIST),
    STRINGS("peers", OPTIONAL, 1, GRANT_LIST),
    STRINGS("scopes", OPTIONAL, 1, GRANT_LIST),
    INT("ttl", OPTIONAL, TTL_OF_GRANT),
    INT("max_uses", OPTIONAL, GRANT_USES),
    INT("process", OPTIONAL, PID_MAX),
    TEXT("unit", OPTIONAL, UNIT_LEN),
    BOOL("adopt", OPTIONAL),
    END,
};
static const struct rpc_param params_GRANT_LIST[] = {END};
static const struct rpc_param params_GRANT_REVOKE[] = {NAME("name", REQUIRED), END};

/* ---- peer ---- */
static const struct rpc_param params_PEER_PIN[] = {
    DID("did", REQUIRED),
    FOREIGN_OR_OBJECT("public_key", OPTIONAL),
    TEXT("origin", OPTIONAL, URI_LEN),
    NAME("name", OPTIONAL),
    FALSE_ONLY("allow_literal"),
    END,
};
static const struct rpc_param params_PEER_LIST[] = {END};
static const struct rpc_param params_PEER_REMOVE[] = {DID("did", REQUIRED), END};

/* ---- consent ---- */
static const struct rpc_param params_CONSENT_LIST[] = {
    TEXT("id", OPTIONAL, CONSENT_ID_LEN),
    END,
};
static const struct rpc_param params_CONSENT_ANSWER[] = {
    TEXT("id", REQUIRED, CONSENT_ID_LEN),
    BOOL("approve", REQUIRED),
    STRINGS("scopes", OPTIONAL, 1, SCOPES),
    OBJECT("remember", OPTIONAL),
    BOOL("freeze", OPTIONAL),
    END,
};
static const struct rpc_param params_CONSENT_ATTEND[] = {
    BOOL("pins", OPTIONAL),
    END,
};
static const struct rpc_param params_CONSENT_ENVIRONMENT[] = {
    TEXT("DISPLAY", OPTIONAL, VARIABLE_LEN),
    TEXT("WAYLAND_DISPLAY", OPTIONAL, VARIABLE_LEN),
    TEXT("XAUTHORITY", OPTIONAL, VARIABLE_LEN),
    TEXT("DBUS_SESSION_BUS_ADDRESS", OPTIONAL, VARIABLE_LEN),
    TEXT("XDG_RUNTIME_DIR", OPTIONAL, VARIABLE_LEN),
    TEXT("XDG_SESSION_TYPE", OPTIONAL, VARIABLE_LEN),
    TEXT("GPG_TTY", OPTIONAL, VARIABLE_LEN),
    TEXT("TERM", OPTIONAL, VARIABLE_LEN),
    TEXT("LANG", OPTIONAL, VARIABLE_LEN),
    TEXT("LC_ALL", OPTIONAL, VARIABLE_LEN),
    TEXT("LC_CTYPE", OPTIONAL, VARIABLE_LEN),
    TEXT("LC_MESSAGES", OPTIONAL, VARIABLE_LEN),
    END,
};
static const struct rpc_param params_CONSENT_FORGET[] = {
    TEXT("id", REQUIRED, CONSENT_ID_LEN),
    END,
};
static const struct rpc_param params_CONSENT_PINENTRY[] = {
    TEXT("id", REQUIRED, CONSENT_ID_LEN),
    TEXT("GPG_TTY", OPTIONAL, TERMINAL_LEN),
    TEXT("TERM", OPTIONAL, TERMINAL_LEN),
    TEXT("LC_CTYPE", OPTIONAL, TERMINAL_LEN),
    END,
};

/* ---- policy ---- */
static const struct rpc_param params_POLICY_CHECK[] = {
    TEXT("method", REQUIRED, TEXT_LEN),
    OBJECT("params", OPTIONAL),
    OBJECT("as", OPTIONAL),
    END,
};
static const struct rpc_param params_POLICY_RELOAD[] = {END};
static const struct rpc_param params_POLICY_SHOW[] = {END};
static const struct rpc_param params_POLICY_FREEZE[] = {
    NAME("key", OPTIONAL),
    BOOL("all", OPTIONAL),
    END,
};
static const struct rpc_param params_POLICY_UNFREEZE[] = {
    NAME("key", OPTIONAL),
    BOOL("all", OPTIONAL),
    END,
};

/* ---- audit ---- */
static const struct rpc_param params_AUDIT_QUERY[] = {
    INDEX("after", OPTIONAL),
    INT("limit", OPTIONAL, QUERY_LIMIT),
    TEXT("event", OPTIONAL, TEXT_LEN),
    TEXT("key", OPTIONAL, TEXT_LEN),
    TEXT("handshake", OPTIONAL, TEXT_LEN),
    TEXT("caller", OPTIONAL, URI_LEN),
    INT("since", OPTIONAL, YEAR_9999),
    INT("until", OPTIONAL, YEAR_9999),
    END,
};
static const struct rpc_param params_AUDIT_CHECKPOINT[] = {END};
static const struct rpc_param params_AUDIT_PROOF[] = {
    INDEX("index", REQUIRED),
    INDEX("size", OPTIONAL),
    END,
};
static const struct rpc_param params_AUDIT_CONSISTENCY[] = {
    INDEX("from", REQUIRED),
    INDEX("to", REQUIRED),
    END,
};

#define METHOD(id, name)                                                                           \
    {RPC_##id, name, params_##id, sizeof(params_##id) / sizeof(params_##id[0]) - 1},
const struct rpc_method rpc_methods[RPC_METHOD_COUNT] = {RPC_METHOD_LIST(METHOD)};
#undef METHOD
