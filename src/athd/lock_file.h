/* STATE/lock.json: what a locked athd keeps, so that killing it does not unlock it. */
#ifndef ATHD_LOCK_FILE_H
#define ATHD_LOCK_FILE_H

#include "base/buf.h"
#include "base/why.h"
#include "crypto/scrypt.h"

#define LOCK_FILE_NAME "lock.json"
#define LOCK_FILE_MAX 4096u
#define LOCK_SALT_LEN 32u
#define LOCK_HASH_LEN 32u
#define LOCK_WRONG_MAX 1000000

/* Why it is locked; any number of them at once. */
enum lock_reason {
    LOCK_BY_PASSPHRASE = 1, /* agent.lock: ends with the passphrase only */
    LOCK_BY_SUSPEND = 2,    /* logind: the machine went to sleep */
    LOCK_BY_SESSION = 4,    /* logind: a session of the user's was locked */
    LOCK_BY_DAMAGE = 8,     /* lock.json cannot be read; never in a file */
};

struct lock_verifier {
    struct scrypt_cost cost;
    uint8_t salt[LOCK_SALT_LEN], hash[LOCK_HASH_LEN];
};

struct lock_record {
    unsigned reasons;              /* enum lock_reason bits; 0: not locked */
    int64_t since;                 /* Unix seconds: when the first of them came */
    struct lock_verifier verifier; /* with LOCK_BY_PASSPHRASE */
    unsigned wrong;                /* passphrases in a row; one that is being tried counts */
    int64_t failed_at;             /* the last of them, Unix seconds */
};

/* "passphrase", "suspend", "session", "damage". */
const char *lock_reason_name(enum lock_reason reason);

/* Strict: exactly the members that are written, each in its range. ATH_ERR_PARSE with why,
 * ATH_ERR_NOMEM. */
ath_err lock_record_decode(struct ath_slice text, struct why *why,
                           struct lock_record *ret_record) ATH_MUST_USE;
/* The caller checks out->err. */
void lock_record_encode(const struct lock_record *record, struct ath_buf *out);

#endif
