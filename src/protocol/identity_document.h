/* The agent's identity document, served at its agent_id (ath-0.1 2.3). */
#ifndef PROTOCOL_IDENTITY_DOCUMENT_H
#define PROTOCOL_IDENTITY_DOCUMENT_H

#include "base/json.h"
#include "crypto/public_key.h"

struct display { /* who a client says it is, of its own key; all owned, may be NULL */
    char *name, *developer_name, *developer_id, *developer_contact;
    struct json *capabilities; /* array of strings */
};

/* {name, developer?:{name,id,contact?}, capabilities?}; unknown members refused. */
ath_err display_decode(const struct json *object, struct why *why, struct display *ret_display) ATH_MUST_USE;
ath_err display_encode(const struct display *display, struct json **ret_json) ATH_MUST_USE;
void display_done(struct display *display);

/* ath_version, agent_id, name, developer, public_key (JWK with kid, alg, use), capabilities. */
ath_err identity_document_build(const char *agent_id, const struct display *display,
                                const struct public_key *key, struct json **ret_document) ATH_MUST_USE;

/* agent_id and the one public_key (JWK or PEM string). The strings point into the document. */
ath_err identity_document_read(const struct json *document, struct why *why, const char **ret_agent_id,
                               struct public_key **ret_key) ATH_MUST_USE;

#endif
