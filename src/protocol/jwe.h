/* Business messages of a session: compact JWE, dir + A256GCM, numbered, with a window of 1,024. */
#ifndef PROTOCOL_JWE_H
#define PROTOCOL_JWE_H

#include "protocol/session_keys.h"
#include "protocol/protocol_limits.h"
#include "base/why.h"

enum jwe_side { JWE_CLIENT, JWE_SERVER };

/* One side of one session; for the caller to place, jwe_channel_done when it ends. */
struct jwe_channel {
    struct session_keys keys; /* owned */
    enum jwe_side side;
    uint64_t next_seq; /* to send; 2^32 : used up */
    bool received_any;
    uint32_t highest; /* highest seq that decrypted */
    uint64_t seen[SESSION_WINDOW / 64];
};

/* Takes the keys. */
void jwe_channel_init(struct jwe_channel *channel, struct session_keys *taken_keys,
                      enum jwe_side side);
/* Wipes the keys; nothing can be sealed or opened with it any more. */
void jwe_channel_done(struct jwe_channel *channel);

/* re: the seq this answers, or -1. Appends the compact JWE. ATH_ERR_LIMIT_EXCEEDED (plaintext),
 * ATH_ERR_SESSION_EXPIRED (seq used up), ATH_ERR_INVALID_PARAMS (re), ATH_ERR_NOMEM. A number is
 * never used twice, also after a failure. */
ath_err jwe_seal(struct jwe_channel *channel, struct ath_slice plaintext, int64_t re,
                 struct ath_buf *out) ATH_MUST_USE;

/* Appends the plaintext; *ret_seq, *ret_re (-1: none). ATH_ERR_DECRYPT_FAILED for form, header,
 * tag, direction, sid; ATH_ERR_SESSION_REPLAYED for a number seen or too old;
 * ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM. Only a message that decrypted moves the window. */
ath_err jwe_open(struct jwe_channel *channel, struct ath_slice jwe, struct why *why,
                 struct ath_buf *plaintext, uint32_t *ret_seq, int64_t *ret_re) ATH_MUST_USE;

#endif
