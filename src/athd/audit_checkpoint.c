#include "athd/audit_checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_counter.h"
#include "athd/audit_key.h"
#include "athd/audit_newest.h"
#include "base/clock.h"
#include "base/file.h"

#define NEWEST_NAME "checkpoint"
#define ALL_NAME "checkpoints"
#define RECORDS_MAX 65536u /* without a checkpoint: what a start may have to hash again */
#define RETRY_MS 2000u
#define RETRY_MAX_MS 300000u
#define DEADLINE_MS 30000u
#define SIGN_FAILURES_MAX 3 /* then the hardware is asked whether it still knows the key */

TAILQ_HEAD(wait_list, audit_checkpoint_wait);

enum step {
    STEP_UNSETTLED, /* what the counter says is not known */
    STEP_SETTLING,
    STEP_IDLE,
    STEP_REACHING,
    STEP_COUNTING,
    STEP_SIGNING,
    STEP_WRITING,
};

struct audit_checkpoints {
    struct athd *athd;
    struct audit_follower *follower;
    struct audit_key *key;
    struct audit_counter *counter;
    char *newest_path, *dir;
    bool has_newest;
    bool
        newest_counts; /* the log is as long as it says; else it was cut, and a new one is wanted */
    struct checkpoint newest;
    struct ath_buf newest_note;
    enum step step;
    struct wait_list waiting;
    uv_timer_t interval, retry;
    uint64_t retry_ms; /* 0: the last try went well */
    unsigned sign_failures;
    struct why why; /* of the last failure */
    struct deferred deferred;
    /* the one that is being made */
    struct checkpoint next;
    struct ath_buf text, evidence, note;
    struct audit_reach reach;
    bool is_finishing, is_closing;
    bool is_wanted; /* the interval is over, or athd has just started */
    bool is_change_noted;
    bool is_started; /* the key was ready once */
    struct audit_watch watch;
    void (*finished)(void *ctx);
    void *finished_ctx;
};

static void begin(struct audit_checkpoints *checkpoints);

/* ---- those who wait ---- */

static bool
covers(const struct audit_checkpoints *checkpoints, uint64_t size)
{
    return checkpoints->newest_counts && checkpoints->newest.size >= size;
}

/* Whoever is told may want another one, or forget one. */
static void
tell_all(struct audit_checkpoints *checkpoints, ath_err err, const struct why *why)
{
    struct audit_checkpoint_wait *wait;

    TAILQ_FOREACH (wait, &checkpoints->waiting, entry)
        wait->is_due = err != ATH_OK || covers(checkpoints, wait->size);
    do {
        TAILQ_FOREACH (wait, &checkpoints->waiting, entry)
            if (wait->is_due)
                break;
        if (wait != NULL) {
            TAILQ_REMOVE(&checkpoints->waiting, wait, entry);
            wait->done(wait->ctx, err, ath_buf_slice(&checkpoints->newest_note), why);
        }
    } while (wait != NULL);
}

/* The last one was made, or cannot be. */
static void
finish_if_wanted(struct audit_checkpoints *checkpoints)
{
    void (*finished)(void *) = checkpoints->finished;

    checkpoints->finished = NULL;
    if (finished != NULL)
        finished(checkpoints->finished_ctx);
}

/* ---- failures ---- */

static void
on_retry(uv_timer_t *timer)
{
    begin(timer->data);
}

/* Whatever failed: what the counter says is asked anew, since a step may or may not have been made.
 */
static void
fail(struct audit_checkpoints *checkpoints, ath_err err, const struct why *why)
{
    why_set(&checkpoints->why, err, "%s", why_text(why, err));
    if (checkpoints->retry_ms == 0)
        log_warning("event=checkpoint err=%s reason=\"%s\"; it is tried again", ath_err_reason(err),
                    checkpoints->why.text);
    checkpoints->step = STEP_UNSETTLED;
    checkpoints->retry_ms = checkpoints->retry_ms == 0                 ? RETRY_MS
                            : checkpoints->retry_ms * 2 < RETRY_MAX_MS ? checkpoints->retry_ms * 2
                                                                       : RETRY_MAX_MS;
    if (!checkpoints->is_closing)
        uv_timer_start(&checkpoints->retry, on_retry, checkpoints->retry_ms, 0);
    tell_all(checkpoints, err, &checkpoints->why);
    finish_if_wanted(checkpoints);
}

/* ---- writing ---- */

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct audit_checkpoints *checkpoints = ctx;

    if (err != ATH_OK) {
        fail(checkpoints, err, why);
        return;
    }
    checkpoints->newest = checkpoints->next;
    checkpoints->has_newest = checkpoints->newest_counts = true;
    ath_buf_done(&checkpoints->newest_note);
    checkpoints->newest_note = checkpoints->note; /* ownership moves */
    checkpoints->note = (struct ath_buf){.max = CHECKPOINT_MAX_LEN};
    audit_counter_commit(checkpoints->counter);
    checkpoints->retry_ms = 0;
    checkpoints->sign_failures = 0;
    checkpoints->step = STEP_IDLE;
    log_info("event=checkpoint size=%llu", (unsigned long long)checkpoints->newest.size);
    tell_all(checkpoints, ATH_OK, NULL);
    begin(checkpoints);
}

/* Nothing is written that a verifier would refuse. */
static ath_err
check_note(const struct audit_checkpoints *checkpoints, struct why *why)
{
    struct checkpoint_note note;
    ath_err err = checkpoint_decode(ath_buf_slice(&checkpoints->note), why, &note);

    return err != ATH_OK ? err : checkpoint_verify(&note, audit_key_public(checkpoints->key), why);
}

static void
write_note(struct audit_checkpoints *checkpoints, struct ath_slice signature)
{
    struct ath_buf one = {.max = CHECKPOINT_MAX_LEN}, other = {.max = CHECKPOINT_MAX_LEN};
    char name[CHECKPOINT_NAME_LEN + 1];
    char *path;
    struct why why = {{0}};
    ath_err err;

    checkpoint_name(checkpoints->next.size, name);
    path = file_path(checkpoints->dir, name);
    ath_buf_clear(&checkpoints->note);
    err = path == NULL
              ? ATH_ERR_NOMEM
              : checkpoint_put_note(ath_buf_slice(&checkpoints->text),
                                    audit_key_public(checkpoints->key), signature,
                                    audit_counter_public(checkpoints->counter),
                                    ath_buf_slice(&checkpoints->evidence), &checkpoints->note);
    if (err == ATH_OK)
        err = check_note(checkpoints, &why);
    if (err != ATH_OK) {
        free(path);
        fail(checkpoints, err, &why);
        return;
    }
    checkpoints->step = STEP_WRITING;
    ath_buf_put_slice(&one, ath_buf_slice(&checkpoints->note));
    ath_buf_put_slice(&other, ath_buf_slice(&checkpoints->note));
    store_replace_two(checkpoints->athd, path, &one, checkpoints->newest_path, &other, on_written,
                      checkpoints);
    free(path);
}

/* ---- signing ---- */

static void
on_signed(void *ctx, const struct hsm_outcome *outcome)
{
    struct audit_checkpoints *checkpoints = ctx;

    if (outcome->err == ATH_OK) {
        write_note(checkpoints, outcome->signature);
        return;
    }
    fail(checkpoints, outcome->err, &outcome->why);
    if (!checkpoints->is_closing && ++checkpoints->sign_failures >= SIGN_FAILURES_MAX) {
        checkpoints->sign_failures = 0;
        audit_key_check(checkpoints->key);
    }
}

/* The audit key's gate, as purpose_check is that of the others. */
static ath_err
check_text(const struct audit_checkpoints *checkpoints, struct why *why)
{
    struct checkpoint decoded;
    ath_err err = checkpoint_decode_text(ath_buf_slice(&checkpoints->text), why, &decoded);

    if (err == ATH_OK &&
        strcmp(decoded.jkt, public_key_jkt(audit_key_public(checkpoints->key))) != 0)
        err = why_set(why, ATH_ERR_POLICY_DENIED, "the checkpoint is another key's");
    return err;
}

static void
sign(struct audit_checkpoints *checkpoints)
{
    struct hsm_job_params params = {.priority = HSM_PRIORITY_NORMAL,
                                    .deadline_ms = clock_monotonic_ms() + DEADLINE_MS,
                                    .done = on_signed,
                                    .ctx = checkpoints};
    struct why why = {{0}};
    ath_err err = audit_key_is_ready(checkpoints->key) ? check_text(checkpoints, &why)
                                                       : ATH_ERR_HSM_UNAVAILABLE;

    checkpoints->step = STEP_SIGNING;
    if (err == ATH_OK)
        err = hsm_pool_sign(checkpoints->athd->hsms, audit_key_ref(checkpoints->key),
                            ath_buf_slice(&checkpoints->text), &params, NULL);
    if (err != ATH_OK)
        fail(checkpoints, err, &why);
}

static void
on_counted(void *ctx, ath_err err, struct ath_slice evidence, const struct why *why)
{
    struct audit_checkpoints *checkpoints = ctx;

    ath_buf_clear(&checkpoints->evidence);
    ath_buf_put_slice(&checkpoints->evidence, evidence);
    if (err == ATH_OK)
        err = checkpoints->evidence.err;
    if (err == ATH_OK)
        sign(checkpoints);
    else
        fail(checkpoints, err, why);
}

/* Something that the checkpoints tell of the log: said, shown by agent.status, and on record. */
static void
note_damage(struct audit_checkpoints *checkpoints, uint64_t expected, uint64_t found,
            const struct why *why)
{
    struct json_maker record;

    damage_note(&checkpoints->athd->damage, audit_log_dir(checkpoints->athd->audit), NEWEST_NAME,
                ATH_ERR_INVALID_EVIDENCE, why);
    audit_record_begin(&record, "audit_rollback", NULL);
    json_put_int(&record, "expected", (int64_t)expected);
    json_put_int(&record, "found", (int64_t)found);
    json_put_string(&record, "message", why->text);
    audit_append(checkpoints->athd->audit, &record, NULL, NULL);
}

static void
note_change(struct audit_checkpoints *checkpoints)
{
    struct why why;

    if (checkpoints->is_change_noted || !audit_follower_is_inconsistent(checkpoints->follower))
        return;
    checkpoints->is_change_noted = true;
    why_set(&why, ATH_ERR_INVALID_EVIDENCE,
            "the records do not give the root of the newest checkpoint: the log was changed; ath "
            "audit verify names the place");
    note_damage(checkpoints, checkpoints->newest.size, checkpoints->newest.size, &why);
}

static void
on_reached(void *ctx, ath_err err, const struct audit_head *head, const struct why *why)
{
    struct audit_checkpoints *checkpoints = ctx;
    struct checkpoint *next = &checkpoints->next;

    if (err == ATH_OK && !audit_key_is_ready(checkpoints->key))
        err = ATH_ERR_HSM_UNAVAILABLE;
    if (err != ATH_OK) {
        fail(checkpoints, err, why);
        return;
    }
    note_change(checkpoints);
    *next = (struct checkpoint){.size = head->size};
    strcpy(next->jkt, public_key_jkt(audit_key_public(checkpoints->key)));
    memcpy(next->root, head->root, SHA256_LEN);
    clock_now_text(next->time);
    next->has_previous = covers(checkpoints, 0) && checkpoints->newest.size < next->size;
    next->previous = next->has_previous ? checkpoints->newest.size : 0;
    audit_counter_put_next(checkpoints->counter, next);
    ath_buf_clear(&checkpoints->text);
    checkpoint_put_text(next, &checkpoints->text);
    checkpoints->step = STEP_COUNTING;
    if (checkpoints->text.err != ATH_OK)
        fail(checkpoints, checkpoints->text.err, NULL);
    else
        audit_counter_step(checkpoints->counter, ath_buf_slice(&checkpoints->text), on_counted,
                           checkpoints);
}

/* ---- what the counter says ---- */

/* A checkpoint that a kill left half made is made whole: same text, same counter. */
static void
complete(struct audit_checkpoints *checkpoints, const struct audit_counter_state *state)
{
    struct why why = {{0}};
    ath_err err;

    ath_buf_clear(&checkpoints->text);
    ath_buf_clear(&checkpoints->evidence);
    ath_buf_put_slice(&checkpoints->text, state->pending_text);
    ath_buf_put_slice(&checkpoints->evidence, state->evidence);
    err = checkpoints->evidence.err != ATH_OK
              ? checkpoints->evidence.err
              : checkpoint_decode_text(state->pending_text, &why, &checkpoints->next);
    if (err == ATH_OK)
        sign(checkpoints);
    else
        fail(checkpoints, err, &why);
}

static void
on_settled(void *ctx, ath_err err, const struct audit_counter_state *state, const struct why *why)
{
    struct audit_checkpoints *checkpoints = ctx;

    if (err != ATH_OK) {
        fail(checkpoints, err, why);
        return;
    }
    if (state->is_rolled_back)
        note_damage(checkpoints, state->expected, state->found, &state->why);
    if (state->is_pending) {
        complete(checkpoints, state);
        return;
    }
    checkpoints->step = STEP_IDLE;
    begin(checkpoints);
}

/* ---- the beginning ---- */

/* Is there something that a checkpoint would say, and does anybody want it? */
static bool
is_due(const struct audit_checkpoints *checkpoints)
{
    uint64_t size = audit_log_size(checkpoints->athd->audit);

    if (size == 0 || (checkpoints->newest_counts && checkpoints->newest.size == size))
        return false;
    return !checkpoints->newest_counts || checkpoints->is_finishing || checkpoints->is_wanted ||
           !TAILQ_EMPTY(&checkpoints->waiting) || size - checkpoints->newest.size >= RECORDS_MAX;
}

static void
begin(struct audit_checkpoints *checkpoints)
{
    if (checkpoints->is_closing || !audit_key_is_ready(checkpoints->key))
        return;
    if (checkpoints->step == STEP_UNSETTLED) {
        checkpoints->step = STEP_SETTLING;
        audit_counter_settle(checkpoints->counter,
                             checkpoints->has_newest ? &checkpoints->newest : NULL, on_settled,
                             checkpoints);
        return;
    }
    if (checkpoints->step != STEP_IDLE)
        return;
    if (!is_due(checkpoints)) {
        tell_all(checkpoints, ATH_OK, NULL);
        finish_if_wanted(checkpoints);
        return;
    }
    checkpoints->is_wanted = false;
    checkpoints->step = STEP_REACHING;
    checkpoints->reach = (struct audit_reach){.size = audit_log_size(checkpoints->athd->audit),
                                              .whole = true,
                                              .done = on_reached,
                                              .ctx = checkpoints};
    audit_follower_reach(checkpoints->follower, &checkpoints->reach);
}

static void
on_key_ready(void *ctx)
{
    struct audit_checkpoints *checkpoints = ctx;

    /* what failed for want of it is tried now, and not in a while */
    checkpoints->is_wanted = checkpoints->is_wanted || !checkpoints->is_started;
    checkpoints->is_started = true;
    begin(checkpoints);
}

static void
on_interval(uv_timer_t *timer)
{
    struct audit_checkpoints *checkpoints = timer->data;

    checkpoints->is_wanted = true;
    if (checkpoints->retry_ms == 0)
        begin(checkpoints);
}

/* The interval counts from the first record behind a checkpoint: an idle athd sleeps. */
static void
on_grown(void *ctx)
{
    struct audit_checkpoints *checkpoints = ctx;
    int64_t interval_s = checkpoints->athd->config->audit.checkpoint_interval_s;

    if (interval_s > 0 && !uv_is_active((uv_handle_t *)&checkpoints->interval))
        uv_timer_start(&checkpoints->interval, on_interval, (uint64_t)interval_s * 1000, 0);
    if (checkpoints->step == STEP_IDLE && is_due(checkpoints))
        begin(checkpoints);
}

static void
run_begin(void *ctx)
{
    begin(ctx);
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
    note_damage(checkpoints, checkpoints->newest.size, size, &why);
}

static ath_err
take_newest(struct audit_checkpoints *checkpoints)
{
    struct athd *athd = checkpoints->athd;
    struct audit_newest newest;
    struct ath_buf copy = {.max = CHECKPOINT_MAX_LEN};
    struct why why = {{0}};
    ath_err err = audit_newest_read(audit_log_dir(athd->audit), &why, &newest);

    if (err == ATH_ERR_NOMEM)
        return err;
    if (err != ATH_OK)
        note_damage(checkpoints, 0, 0, &why);
    checkpoints->has_newest = newest.found;
    checkpoints->newest = newest.checkpoint;
    checkpoints->newest_counts =
        newest.found && newest.checkpoint.size <= audit_log_size(athd->audit);
    checkpoints->newest_note = newest.note; /* ownership moves */
    if (newest.is_ahead) {
        ath_buf_put_slice(&copy, ath_buf_slice(&checkpoints->newest_note));
        store_replace(athd, checkpoints->newest_path, &copy, NULL, NULL);
    }
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
    if ((err = audit_key_open(athd, on_key_ready, checkpoints, why, &checkpoints->key)) != ATH_OK ||
        (err = audit_follower_new(athd, newest == NULL ? NULL : &head, &checkpoints->follower)) !=
            ATH_OK)
        return err;
    return audit_counter_open(athd, checkpoints->key, checkpoints->follower, newest, why,
                              &checkpoints->counter);
}

static ath_err
open_dirs(struct audit_checkpoints *checkpoints, struct why *why)
{
    const char *dir = audit_log_dir(checkpoints->athd->audit);
    ath_err err;

    if ((checkpoints->newest_path = file_path(dir, NEWEST_NAME)) == NULL ||
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
    if ((err = open_dirs(checkpoints, why)) != ATH_OK ||
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
    bool can = audit_key_is_ready(checkpoints->key) && checkpoints->retry_ms == 0 &&
               audit_follower_failure(checkpoints->follower) == NULL;

    checkpoints->is_finishing = true;
    checkpoints->finished = done;
    checkpoints->finished_ctx = ctx;
    if (can)
        begin(checkpoints);
    else
        finish_if_wanted(checkpoints);
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
