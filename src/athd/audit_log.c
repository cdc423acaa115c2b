/*
 * Records wait in a queue; a group of them is written and synced at a time, in a thread of libuv's,
 * while the next group collects. Who was answered with one group often asks again at once: the next
 * group waits for most of them, but no longer than a sync takes, or callers would fall into two
 * parties that sync in turns, each for half of the records. An index is given when a group is
 * written and stays free when that fails, so that the file has no gaps: line n is record n.
 */
#include "athd/audit_log.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_line.h"
#include "athd/audit_newest.h"
#include "athd/events.h"
#include "athd/short_wait.h"
#include "base/clock.h"
#include "base/file.h"

#define HEAD_MAX 80u /* bytes of index and timestamp in front of a record's own members */
#define RECORD_MAX (AUDIT_LINE_MAX - HEAD_MAX)
#define WAITING_MAX (16u * 1024u * 1024u) /* bytes: a disk that hangs must not eat the memory */
#define KEPT_MAX (1024u * 1024u)          /* bytes, of what nobody waits for: not all of it */
#define GROUP_MAX (1024u * 1024u)         /* bytes; a group of one may not be longer either */
#define HOLD_MAX_US 500u                  /* that a group waits for those who ask again */

struct record {
    STAILQ_ENTRY(record) entry;
    struct ath_buf body; /* without the opening brace */
    char timestamp[CLOCK_TEXT_SIZE];
    audit_done_fn *done;
    void *ctx;
};

STAILQ_HEAD(record_list, record);

struct audit_log {
    struct athd *athd;
    struct audit_segments segments; /* the thread's while it writes */
    struct record_list waiting;
    size_t waiting_len; /* bytes of them */
    uint64_t waiting_count;
    struct record_list group; /* being written */
    uint64_t group_count;
    struct ath_buf group_text;
    struct audit_span span; /* what is on disk, as the loop knows it */
    uint32_t first;         /* segment that was not removed */
    uv_work_t work;
    ath_err work_err;
    bool is_writing;
    bool is_wanted;  /* a record that waits may wait no longer */
    bool is_failing; /* the last group could not be written; said once */
    struct why failure;
    LIST_HEAD(, audit_watch) watches;
    void (*closed)(void *ctx);
    void *closed_ctx;
    struct deferred closing;
    struct deferred turn_end; /* waits: start_group */
    uint64_t group_began_us;
    uint64_t held_until_us; /* the next group, if it is of less than */
    uint64_t held_below;
    struct short_wait *hold; /* NULL: closing */
};

static void
record_free(struct record *record)
{
    ath_buf_done(&record->body);
    free(record);
}

/* ---- the loop's side ---- */

static void start_group(struct audit_log *log);

static void
on_turn_end(void *ctx)
{
    start_group(ctx);
}

/* Records of one turn are one group: a sync for all of them. */
static void
start_group_soon(struct audit_log *log)
{
    if (!log->turn_end.waiting)
        deferred_add_at_end(&log->athd->deferred, &log->turn_end, on_turn_end, log);
}

static void
say_state(struct audit_log *log, ath_err err)
{
    log->failure = log->segments.file.why; /* the thread's own, which is idle now */
    if (err != ATH_OK && !log->is_failing)
        log_error("event=audit err=AUDIT_UNAVAILABLE reason=\"%s\"; nothing is signed meanwhile",
                  log->segments.file.why.text);
    if (err == ATH_OK && log->is_failing)
        log_info("event=audit reason=\"records are written again\"");
    log->is_failing = err != ATH_OK;
}

/* Who watches the log is told how long it is now. */
static void
publish(const struct audit_log *log)
{
    struct json_maker event;

    if (!events_wanted(log->athd, EVENT_AUDIT))
        return;
    json_object_begin(&event);
    json_put_int(&event, "size", (int64_t)log->span.size);
    events_publish(log->athd, EVENT_AUDIT, &event);
}

/* While no thread writes. */
static void
take_span(struct audit_log *log)
{
    log->span = audit_segments_span(&log->segments);
    log->span.first = log->first;
}

static void
tell_watches(struct audit_log *log)
{
    struct audit_watch *watch, *next;

    for (watch = LIST_FIRST(&log->watches); watch != NULL; watch = next) {
        next = LIST_NEXT(watch, entry); /* it may end its own */
        watch->grown(watch->ctx);
    }
}

/* Who waits for a record is told and can say what failed. What nobody waits for (a refusal, an end)
 * stays for the next group, in its order, until there is room on the disk or athd ends. */
static void
keep_unawaited(struct audit_log *log)
{
    struct record_list kept = STAILQ_HEAD_INITIALIZER(kept), told = STAILQ_HEAD_INITIALIZER(told);
    struct record *record;

    while ((record = STAILQ_FIRST(&log->group)) != NULL) {
        STAILQ_REMOVE_HEAD(&log->group, entry);
        if (record->done != NULL || log->closed != NULL ||
            log->waiting_len + record->body.len > KEPT_MAX) {
            STAILQ_INSERT_TAIL(&told, record, entry);
        } else {
            log->waiting_len += record->body.len;
            log->waiting_count++;
            STAILQ_INSERT_TAIL(&kept, record, entry);
        }
    }
    STAILQ_CONCAT(&kept, &log->waiting);
    STAILQ_CONCAT(&log->waiting, &kept);
    STAILQ_CONCAT(&log->group, &told);
}

static void
tell_group(struct record_list *group, ath_err err)
{
    struct record *record;

    while ((record = STAILQ_FIRST(group)) != NULL) {
        STAILQ_REMOVE_HEAD(group, entry);
        if (record->done != NULL)
            record->done(record->ctx, err == ATH_OK ? ATH_OK : ATH_ERR_AUDIT_UNAVAILABLE);
        else if (err != ATH_OK)
            log_error("event=audit err=%s reason=\"a record that nobody waited for is lost\"",
                      ath_err_reason(err));
        record_free(record);
    }
}

/* Three of four who are answered now may ask again. */
static void
plan_hold(struct audit_log *log)
{
    uint64_t now_us = clock_monotonic_us(), took_us = now_us - log->group_began_us;

    log->held_until_us = now_us + (took_us < HOLD_MAX_US ? took_us : HOLD_MAX_US);
    log->held_below = log->waiting_count + log->group_count * 3 / 4;
}

/* Does the next group wait for more? Then start_group is called again. */
static bool
is_held(struct audit_log *log)
{
    uint64_t now_us;

    if (log->hold == NULL) /* it is being closed */
        return false;
    short_wait_end(log->hold);
    if (log->waiting_count >= log->held_below ||
        (now_us = clock_monotonic_us()) >= log->held_until_us)
        return false;
    short_wait_begin(log->hold, log->held_until_us - now_us);
    return true;
}

static void
finish_group(struct audit_log *log, ath_err err)
{
    struct record_list group = STAILQ_HEAD_INITIALIZER(group);

    take_span(log);
    say_state(log, err);
    if (err == ATH_OK)
        publish(log);
    if (err == ATH_OK)
        tell_watches(log);
    ath_buf_done(&log->group_text);
    if (err != ATH_OK)
        keep_unawaited(log);
    STAILQ_CONCAT(&group, &log->group);
    plan_hold(log);
    log->group_count = 0;
    log->is_writing = false;
    tell_group(&group, err);
    start_group_soon(log);
}

static void
on_work(uv_work_t *work)
{
    struct audit_log *log = work->data;

    log->work_err =
        audit_segments_append(&log->segments, ath_buf_slice(&log->group_text), log->group_count);
}

static void
on_worked(uv_work_t *work, int status)
{
    struct audit_log *log = work->data;

    finish_group(log, status != 0 ? ATH_ERR_AUDIT_UNAVAILABLE : log->work_err);
}

static void
put_line(struct audit_log *log, const struct record *record)
{
    ath_buf_printf(&log->group_text, "{\"index\":%llu,\"timestamp\":\"%s\",",
                   (unsigned long long)(log->span.size + log->group_count), record->timestamp);
    ath_buf_put_slice(&log->group_text, ath_buf_slice(&record->body));
    ath_buf_put_byte(&log->group_text, '\n');
}

static void
say_closed(void *ctx)
{
    struct audit_log *log = ctx;
    void (*closed)(void *) = log->closed;

    log->closed = NULL;
    closed(log->closed_ctx);
}

static void
start_group(struct audit_log *log)
{
    struct record *record;

    if (log->is_writing)
        return;
    if (STAILQ_EMPTY(&log->waiting)) {
        if (log->closed != NULL && !log->closing.waiting)
            deferred_add(&log->athd->deferred, &log->closing, say_closed, log);
        return;
    }
    if ((!log->is_wanted && log->closed == NULL) || is_held(log))
        return;
    log->is_writing = true;
    log->group_began_us = clock_monotonic_us();
    log->group_text.max = GROUP_MAX + AUDIT_LINE_MAX + 1;
    while ((record = STAILQ_FIRST(&log->waiting)) != NULL && log->group_text.len < GROUP_MAX) {
        STAILQ_REMOVE_HEAD(&log->waiting, entry);
        log->waiting_len -= record->body.len;
        log->waiting_count--;
        STAILQ_INSERT_TAIL(&log->group, record, entry);
        put_line(log, record);
        log->group_count++;
    }
    log->is_wanted = !STAILQ_EMPTY(&log->waiting);
    if (log->group_text.err != ATH_OK)
        ath_buf_done(
            &log->group_text); /* the thread refuses an empty text: one end for all failures */
    log->work.data = log;
    uv_queue_work(log->athd->loop, &log->work, on_work, on_worked);
}

/* ---- records ---- */

static void
fail(void (*done)(void), void *ctx, ath_err err)
{
    audit_done_fn *audit_done = (audit_done_fn *)done;

    if (audit_done != NULL)
        audit_done(ctx, err);
    else
        log_error("event=audit err=%s reason=\"a record that nobody waited for is lost\"",
                  ath_err_reason(err));
}

/* The record's text, from behind its opening brace. */
static ath_err
write_body(struct json_maker *maker, struct ath_buf *body)
{
    struct json *tree = NULL;
    ath_err err = json_maker_end(maker, &tree);

    if (err != ATH_OK)
        return err;
    body->max = RECORD_MAX;
    json_write(tree, body);
    json_free(tree);
    if (body->err == ATH_OK)
        ath_buf_consume(body, 1);
    return body->err;
}

void
audit_append_waiting(struct audit_log *log, struct json_maker *maker, audit_done_fn *done,
                     void *ctx)
{
    struct record *record = calloc(1, sizeof(*record));

    if (record == NULL)
        json_maker_done(maker);
    if (record == NULL || write_body(maker, &record->body) != ATH_OK ||
        record->body.len > WAITING_MAX - log->waiting_len) {
        if (record != NULL)
            record_free(record);
        deferred_fail(&log->athd->deferred, fail, (void (*)(void))done, ctx,
                      ATH_ERR_AUDIT_UNAVAILABLE);
        return;
    }
    clock_now_text(record->timestamp);
    record->done = done;
    record->ctx = ctx;
    STAILQ_INSERT_TAIL(&log->waiting, record, entry);
    log->waiting_len += record->body.len;
    log->waiting_count++;
}

void
audit_write(struct audit_log *log)
{
    log->is_wanted = !STAILQ_EMPTY(&log->waiting);
    start_group_soon(log);
}

void
audit_append(struct audit_log *log, struct json_maker *maker, audit_done_fn *done, void *ctx)
{
    audit_append_waiting(log, maker, done, ctx);
    audit_write(log);
}

/* ---- life ---- */

/* What was cut off is on record: nobody else can say that there was something. */
static void
record_torn(struct audit_log *log)
{
    const struct audit_file *file = &log->segments.file;
    struct json_maker record;

    if (file->torn == 0)
        return;
    audit_record_begin(&record, "log_torn", NULL);
    json_put_int(&record, "bytes", (int64_t)file->torn);
    json_put_int(&record, "segment", (int64_t)log->segments.last);
    json_put_bool(&record, "kept", file->is_torn_kept);
    audit_append(log, &record, NULL, NULL);
}

/* What is wrong with a checkpoint is said by who goes on from it. */
static ath_err
find_covered(const char *dir, uint64_t *ret_covered)
{
    struct audit_newest newest;
    struct why why = {{0}};
    ath_err err = audit_newest_read(dir, &why, &newest);

    if (err == ATH_ERR_NOMEM)
        return err;
    *ret_covered = newest.checkpoint.size;
    audit_newest_done(&newest);
    return ATH_OK;
}

ath_err
audit_log_open(struct athd *athd, const char *state_dir, struct why *why,
               struct audit_log **ret_log)
{
    struct audit_limits limits = {athd->config->audit.segment_size,
                                  athd->config->audit.segment_age_s, 0};
    struct audit_log *log = calloc(1, sizeof(*log));
    char *dir = file_path(state_dir, "audit");
    ath_err err = ATH_ERR_NOMEM;

    if (log == NULL || dir == NULL)
        goto out;
    log->athd = athd;
    STAILQ_INIT(&log->waiting);
    STAILQ_INIT(&log->group);
    if ((err = find_covered(dir, &limits.covered)) != ATH_OK ||
        (err = short_wait_new(athd->loop, on_turn_end, log, &log->hold)) != ATH_OK ||
        (err = audit_segments_open(&log->segments, dir, &limits, why)) != ATH_OK)
        goto out;
    log->first = log->segments.first;
    take_span(log);
    record_torn(log);
    *ret_log = log;
    log = NULL;
out:
    if (log != NULL)
        short_wait_free(log->hold);
    free(log);
    free(dir);
    return err;
}

void
audit_log_close(struct audit_log *log, void (*done)(void *ctx), void *ctx)
{
    log->closed = done;
    log->closed_ctx = ctx;
    short_wait_free(log->hold);
    log->hold = NULL;
    start_group(log);
}

void
audit_log_free(struct audit_log *log)
{
    struct record *record;

    if (log == NULL)
        return;
    deferred_remove(&log->athd->deferred, &log->turn_end);
    while ((record = STAILQ_FIRST(&log->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&log->waiting, entry);
        record_free(record);
    }
    audit_segments_close(&log->segments);
    short_wait_free(log->hold);
    free(log);
}

uint64_t
audit_log_next(const struct audit_log *log)
{
    return log->span.size + log->group_count + log->waiting_count;
}

uint64_t
audit_log_size(const struct audit_log *log)
{
    return log->span.size;
}

struct audit_span
audit_log_span(const struct audit_log *log)
{
    return log->span;
}

const char *
audit_log_dir(const struct audit_log *log)
{
    return log->segments.dir;
}

void
audit_log_set_first(struct audit_log *log, uint32_t number)
{
    log->first = log->span.first = number;
}

const char *
audit_log_failure(const struct audit_log *log)
{
    return log->is_failing ? log->failure.text : NULL;
}

void
audit_log_watch(struct audit_log *log, struct audit_watch *watch, void (*grown)(void *ctx),
                void *ctx)
{
    watch->grown = grown;
    watch->ctx = ctx;
    LIST_INSERT_HEAD(&log->watches, watch, entry);
}

void
audit_log_unwatch(struct audit_log *log, struct audit_watch *watch)
{
    (void)log;
    if (watch->grown == NULL)
        return;
    LIST_REMOVE(watch, entry);
    watch->grown = NULL;
}
