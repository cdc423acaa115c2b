#include "athd/replay_store.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/replay_file.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/digest.h"
#include "crypto/random.h"
#include "protocol/protocol_limits.h"

#define CAPACITY_MIN 64u
#define CLEAN_EVERY_S 300

/* One that is not on disk yet. */
struct waiting {
    struct waiting *next;
    struct replay_use use;
    int64_t span_end;
    ath_err err;
    store_done_fn *done;
    void *ctx;
};

struct replay_store {
    struct athd *athd;
    char *dir;
    struct replay_use *slots; /* open addressing by id; expires_at 0: free */
    size_t capacity, count;
    uint64_t seed;
    int64_t rebuilt_at;
    bool is_blind; /* a file of uses cannot be read: nothing is known to be new */

    struct waiting *queue, *queue_last;
    struct waiting *batch; /* what the thread pool is writing */
    uv_work_t work;
    int64_t cleaned_at, batch_now;
};

/* ---- the set ---- */

static size_t
home_of(const struct replay_store *store, const uint8_t id[REPLAY_ID_LEN])
{
    uint64_t hash;

    memcpy(&hash, id, sizeof(hash)); /* SHA-256 already; mixed, so that nobody can choose a slot */
    hash = (hash ^ store->seed) * 0x9e3779b97f4a7c15u;
    return (size_t)(hash >> 32) & (store->capacity - 1);
}

static struct replay_use *
slot_of(const struct replay_store *store, const uint8_t id[REPLAY_ID_LEN])
{
    size_t i = home_of(store, id);

    while (store->slots[i].expires_at != 0 && memcmp(store->slots[i].id, id, REPLAY_ID_LEN) != 0)
        i = (i + 1) & (store->capacity - 1);
    return &store->slots[i];
}

/* Moves what is alive into a table of this capacity. */
static ath_err
rebuild(struct replay_store *store, size_t capacity, int64_t now)
{
    struct replay_use *old = store->slots, *slots = calloc(capacity, sizeof(*slots));
    size_t old_capacity = store->capacity;

    if (slots == NULL)
        return ATH_ERR_NOMEM;
    store->slots = slots;
    store->capacity = capacity;
    store->count = 0;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].expires_at > now) {
            *slot_of(store, old[i].id) = old[i];
            store->count++;
        }
    free(old);
    return ATH_OK;
}

static ath_err
make_room(struct replay_store *store, int64_t now)
{
    size_t max = replay_store_max(store);
    ath_err err;

    if (store->capacity == 0)
        return rebuild(store, CAPACITY_MIN, now);
    if (store->count < store->capacity / 4 * 3 && store->count < max)
        return ATH_OK;
    /* a full table is searched for expired ones at most once a second */
    if (store->count >= max && store->rebuilt_at == now)
        return ATH_ERR_LIMIT_EXCEEDED;
    store->rebuilt_at = now;
    if ((err = rebuild(store, store->capacity, now)) != ATH_OK)
        return err;
    if (store->count >= max)
        return ATH_ERR_LIMIT_EXCEEDED;
    return store->count >= store->capacity / 2 ? rebuild(store, store->capacity * 2, now) : ATH_OK;
}

static ath_err
add(struct replay_store *store, const struct replay_use *use, int64_t now)
{
    struct replay_use *slot;
    ath_err err;

    if (store->capacity > 0 && slot_of(store, use->id)->expires_at > now)
        return ATH_ERR_REPLAYED;
    if ((err = make_room(store, now)) != ATH_OK)
        return err;
    slot = slot_of(store, use->id);
    if (slot->expires_at == 0)
        store->count++;
    *slot = *use;
    return ATH_OK;
}

/* A use that could not be written: it may be tried again. It is left to the next rebuild. */
static void
forget(struct replay_store *store, const struct replay_use *use)
{
    struct replay_use *slot = slot_of(store, use->id);

    if (slot->expires_at != 0)
        slot->expires_at = 1; /* long ago */
}

/* ---- start and end ---- */

static ath_err
load_use(void *ctx, const struct replay_use *use)
{
    struct replay_store *store = ctx;
    ath_err err = add(store, use, store->cleaned_at);

    /* more than we would have taken: keep the rest on disk, go on with what fits */
    return err == ATH_ERR_NOMEM ? err : ATH_OK;
}

static void
note_damage(void *ctx, const char *name, ath_err err, const struct why *why)
{
    struct replay_store *store = ctx;

    damage_note(&store->athd->damage, store->dir, name, err, why);
    store->is_blind = store->is_blind || err != ATH_ERR_PARSE;
}

ath_err
replay_store_open(struct athd *athd, const char *dir, struct why *why,
                  struct replay_store **ret_store)
{
    struct replay_store *store = calloc(1, sizeof(*store));
    struct replay_reader reader = {load_use, note_damage, store};
    ath_err err = ATH_ERR_NOMEM;

    if (store == NULL || (store->dir = ath_strdup(dir)) == NULL)
        goto out;
    store->athd = athd;
    store->work.data = store;
    store->cleaned_at = clock_now();
    if ((err = random_bytes((uint8_t *)&store->seed, sizeof(store->seed))) != ATH_OK ||
        (err = file_make_private_dir(dir, why)) != ATH_OK)
        goto out;
    if ((err = replay_file_load(dir, store->cleaned_at, &reader, why)) != ATH_OK)
        goto out;
    *ret_store = store;
    store = NULL;
out:
    replay_store_free(store);
    return err;
}

static void
waiting_free(struct waiting *list)
{
    while (list != NULL) {
        struct waiting *next = list->next;

        free(list);
        list = next;
    }
}

void
replay_store_free(struct replay_store *store)
{
    if (store == NULL)
        return;
    waiting_free(store->queue);
    waiting_free(store->batch);
    free(store->slots);
    free(store->dir);
    free(store);
}

size_t
replay_store_count(const struct replay_store *store)
{
    return store->count;
}

size_t
replay_store_max(const struct replay_store *store)
{
    return tenant_share(store->athd, REPLAY_MAX);
}

/* ---- writing in groups: one batch is on its way while the next one gathers ---- */

/* Writes those of the batch that belong to the span of `first` and are behind it. */
static void
write_span(const struct replay_store *store, struct waiting *first)
{
    struct replay_use *uses;
    size_t count = 0;
    ath_err err = ATH_ERR_NOMEM;

    for (struct waiting *w = first; w != NULL; w = w->next)
        count += w->span_end == first->span_end;
    if ((uses = calloc(count, sizeof(*uses))) != NULL) {
        count = 0;
        for (struct waiting *w = first; w != NULL; w = w->next)
            if (w->span_end == first->span_end)
                uses[count++] = w->use;
        err = replay_file_append(store->dir, first->span_end, uses, count);
    }
    free(uses);
    for (struct waiting *w = first; w != NULL; w = w->next)
        if (w->span_end == first->span_end)
            w->err = err;
}

#define NOT_WRITTEN ATH_ERR_COUNT

/* On a thread of the pool: touches only the batch and the directory. */
static void
write_batch(uv_work_t *work)
{
    struct replay_store *store = work->data;

    if (store->batch_now - store->cleaned_at >= CLEAN_EVERY_S) {
        replay_file_remove_ended(store->dir, store->batch_now);
        store->cleaned_at = store->batch_now;
    }
    for (struct waiting *w = store->batch; w != NULL; w = w->next)
        if (w->err == NOT_WRITTEN)
            write_span(store, w);
}

static void start_batch(struct replay_store *store);

static void
on_batch_written(uv_work_t *work, int status)
{
    struct replay_store *store = work->data;
    struct waiting *batch = store->batch;

    store->batch = NULL;
    if (store->queue != NULL)
        start_batch(store);
    while (batch != NULL) {
        struct waiting *next = batch->next;

        if (status != 0 || batch->err == NOT_WRITTEN)
            batch->err = ATH_ERR_IO;
        if (batch->err != ATH_OK) {
            log_error("event=replay_write err=%s", ath_err_reason(batch->err));
            forget(store, &batch->use);
        }
        batch->done(batch->ctx, batch->err, NULL);
        free(batch);
        batch = next;
    }
}

static void
start_batch(struct replay_store *store)
{
    store->batch = store->queue;
    store->queue = store->queue_last = NULL;
    store->batch_now = clock_now();
    (void)uv_queue_work(store->athd->loop, &store->work, write_batch, on_batch_written);
}

static ath_err
use_of(const char *kid, const char *jti, struct replay_use *ret_use)
{
    uint8_t digest[SHA256_LEN];
    ath_err err;

    /* the NUL between them keeps ("a", "bc") and ("ab", "c") apart */
    err = sha256_2(ath_slice_of(kid, strlen(kid) + 1), ath_slice_of_string(jti), digest);
    if (err == ATH_OK)
        memcpy(ret_use->id, digest, REPLAY_ID_LEN);
    return err;
}

ath_err
replay_store_use(struct replay_store *store, const char *kid, const char *jti, int64_t expires_at,
                 store_done_fn *done, void *ctx)
{
    struct waiting *waiting = calloc(1, sizeof(*waiting));
    int64_t now = clock_now();
    ath_err err = ATH_ERR_NOMEM;

    if (store->is_blind)
        err = ATH_ERR_IO;
    else if (waiting != NULL)
        err = use_of(kid, jti, &waiting->use);
    if (err != ATH_OK)
        goto out;
    waiting->use.expires_at = expires_at;
    if ((err = add(store, &waiting->use, now)) != ATH_OK)
        goto out;
    waiting->span_end = replay_file_span_end(expires_at, now);
    waiting->err = NOT_WRITTEN;
    waiting->done = done;
    waiting->ctx = ctx;
    if (store->queue == NULL)
        store->queue = waiting;
    else
        store->queue_last->next = waiting;
    store->queue_last = waiting;
    waiting = NULL;
    if (store->batch == NULL)
        start_batch(store);
out:
    free(waiting);
    return err;
}
