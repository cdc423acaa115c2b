/*
 * What a key of an ATH role signs, and nothing else (profile section 4): the purpose is part of
 * what is signed, of the question put to policy and of the audit record. The last gate before the
 * hardware: bytes that do not begin as their purpose says are not signed.
 */
#ifndef PROTOCOL_PURPOSE_H
#define PROTOCOL_PURPOSE_H

#include "base/buf.h"
#include "protocol/did.h"

#define PURPOSE_LIST(X)                                                                            \
    /* X(name, text, role, is JWS) ; text is the label, or the JWS typ */                          \
    X(CLIENT_HELLO, "client-hello", DID_CLIENT, false)                                             \
    X(SERVER_IDENTITY, "server-identity", DID_SERVER, false)                                       \
    X(CLIENT_IDENTITY, "client-identity", DID_CLIENT, false)                                       \
    X(SCOPE_REQUEST, "scope-request", DID_CLIENT, false)                                           \
    X(CONFIRMATION_REQUEST, "confirmation-request", DID_SERVER, false)                             \
    X(USER_CONFIRMATION, "user-confirmation", DID_USER, false)                                     \
    X(USER_GRANT, "ath-user-auth+jwt", DID_USER, true)                                             \
    X(ATTESTATION, "JWT", DID_CLIENT, true)                                                        \
    X(ACCESS_TOKEN, "at+jwt", DID_SERVER, true)

#define PURPOSE_ENUM(name, text, role, jws) PURPOSE_##name,
enum sign_purpose { PURPOSE_LIST(PURPOSE_ENUM) PURPOSE_COUNT };
#undef PURPOSE_ENUM

/* The label, or the JWS typ. */
const char *purpose_text(enum sign_purpose purpose);

/* May a key of this role sign these bytes for this purpose? For labels: "ATH-TB1 " label " " 43
 * b64u " " 43 b64u and nothing more. For JWS: a signing input whose header decodes, whose alg and
 * typ are right (typ equal to the purpose's), no other dot. ATH_ERR_POLICY_DENIED otherwise;
 * ATH_ERR_NOMEM. */
ath_err purpose_check(enum sign_purpose purpose, enum did_role role,
                      struct ath_slice bytes) ATH_MUST_USE;

#endif
