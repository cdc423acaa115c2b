/* The agent's identity document, served at its agent_id (ATH 0.1, agent identity). */
#ifndef PROTOCOL_IDENTITY_DOCUMENT_H
#define PROTOCOL_IDENTITY_DOCUMENT_H

#include "base/json.h"
#include "crypto/public_key.h"

struct display { /* who a client says it is, of its own key; all owned, may be NULL */
    char *name, *developer_name, *developer_id, *developer_contact;
    struct json *capabilities; /* array of strings */
};

/* {name, developer?:{name,id,contact?}, capabilities?}; unknown members refused, texts are 1 to
 * DISPLAY_TEXT_MAX_LEN bytes. ATH_ERR_INVALID_PARAMS with why, ATH_ERR_NOMEM. */
ath_err display_decode(const struct json *object, struct why *why,
                       struct display *ret_display) ATH_MUST_USE;
/* The same object again; the caller frees it. ATH_ERR_NOMEM. */
ath_err display_encode(const struct display *display, struct json **ret_json) ATH_MUST_USE;
void display_done(struct display *display);

/* ath_version, agent_id, name, developer, public_key (JWK with kid, alg, use: the one form that
 * every official verifier reads), capabilities. display may be NULL; without a name the agent_id is
 * the name, absent members are left out (never null). ATH_ERR_INVALID_PARAMS (agent_id),
 * ATH_ERR_NOMEM. */
ath_err identity_document_build(const char *agent_id, const struct display *display,
                                const struct public_key *key,
                                struct json **ret_document) ATH_MUST_USE;

/* agent_id and the one public_key (a public JWK, or a PEM string). *ret_agent_id points into the
 * document, the key is the caller's. A JWK that says it is not for verifying signatures with its
 * own algorithm (use, key_ops, alg) is refused. ATH_ERR_INVALID_ATTESTATION (form, agent_id),
 * ATH_ERR_INVALID_PUBLIC_KEY, ATH_ERR_NOMEM. */
ath_err identity_document_read(const struct json *document, struct why *why,
                               const char **ret_agent_id, struct public_key **ret_key) ATH_MUST_USE;

#endif
