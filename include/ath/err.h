/*
 * What can go wrong, as values. One name for each reason of the socket API (docs/api.md, "Errors"),
 * with the JSON-RPC code it travels under, the exit status `ath` ends with, and one sentence a
 * person can act on where nothing more exact is known.
 */
#ifndef ATH_ERR_H
#define ATH_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ATH_MUST_USE __attribute__((warn_unused_result))
#define ATH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ATH_PUBLIC __attribute__((visibility("default")))
#else
#define ATH_MUST_USE
#define ATH_PRINTF(fmt, args)
#define ATH_PUBLIC
#endif

/* X(name, reason, JSON-RPC code, exit status, sentence) */
#define ATH_ERR_LIST(X)                                                                            \
    X(OK, "OK", 0, 0, "done")                                                                      \
    /* JSON-RPC's own, and ours inside the process */                                              \
    X(PARSE, "PARSE_ERROR", -32700, 1, "the text is not valid JSON")                               \
    X(INVALID_REQUEST, "INVALID_REQUEST", -32600, 1, "this is not a JSON-RPC 2.0 request")         \
    X(METHOD_NOT_FOUND, "METHOD_NOT_FOUND", -32601, 1, "athd has no such method")                  \
    X(INVALID_PARAMS, "INVALID_PARAMS", -32602, 64, "a parameter is missing or wrong")             \
    X(INTERNAL, "INTERNAL_ERROR", -32603, 1, "athd failed; its log says why")                      \
    X(NOMEM, "INTERNAL_ERROR", -32603, 1, "out of memory")                                         \
    X(IO, "INTERNAL_ERROR", -32603, 1, "a file or socket could not be read or written")            \
    X(CRYPTO, "INTERNAL_ERROR", -32603, 1, "a cryptographic library call failed")                  \
    X(NOT_FOUND, "INVALID_PARAMS", -32602, 1, "there is no such item")                             \
    X(EXISTS, "INVALID_PARAMS", -32602, 1, "there already is such an item")                        \
    /* policy and people */                                                                        \
    X(POLICY_DENIED, "POLICY_DENIED", -32001, 77, "no rule allows this")                           \
    X(USER_DENIED, "USER_DENIED", -32002, 77, "the user said no")                                  \
    X(CONSENT_TIMEOUT, "CONSENT_TIMEOUT", -32002, 77, "the user did not answer in time")           \
    X(NO_PROMPTER, "NO_PROMPTER", -32002, 77,                                                      \
      "nobody can be asked: the prompter does not work (athd's log says why); at a terminal "      \
      "run `ath consent environment`, or `ath consent`")                                           \
    /* keys */                                                                                     \
    X(KEY_NOT_FOUND, "KEY_NOT_FOUND", -32003, 1, "there is no key of this name")                   \
    X(KEY_EXISTS, "KEY_EXISTS", -32003, 1, "a key of this name already exists")                    \
    X(KEY_EXPIRED, "KEY_EXPIRED", -32003, 1, "the key has expired")                                \
    X(KEY_REVOKED, "KEY_REVOKED", -32003, 1, "the key has been revoked")                           \
    X(UNSUPPORTED_ALGORITHM, "UNSUPPORTED_ALGORITHM", -32003, 1,                                   \
      "the key or the hardware does not have this algorithm")                                      \
    /* hardware */                                                                                 \
    X(HSM_UNAVAILABLE, "HSM_UNAVAILABLE", -32004, 69, "the TPM or token cannot be used now")       \
    X(HSM_BUSY, "HSM_BUSY", -32004, 75, "the TPM or token is busy; try again")                     \
    X(HSM_ERROR, "HSM_ERROR", -32004, 69, "the TPM or token reported an error")                    \
    X(HSM_NOT_FOUND, "HSM_NOT_FOUND", -32004, 69, "no hsm of this name is configured")             \
    X(PIN_REQUIRED, "PIN_REQUIRED", -32005, 77, "the key needs its PIN")                           \
    X(PIN_INCORRECT, "PIN_INCORRECT", -32005, 77, "the PIN is wrong")                              \
    X(PIN_LOCKED, "PIN_LOCKED", -32005, 75, "too many wrong PINs; the hardware is locked")         \
    X(AGENT_LOCKED, "AGENT_LOCKED", -32006, 77, "athd is locked; unlock it first")                 \
    X(RATE_LIMITED, "RATE_LIMITED", -32007, 75, "too many requests; try again later")              \
    X(AUDIT_UNAVAILABLE, "AUDIT_UNAVAILABLE", -32008, 1,                                           \
      "the audit record could not be written, so nothing was released")                            \
    /* the peer's messages */                                                                      \
    X(INVALID_MESSAGE, "INVALID_MESSAGE", -32009, 1, "the peer's message is malformed")            \
    X(INVALID_PUBLIC_KEY, "INVALID_PUBLIC_KEY", -32009, 1, "the public key is not acceptable")     \
    X(INVALID_ATTESTATION, "INVALID_ATTESTATION", -32009, 1, "the attestation does not hold")      \
    X(INVALID_CREDENTIAL, "INVALID_CREDENTIAL", -32009, 1, "the credential does not hold")         \
    X(INVALID_SIGNATURE, "INVALID_SIGNATURE", -32009, 1, "a signature does not hold")              \
    X(INVALID_NONCE, "INVALID_NONCE", -32009, 1, "the nonce is not acceptable")                    \
    X(TIMESTAMP_SKEW, "TIMESTAMP_SKEW", -32009, 1, "the message's time is too far from ours")      \
    X(REPLAYED, "REPLAYED", -32009, 1, "this was presented before")                                \
    X(UNKNOWN_PEER, "UNKNOWN_PEER", -32009, 1, "the peer is not the one it must be")               \
    X(PEER_KEY_CHANGED, "PEER_KEY_CHANGED", -32009, 1, "the peer's key is not the pinned one")     \
    X(PROFILE_REFUSED, "PROFILE_REFUSED", -32009, 1, "the peer does not speak ATH-TB1")            \
    X(VERSION_MISMATCH, "VERSION_MISMATCH", -32009, 1, "no protocol version in common")            \
    X(UNEXPECTED_MESSAGE, "UNEXPECTED_MESSAGE", -32009, 1, "the message is out of order")          \
    X(SCOPE_NOT_APPROVED, "SCOPE_NOT_APPROVED", -32009, 77, "no requested scope was approved")     \
    X(HANDSHAKE_TIMEOUT, "HANDSHAKE_TIMEOUT", -32009, 1, "the handshake took too long")            \
    X(HANDSHAKE_NOT_FOUND, "HANDSHAKE_NOT_FOUND", -32009, 1, "there is no such handshake")         \
    X(INVALID_EVIDENCE, "INVALID_EVIDENCE", -32009, 1, "the hardware evidence does not hold")      \
    X(INVALID_KEY_SHARE, "INVALID_KEY_SHARE", -32009, 1, "the peer's key share is not acceptable") \
    /* sessions, vault, grants, limits */                                                          \
    X(SESSION_NOT_FOUND, "SESSION_NOT_FOUND", -32010, 1, "there is no such session")               \
    X(SESSION_EXPIRED, "SESSION_EXPIRED", -32010, 1, "the session has ended")                      \
    X(DECRYPT_FAILED, "DECRYPT_FAILED", -32010, 1, "the message could not be decrypted")           \
    X(SESSION_REPLAYED, "REPLAYED", -32010, 1, "this message was received before")                 \
    X(SECRET_NOT_FOUND, "SECRET_NOT_FOUND", -32011, 1, "there is no secret of this name")          \
    X(SECRET_EXISTS, "SECRET_EXISTS", -32011, 1, "a secret of this name already exists")           \
    X(GRANT_NOT_FOUND, "GRANT_NOT_FOUND", -32013, 1, "there is no grant of this name")             \
    X(GRANT_EXISTS, "GRANT_EXISTS", -32013, 1, "a grant of this name already exists")              \
    X(LIMIT_EXCEEDED, "LIMIT_EXCEEDED", -32012, 1, "too large, too deep or too many")              \
    /* only seen by clients of the socket */                                                       \
    X(UNREACHABLE, "UNREACHABLE", -32098, 2, "athd cannot be reached")                             \
    X(USAGE, "USAGE", -32099, 64, "wrong usage")                                                   \
    /* that came later: at the end, so that no value changes */                                    \
    X(CONSENT_NOT_FOUND, "CONSENT_NOT_FOUND", -32002, 1,                                           \
      "no such question, allowance or pause is there (any more)")

#define ATH_ERR_ENUM(name, reason, code, exit_status, sentence) ATH_ERR_##name,
typedef enum ath_err { ATH_ERR_LIST(ATH_ERR_ENUM) ATH_ERR_COUNT } ath_err;
#undef ATH_ERR_ENUM

#define ATH_OK ATH_ERR_OK

/* The API's reason, as "KEY_NOT_FOUND"; never NULL. */
ATH_PUBLIC const char *ath_err_reason(ath_err err);

/* One sentence a person can act on; never NULL. */
ATH_PUBLIC const char *ath_err_sentence(ath_err err);

/* JSON-RPC error code (docs/api.md). */
ATH_PUBLIC int ath_err_code(ath_err err);

/* Exit status for `ath` (docs/api.md, "Exit codes"). */
ATH_PUBLIC int ath_err_exit_status(ath_err err);

/* The error of a code and reason as they came over the socket; ATH_ERR_INTERNAL if unknown.
 * reason may be NULL. */
ATH_PUBLIC ath_err ath_err_from_wire(int code, const char *reason);

#ifdef __cplusplus
}
#endif
#endif
