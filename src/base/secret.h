/*
 * Secrets: locked pages, kept out of core dumps, wiped when freed, compared only in constant time.
 * Secrets of one process share an arena of locked pages (a page each would exhaust RLIMIT_MEMLOCK
 * with 65,536 sessions); where locking fails, the secret is refused, not silently left unlocked,
 * unless secret_allow_unlocked was called, which logs once.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/buf.h"

struct ath_secret {
    uint8_t *data;
    size_t len;
};

/* Zeroed storage of len bytes (1 to ATH_SECRET_MAX). ATH_ERR_NOMEM (memory, or memory that can be
 * locked), ATH_ERR_LIMIT_EXCEEDED. ath_secret_init overwrites *secret: it must be empty. */
#define ATH_SECRET_MAX 65536u
ath_err ath_secret_init(struct ath_secret *secret, size_t len) ATH_MUST_USE;
ath_err ath_secret_from(struct ath_slice from, struct ath_secret *ret_secret) ATH_MUST_USE;
void ath_secret_done(struct ath_secret *secret); /* wipes; an empty secret is fine */
bool ath_secret_equal(const struct ath_secret *a, struct ath_slice b); /* constant time */

static inline struct ath_slice
ath_secret_slice(const struct ath_secret *secret)
{
    return (struct ath_slice){secret->data, secret->len};
}

/* For this process: no core dumps, not traceable by its own uid (PR_SET_DUMPABLE 0). Call first in
 * main() of athd and the helper. */
void secret_protect_process(void);
void secret_allow_unlocked(void);

/* Constant time for equal lengths; false when lengths differ. */
bool bytes_equal_secret(const void *a, const void *b, size_t len);

#endif
