/* scrypt of a passphrase in a thread of libuv's, one at a time: its memory and its tenths of a
 * second are never asked for twice at once, whoever locks and unlocks. */
#ifndef ATHD_PASSPHRASE_HASH_H
#define ATHD_PASSPHRASE_HASH_H

#include <sys/queue.h>

#include "athd/lock_file.h"
#include "base/secret.h"

struct athd;
struct passphrase_hash;

struct passphrase_queue {
    TAILQ_HEAD(passphrase_hashes, passphrase_hash) waiting; /* the first one runs */
};

void passphrase_queue_init(struct passphrase_queue *queue);

/* hash: LOCK_HASH_LEN bytes, valid during the call; NULL with an error. */
typedef void passphrase_hash_fn(void *ctx, ath_err err, const struct ath_secret *hash);

/* Hashes with the verifier's salt and cost. The passphrase is taken, and wiped as soon as it has
 * been used. done from the loop, once, never from inside; it cannot be called off. ATH_ERR_NOMEM:
 * done is not called, the passphrase is wiped. */
ath_err passphrase_hash_start(struct athd *athd, struct ath_secret *taken_passphrase,
                              const struct lock_verifier *verifier, passphrase_hash_fn *done,
                              void *ctx) ATH_MUST_USE;

#endif
