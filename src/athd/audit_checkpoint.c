#include "athd/audit_checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_checkpoint_round.h"
#include "athd/audit_newest.h"
#include "base/file.h"

#define ALL_NAME "checkpoints"

/* ---- when ---- */

static void
on_key_ready(void *ctx)
{
    struct audit_checkpoints *checkpoints = ctx;

    /* what failed for want of it is tried now, and not in a while */
    checkpoints->is_wanted = checkpoints->is_wanted || !checkpoints->is_started;
    checkpoints->is_started = true;
    audit_round_begin(checkpoints);
}

static void
on_interval(uv_timer_t *timer)
{
    struct audit_checkpoints *checkpoints = timer->data;

    checkpoints->is_wanted = true;
    if (checkpoints->retry_ms == 0)
        audit_round_begin(checkpoints);
}

/* The interval counts from the first record behind a checkpoint: an idle athd sleeps. */
static void
on_grown(void *ctx)
{
    struct audit_checkpoints *checkpoints = ctx;
    int64_t interval_s = checkpoints->athd->config->audit.checkpoint_interval_s;

    if (interval_s > 0 && !uv_is_active((uv_handle_t *)&checkpoints->interval))
        uv_timer_start(&checkpoints->interval, on_interval, (uint64_t)interval_s * 1000, 0);
    if (checkpoints->step == STEP_IDLE && audit_round_is_due(checkpoints))
        audit_round_begin(checkpoints);
}

static void
run_begin(void *ctx)
{
    audit_round_begin(ctx);
}

void
audit_checkpoints_want(struct audit_checkpoints *checkpoints, struct audit_checkpoint_wait *wait)
{
    wait->is_due = false;
    TAILQ_INSERT_TAIL(&checkpoints->waiting, wait, entry);
    /* also one that failed and waits for its next try */
    if (!checkpoints->deferred.waiting)
        deferred_add(&checkpoints->athd->deferred, &checkpoints->deferred, run_begin, checkpoints);
}

void
audit_checkpoints_forget(struct audit_checkpoints *checkpoints, struct audit_checkpoint_wait *wait)
{
    struct audit_checkpoint_wait *waiting;

    TAILQ_FOREACH (waiting, &checkpoints->waiting, entry)
        if (waiting == wait) {
            TAILQ_REMOVE(&checkpoints->waiting, wait, entry);
            return;
        }
}

/* ---- looking ---- */

struct audit_follower *
audit_checkpoints_follower(const struct audit_checkpoints *checkpoints)
{
    return checkpoints->follower;
}

const struct checkpoint *
audit_checkpoints_newest(const struct audit_checkpoints *checkpoints)
{
    return checkpoints->newest_counts ? &checkpoints->newest : NULL;
}

static void
put_newest(const struct audit_checkpoints *checkpoints, struct json_maker *audit)
{
    const struct checkpoint *newest = &checkpoints->newest;
    struct json_maker object;

    if (!checkpoints->newest_counts)
        return;
    json_object_begin(&object);
    json_put_int(&object, "size", (int64_t)newest->size);
    json_put_string(&object, "time", newest->time);
    if (newest->has_counter)
        json_put_int(&object, "counter", (int64_t)newest->counter);
    json_put_maker(audit, "last_checkpoint", &object);
}

const char *
audit_checkpoints_failure(const struct audit_checkpoints *checkpoints)
{
    const char *no_records = audit_log_failure(checkpoints->athd->audit);
    const char *no_tree = audit_follower_failure(checkpoints->follower);

    return no_records != NULL           ? no_records
           : no_tree != NULL            ? no_tree
           : checkpoints->retry_ms != 0 ? checkpoints->why.text
                                        : audit_key_failure(checkpoints->key);
}

void
audit_checkpoints_put_status(const struct audit_checkpoints *checkpoints, struct json_maker *audit)
{
    const struct public_key *key = audit_key_public(checkpoints->key);
    bool is_failing =
        checkpoints->retry_ms != 0 || audit_follower_failure(checkpoints->follower) != NULL;

    put_newest(checkpoints, audit);
    if (key != NULL)
        json_put_string(audit, "key", public_key_jkt(key));
    json_put_string(audit, "state",
                    audit_log_failure(checkpoints->athd->audit) != NULL ? "unavailable"
                    : is_failing                                        ? "failing"
                    : !audit_key_is_ready(checkpoints->key)             ? "no-key"
                                                                        : "ok");
    json_put_string(audit, "message", audit_checkpoints_failure(checkpoints));
}

/* ---- life ---- */

/* The log was cut behind its newest checkpoint. */
static void
note_cut(struct audit_checkpoints *checkpoints)
{
    uint64_t size = audit_log_size(checkpoints->athd->audit);
    struct why why;

    if (!checkpoints->has_newest || checkpoints->newest.size <= size)
        return;
    why_set(&why, ATH_ERR_INVALID_EVIDENCE,
            "the log has %llu records, its newest checkpoint covers %llu: records were taken away",
            (unsigned long long)size, (unsigned long long)checkpoints->newest.size);
    audit_round_note_damage(checkpoints, checkpoints->newest.size, size, &why);
}

/* A kill came between its two files, or one of them was lost: both are there again. */
static void
write_both(struct audit_checkpoints *checkpoints, const struct audit_newest *newest)
{
    struct ath_buf copy = {.max = CHECKPOINT_MAX_LEN};
    char name[CHECKPOINT_NAME_LEN + 1];
    char *path;

    ath_buf_put_slice(&copy, ath_buf_slice(&newest->note));
    checkpoint_name(newest->checkpoint.size, name);
    path =
        newest->is_ahead ? ath_strdup(checkpoints->newest_path) : file_path(checkpoints->dir, name);
    if (path != NULL)
        store_replace(checkpoints->athd, path, &copy, NULL, NULL);
    ath_buf_done(&copy);
    free(path);
}

static ath_err
take_newest(struct audit_checkpoints *checkpoints)
{
    struct athd *athd = checkpoints->athd;
    struct audit_newest newest;
    struct why why = {{0}};
    ath_err err = audit_newest_read(audit_log_dir(athd->audit), &why, &newest);

    if (err == ATH_ERR_NOMEM)
        return err;
    if (newest.is_ahead || newest.is_unlisted)
        write_both(checkpoints, &newest);
    checkpoints->has_newest = newest.found;
    checkpoints->newest = newest.checkpoint;
    checkpoints->newest_counts =
        newest.found && newest.checkpoint.size <= audit_log_size(athd->audit);
    checkpoints->newest_note = newest.note; /* ownership moves */
    if (err != ATH_OK)
        audit_round_note_damage(checkpoints, newest.checkpoint.size, 0, &why);
    note_cut(checkpoints);
    return ATH_OK;
}

static ath_err
open_parts(struct audit_checkpoints *checkpoints, struct why *why)
{
    struct athd *athd = checkpoints->athd;
    const struct checkpoint *newest = checkpoints->has_newest ? &checkpoints->newest : NULL;
    struct audit_head head = {.size = checkpoints->newest.size};
    ath_err err;

    memcpy(head.root, checkpoints->newest.root, SHA256_LEN);
    if ((err = audit_retention_new(athd, &checkpoints->retention)) != ATH_OK)
        return err;
    if ((err = audit_follower_new(athd, checkpoints->newest_counts ? &head : NULL,
                                  &checkpoints->follower)) != ATH_OK)
        return err;
    return audit_counter_open(athd, checkpoints->key, checkpoints->follower, newest, why,
                              &checkpoints->counter);
}

static ath_err
open_dirs(struct audit_checkpoints *checkpoints, struct why *why)
{
    const char *dir = audit_log_dir(checkpoints->athd->audit);
    ath_err err;

    if ((checkpoints->newest_path = file_path(dir, AUDIT_NEWEST_NAME)) == NULL ||
        (checkpoints->dir = file_path(dir, ALL_NAME)) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = file_make_private_dir(checkpoints->dir, why)) != ATH_OK)
        return err;
    return file_remove_temporaries(checkpoints->dir, why);
}

ath_err
audit_checkpoints_open(struct athd *athd, struct why *why,
                       struct audit_checkpoints **ret_checkpoints)
{
    struct audit_checkpoints *checkpoints = calloc(1, sizeof(*checkpoints));
    ath_err err;

    if (checkpoints == NULL)
        return ATH_ERR_NOMEM;
    checkpoints->athd = athd;
    TAILQ_INIT(&checkpoints->waiting);
    checkpoints->text.max = CHECKPOINT_MAX_TEXT;
    checkpoints->evidence.max = HSM_WIRE_MAX_EVIDENCE;
    checkpoints->note.max = checkpoints->newest_note.max = CHECKPOINT_MAX_LEN;
    /* neither can fail with libuv 1.44: they only fill the handle in */
    if (uv_timer_init(athd->loop, &checkpoints->interval) != 0 ||
        uv_timer_init(athd->loop, &checkpoints->retry) != 0) {
        free(checkpoints);
        return ATH_ERR_NOMEM;
    }
    checkpoints->interval.data = checkpoints->retry.data = checkpoints;
    *ret_checkpoints = checkpoints; /* from here on closed and freed like one that runs */
    /* the keys first: they put back what checkpoints are verified with */
    if ((err = open_dirs(checkpoints, why)) != ATH_OK ||
        (err = audit_key_open(athd, on_key_ready, checkpoints, why, &checkpoints->key)) != ATH_OK ||
        (err = take_newest(checkpoints)) != ATH_OK ||
        (err = open_parts(checkpoints, why)) != ATH_OK)
        return err;
    audit_log_watch(athd->audit, &checkpoints->watch, on_grown, checkpoints);
    return ATH_OK;
}

static void
on_hsm_open(void *ctx)
{
    struct audit_checkpoints *checkpoints = ctx;

    audit_key_poke(checkpoints->key);
}

void
audit_checkpoints_start(struct audit_checkpoints *checkpoints)
{
    hsm_pool_watch(checkpoints->athd->hsms, on_hsm_open, checkpoints);
}

void
audit_checkpoints_reload(struct audit_checkpoints *checkpoints)
{
    uv_timer_stop(&checkpoints->interval);
    on_grown(checkpoints);
}

void
audit_checkpoints_finish(struct audit_checkpoints *checkpoints, void (*done)(void *ctx), void *ctx)
{
    /* the counter was opened last: a start that failed has none, and may have no key */
    bool can = checkpoints->counter != NULL && audit_key_is_ready(checkpoints->key) &&
               checkpoints->retry_ms == 0 && audit_follower_failure(checkpoints->follower) == NULL;

    checkpoints->is_finishing = true;
    checkpoints->finished = done;
    checkpoints->finished_ctx = ctx;
    if (can)
        audit_round_begin(checkpoints);
    else
        audit_round_finish(checkpoints);
}

void
audit_checkpoints_close(struct audit_checkpoints *checkpoints, void (*done)(void *ctx), void *ctx)
{
    checkpoints->is_closing = true;
    checkpoints->finished = NULL;
    uv_close((uv_handle_t *)&checkpoints->interval, NULL);
    uv_close((uv_handle_t *)&checkpoints->retry, NULL);
    deferred_remove(&checkpoints->athd->deferred, &checkpoints->deferred);
    audit_log_unwatch(checkpoints->athd->audit, &checkpoints->watch);
    hsm_pool_watch(checkpoints->athd->hsms, NULL, NULL);
    if (checkpoints->key != NULL)
        audit_key_close(checkpoints->key);
    if (checkpoints->counter != NULL)
        audit_counter_close(checkpoints->counter);
    if (checkpoints->follower != NULL)
        audit_follower_close(checkpoints->follower, done, ctx);
    else
        done(ctx);
}

void
audit_checkpoints_free(struct audit_checkpoints *checkpoints)
{
    if (checkpoints == NULL)
        return;
    audit_retention_free(checkpoints->retention);
    audit_counter_free(checkpoints->counter);
    audit_follower_free(checkpoints->follower);
    audit_key_free(checkpoints->key);
    ath_buf_done(&checkpoints->newest_note);
    ath_buf_done(&checkpoints->text);
    ath_buf_done(&checkpoints->evidence);
    ath_buf_done(&checkpoints->note);
    free(checkpoints->newest_path);
    free(checkpoints->dir);
    free(checkpoints);
}
