/* The public halves of a key in the forms that others read. */
#ifndef ATHD_KEY_EXPORT_H
#define ATHD_KEY_EXPORT_H

#include "athd/key.h"

/* format: jwk and agent.json give an object; pem, did, ssh (RFC 4253 6.6, RFC 5656 3.1, one line)
 * and tss2 (the wrapped blob) a string. ATH_ERR_INVALID_PARAMS (agent.json of a key without
 * agent_id, tss2 of a key that is no TPM's, an unknown format) with why, ATH_ERR_NOMEM. */
ath_err key_export(const struct key *key, const char *format, struct why *why,
                   struct json **ret_data) ATH_MUST_USE;

#endif
