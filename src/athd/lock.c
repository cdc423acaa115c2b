#include "athd/lock.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/hsm_throttle.h"
#include "base/clock.h"
#include "base/file.h"

struct change;

struct lock {
    struct tenant *tenant;
    char *path;
    struct lock_record now;   /* what holds */
    struct lock_record asked; /* what the file will say when all that was asked for is written */
    uint64_t locks;           /* so many since the start */
    bool is_asking;           /* a person */
    struct change *unlocking; /* logind's word, on its way to the disk; NULL: none is */
    uint64_t until_ms;        /* the end of the pause after wrong passphrases, clock_boot_ms */
};

/* A change that holds when it is on disk. */
struct change {
    struct lock *lock;
    struct lock_record after;
    unsigned ended;
    uint64_t locks;
    const struct request *request; /* borrowed until done; NULL: logind */
    store_done_fn *done;
    void *ctx;
};

/* In seconds, after so many wrong passphrases in a row. */
static int64_t
pause_after(unsigned wrong)
{
    static const int64_t pauses[] = {0, 0, 1, 5, 30, 120, 600, 3600};
    const size_t last = sizeof(pauses) / sizeof(pauses[0]) - 1;

    return pauses[wrong < last ? wrong : last];
}

/* ---- the file ---- */

static void
write_file(struct lock *lock, const struct lock_record *record, store_done_fn *done, void *ctx)
{
    struct ath_buf text = {.max = LOCK_FILE_MAX};

    lock->asked = *record;
    if (record->reasons == 0) {
        store_remove(lock->tenant->athd, lock->path, done, ctx);
        return;
    }
    lock_record_encode(record, &text);
    store_replace(lock->tenant->athd, lock->path, &text, done, ctx);
}

/* Changes that cross were made from what held when they were asked for: the last one written is not
 * what came of them all. */
static bool
is_file_behind(const struct lock *lock)
{
    const struct lock_record *now = &lock->now, *asked = &lock->asked;

    return now->reasons != asked->reasons || now->wrong != asked->wrong ||
           memcmp(&now->verifier, &asked->verifier, sizeof(now->verifier)) != 0;
}

static ath_err
read_file(struct lock *lock)
{
    struct ath_buf text = {.max = LOCK_FILE_MAX};
    struct why why = {{0}};
    ath_err err = file_read_own(lock->path, &text, &why);

    if (err == ATH_OK)
        err = lock_record_decode(ath_buf_slice(&text), &why, &lock->now);
    ath_buf_done(&text);
    if (err == ATH_ERR_NOT_FOUND || err == ATH_ERR_NOMEM)
        return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
    if (err == ATH_OK) {
        lock->asked = lock->now;
        lock->until_ms = hsm_throttle_until_ms(pause_after(lock->now.wrong), lock->now.failed_at);
        return ATH_OK;
    }
    damage_note(&lock->tenant->athd->damage, lock->tenant->dir, LOCK_FILE_NAME, err, &why);
    log_error("event=locked reason=\"%s cannot be read, so athd is locked: look at it, remove it "
              "and start athd again\"",
              lock->path);
    lock->now = (struct lock_record){.reasons = LOCK_BY_DAMAGE, .since = clock_now()};
    return ATH_OK;
}

/* One that cannot be read is not written over: somebody is to look at it. */
static bool
is_damaged(const struct lock *lock)
{
    return (lock->now.reasons & LOCK_BY_DAMAGE) != 0;
}

/* ---- life ---- */

ath_err
lock_open(struct tenant *tenant, struct lock **ret_lock)
{
    struct lock *lock = calloc(1, sizeof(*lock));
    ath_err err = ATH_ERR_NOMEM;

    if (lock == NULL)
        return err;
    lock->tenant = tenant;
    if ((lock->path = file_path(tenant->dir, LOCK_FILE_NAME)) == NULL ||
        (err = read_file(lock)) != ATH_OK) {
        lock_free(lock);
        return err;
    }
    *ret_lock = lock;
    if (lock->now.reasons == 0)
        return ATH_OK;
    log_warning("event=locked uid=%lu since=%lld; `ath unlock` ends that",
                (unsigned long)tenant->uid, (long long)lock->now.since);
    lock_take_effect(tenant);
    return ATH_OK;
}

void
lock_free(struct lock *lock)
{
    if (lock == NULL)
        return;
    free(lock->path);
    free(lock);
}

/* ---- facts ---- */

unsigned
lock_reasons(const struct lock *lock)
{
    return lock == NULL ? 0 : lock->now.reasons;
}

const struct lock_verifier *
lock_verifier(const struct lock *lock)
{
    return &lock->now.verifier;
}

uint64_t
lock_count(const struct lock *lock)
{
    return lock->locks;
}

uint32_t
lock_wait_s(const struct lock *lock)
{
    uint64_t now_ms = clock_boot_ms();

    return now_ms >= lock->until_ms ? 0 : (uint32_t)((lock->until_ms - now_ms + 999) / 1000);
}

void
lock_put_status(const struct lock *lock, struct json_maker *object)
{
    unsigned reasons = lock_reasons(lock);
    struct json_maker status, by;

    json_put_bool(object, "locked", reasons != 0);
    if (reasons == 0)
        return;
    json_object_begin(&status);
    json_put_int(&status, "since", lock->now.since);
    json_array_begin(&by);
    for (unsigned bit = LOCK_BY_PASSPHRASE; bit <= LOCK_BY_DAMAGE; bit <<= 1)
        if ((reasons & bit) != 0)
            json_put_string(&by, NULL, lock_reason_name((enum lock_reason)bit));
    json_put_maker(&status, "by", &by);
    if ((reasons & LOCK_BY_PASSPHRASE) != 0 && lock_wait_s(lock) > 0)
        json_put_int(&status, "retry_after", lock_wait_s(lock));
    json_put_maker(object, "lock", &status);
}

bool
lock_take_screen(struct lock *lock)
{
    bool was_asking = lock->is_asking;

    lock->is_asking = true;
    return !was_asking;
}

void
lock_give_screen(struct lock *lock)
{
    lock->is_asking = false;
}

/* ---- locking ---- */

static void
put_reason(struct lock *lock, enum lock_reason reason)
{
    if (lock->now.reasons == 0)
        lock->now.since = clock_now();
    lock->now.reasons |= (unsigned)reason;
    lock->locks++;
}

static void
fail(void (*done)(void), void *ctx, ath_err err)
{
    ((store_done_fn *)done)(ctx, err, &(struct why){{0}});
}

static void
tell_later(struct lock *lock, store_done_fn *done, void *ctx, ath_err err)
{
    if (done != NULL)
        deferred_fail(&lock->tenant->athd->deferred, fail, (void (*)(void))done, ctx, err);
}

void
lock_add(struct lock *lock, enum lock_reason reason, store_done_fn *done, void *ctx)
{
    bool is_new = (lock->now.reasons & (unsigned)reason) == 0;

    put_reason(lock, reason); /* known or not, whoever unlocks now was there before it came */
    if (is_damaged(lock) || (!is_new && done == NULL))
        tell_later(lock, done, ctx, ATH_OK);
    else /* also one that is there already: its end may be on its way to the disk */
        write_file(lock, &lock->now, done, ctx);
    if (!is_new)
        return;
    lock_tell_locked(lock->tenant, reason, NULL);
    lock_take_effect(lock->tenant);
}

static struct change *
change_new(struct lock *lock, const struct request *request, store_done_fn *done, void *ctx)
{
    struct change *change = calloc(1, sizeof(*change));

    if (change != NULL)
        *change = (struct change){.lock = lock,
                                  .after = lock->now,
                                  .locks = lock->locks,
                                  .request = request,
                                  .done = done,
                                  .ctx = ctx};
    return change;
}

static void
change_end(struct change *change, ath_err err, const struct why *why)
{
    if (change->done != NULL)
        change->done(change->ctx, err, why);
    free(change);
}

static void
on_passphrase_kept(void *ctx, ath_err err, const struct why *why)
{
    struct change *change = ctx;
    struct lock *lock = change->lock;

    if (err == ATH_OK) {
        lock->now.verifier = change->after.verifier;
        lock->now.wrong = 0;
        lock->now.failed_at = 0;
        lock->until_ms = 0;
        put_reason(lock, LOCK_BY_PASSPHRASE);
        lock_tell_locked(lock->tenant, LOCK_BY_PASSPHRASE, change->request);
        lock_take_effect(lock->tenant);
    }
    if (!is_file_behind(lock)) {
        change_end(change, err, why);
    } else if (err != ATH_OK) {
        write_file(lock, &lock->now, NULL, NULL);
        change_end(change, err, why);
    } else { /* what crossed it has written over it */
        write_file(lock, &lock->now, change->done, change->ctx);
        free(change);
    }
}

ath_err
lock_with_passphrase(struct lock *lock, const struct lock_verifier *verifier,
                     const struct request *request, store_done_fn *done, void *ctx)
{
    struct change *change;

    if ((lock->now.reasons & (LOCK_BY_PASSPHRASE | LOCK_BY_DAMAGE)) != 0)
        return ATH_ERR_EXISTS;
    if ((change = change_new(lock, request, done, ctx)) == NULL)
        return ATH_ERR_NOMEM;
    if (change->after.reasons == 0)
        change->after.since = clock_now();
    change->after.reasons |= LOCK_BY_PASSPHRASE;
    change->after.verifier = *verifier;
    change->after.wrong = 0;
    change->after.failed_at = 0;
    write_file(lock, &change->after, on_passphrase_kept, change);
    return ATH_OK;
}

/* ---- unlocking ---- */

void
lock_begin_pause(struct lock *lock)
{
    lock->until_ms = clock_boot_ms() + (uint64_t)pause_after(lock->now.wrong) * 1000;
}

void
lock_count_try(struct lock *lock, store_done_fn *done, void *ctx)
{
    if (lock->now.wrong < LOCK_WRONG_MAX)
        lock->now.wrong++;
    lock->now.failed_at = clock_now();
    lock_begin_pause(lock);
    write_file(lock, &lock->now, done, ctx);
}

/* Only what ended: a passphrase may have been tried meanwhile, and stays counted. */
static void
take_out(struct lock *lock, unsigned ended)
{
    lock->now.reasons &= ~ended;
    if ((ended & LOCK_BY_PASSPHRASE) == 0)
        return;
    lock->now.verifier = (struct lock_verifier){0};
    lock->now.wrong = 0;
    lock->now.failed_at = 0;
    lock->until_ms = 0;
}

static void
on_ended(void *ctx, ath_err err, const struct why *why)
{
    struct change *change = ctx;
    struct lock *lock = change->lock;
    unsigned ended = change->ended & lock->now.reasons; /* it may have ended twice */
    struct why later = {{0}};

    if (lock->unlocking == change)
        lock->unlocking = NULL;
    if (err == ATH_OK && lock->locks != change->locks) {
        err = why_set(&later, ATH_ERR_AGENT_LOCKED, "athd was locked again meanwhile");
        why = &later;
    } else if (err == ATH_OK && ended != 0) {
        take_out(lock, ended);
        lock_tell_unlocked(lock->tenant, ended, change->request);
        if (lock->now.reasons == 0)
            lock_lift(lock->tenant);
    }
    if (is_file_behind(lock))
        write_file(lock, &lock->now, NULL, NULL);
    change_end(change, err, why);
}

void
lock_end(struct lock *lock, unsigned reasons, uint64_t seen, const struct request *request,
         store_done_fn *done, void *ctx)
{
    unsigned ended = lock->now.reasons & reasons & ~(unsigned)LOCK_BY_DAMAGE;
    bool is_logind = request == NULL && done == NULL;
    struct change *change;

    if (ended == 0 || is_damaged(lock) || lock->locks != seen) {
        tell_later(lock, done, ctx,
                   lock->locks != seen || is_damaged(lock) ? ATH_ERR_AGENT_LOCKED : ATH_OK);
        return;
    }
    if (is_logind && lock->unlocking != NULL && lock->unlocking->ended == ended) {
        lock->unlocking->locks = seen; /* one write for all that it says meanwhile */
        return;
    }
    if ((change = change_new(lock, request, done, ctx)) == NULL) {
        tell_later(lock, done, ctx, ATH_ERR_NOMEM);
        return;
    }
    if (is_logind)
        lock->unlocking = change;
    change->ended = ended;
    change->after.reasons &= ~ended;
    if ((ended & LOCK_BY_PASSPHRASE) != 0) {
        change->after.verifier = (struct lock_verifier){0};
        change->after.wrong = 0;
    }
    write_file(lock, &change->after, on_ended, change);
}
