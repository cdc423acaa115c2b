#include "athd/passphrase_hash.h"

#include <stdlib.h>

#include "athd/athd.h"

struct passphrase_hash {
    TAILQ_ENTRY(passphrase_hash) entry;
    struct athd *athd;
    uv_work_t work;
    struct ath_secret passphrase, hash;
    struct lock_verifier verifier;
    ath_err err;
    passphrase_hash_fn *done;
    void *ctx;
};

void
passphrase_queue_init(struct passphrase_queue *queue)
{
    TAILQ_INIT(&queue->waiting);
}

static void
hash_free(struct passphrase_hash *hash)
{
    ath_secret_done(&hash->passphrase);
    ath_secret_done(&hash->hash);
    free(hash);
}

/* In a thread of libuv's. */
static void
on_work(uv_work_t *work)
{
    struct passphrase_hash *hash = work->data;

    hash->err =
        scrypt(ath_secret_slice(&hash->passphrase),
               ath_slice_of(hash->verifier.salt, LOCK_SALT_LEN), &hash->verifier.cost, &hash->hash);
    ath_secret_done(&hash->passphrase);
}

static void start_first(struct athd *athd);

static void
on_worked(uv_work_t *work, int status)
{
    struct passphrase_hash *hash = work->data;
    struct athd *athd = hash->athd;

    if (status != 0 && hash->err == ATH_OK)
        hash->err = ATH_ERR_INTERNAL;
    TAILQ_REMOVE(&athd->passphrases.waiting, hash, entry);
    start_first(athd);
    hash->done(hash->ctx, hash->err, hash->err == ATH_OK ? &hash->hash : NULL);
    hash_free(hash);
}

static void
start_first(struct athd *athd)
{
    struct passphrase_hash *first = TAILQ_FIRST(&athd->passphrases.waiting);

    /* fails only without a callback (uv_queue_work, libuv 1.44) */
    if (first != NULL)
        uv_queue_work(athd->loop, &first->work, on_work, on_worked);
}

ath_err
passphrase_hash_start(struct athd *athd, struct ath_secret *taken_passphrase,
                      const struct lock_verifier *verifier, passphrase_hash_fn *done, void *ctx)
{
    struct passphrase_hash *hash = calloc(1, sizeof(*hash));

    if (hash == NULL || ath_secret_init(&hash->hash, LOCK_HASH_LEN) != ATH_OK) {
        ath_secret_done(taken_passphrase);
        free(hash);
        return ATH_ERR_NOMEM;
    }
    hash->athd = athd;
    hash->work.data = hash;
    hash->passphrase = *taken_passphrase;
    *taken_passphrase = (struct ath_secret){NULL, 0};
    hash->verifier = *verifier;
    hash->done = done;
    hash->ctx = ctx;
    TAILQ_INSERT_TAIL(&athd->passphrases.waiting, hash, entry);
    if (TAILQ_FIRST(&athd->passphrases.waiting) == hash)
        start_first(athd);
    return ATH_OK;
}
