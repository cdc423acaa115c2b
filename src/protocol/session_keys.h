/* A session's keys (profile section 6) and its two directions. */
#ifndef PROTOCOL_SESSION_KEYS_H
#define PROTOCOL_SESSION_KEYS_H

#include "base/secret.h"
#include "crypto/key_agreement.h"

#define SID_LEN 22

/* Zero-initialise; session_keys_done wipes it. */
struct session_keys {
    struct ath_secret c2s, s2c;
    char sid[SID_LEN + 1];
};

/* From Z of the key agreement and ath_th. ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err session_keys_derive(const struct ath_secret *z, const uint8_t transcript[32],
                            struct session_keys *ret_keys) ATH_MUST_USE;
void session_keys_done(struct session_keys *keys);

#endif
