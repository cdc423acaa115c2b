/* Public audit keys as files: keys/<thumbprint>.json of a log, and what people keep of them. */
#ifndef PROTOCOL_AUDIT_KEY_H
#define PROTOCOL_AUDIT_KEY_H

#include "crypto/public_key.h"

#define AUDIT_KEY_MAX_LEN 4096u

/* A key file's only form: the JWK's required members as RFC 7638 writes them, and a line feed.
 * Appended; the caller checks out->err. */
void audit_key_put_file(const struct public_key *key, struct ath_buf *out);

/* A JWK or a PEM block, white space around it allowed; P-256 only. ATH_ERR_INVALID_PUBLIC_KEY,
 * ATH_ERR_PARSE, ATH_ERR_LIMIT_EXCEEDED, all with why; ATH_ERR_NOMEM. */
ath_err audit_key_decode(struct ath_slice text, struct why *why,
                         struct public_key **ret_key) ATH_MUST_USE;

#endif
