/*
 * Records wait in a queue; a group of them is written and synced at a time, in a thread of libuv's,
 * while the next group collects. Who was answered with one group often asks again at once: the next
 * group waits for most of them, but no longer than a sync takes, or callers would fall into two
 * parties that sync in turns, each for half of the records. An index is given when a group is
 * written and stays free when that fails, so that the file has no gaps: line n is record n.
 */
#include "athd/audit_log_private.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/audit_line.h"
#include "athd/events.h"
#include "athd/short_wait.h"

#define KEPT_MAX (1024u * 1024u)  /* bytes, of what nobody waits for: not all of it */
#define GROUP_MAX (1024u * 1024u) /* bytes; a group of one may not be longer either */
#define HOLD_MAX_US 500u          /* that a group waits for those who ask again */

void
audit_log_record_free(struct audit_log_record *record)
{
    ath_buf_done(&record->body);
    free(record);
}

static void
on_turn_end(void *ctx)
{
    audit_log_start_group(ctx);
}

/* Records of one turn are one group: a sync for all of them. */
void
audit_log_start_group_soon(struct audit_log *log)
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
void
audit_log_take_span(struct audit_log *log)
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
    struct audit_log_records kept = STAILQ_HEAD_INITIALIZER(kept),
                             told = STAILQ_HEAD_INITIALIZER(told);
    struct audit_log_record *record;

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
tell_group(struct audit_log_records *group, ath_err err)
{
    struct audit_log_record *record;

    while ((record = STAILQ_FIRST(group)) != NULL) {
        STAILQ_REMOVE_HEAD(group, entry);
        if (record->done != NULL)
            record->done(record->ctx, err == ATH_OK ? ATH_OK : ATH_ERR_AUDIT_UNAVAILABLE);
        else if (err != ATH_OK)
            log_error("event=audit err=%s reason=\"a record that nobody waited for is lost\"",
                      ath_err_reason(err));
        audit_log_record_free(record);
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

/* Does the next group wait for more? Then audit_log_start_group is called again. */
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

/* From the start after each: it may end others. */
static void
tell_settled(struct audit_log *log, ath_err err)
{
    struct audit_settling *settling;

    do {
        LIST_FOREACH (settling, &log->settling, entry)
            if (err != ATH_OK || settling->size <= log->span.size)
                break;
        if (settling != NULL) {
            void (*done)(void *) = settling->done;

            audit_log_settle_end(settling);
            done(settling->ctx);
        }
    } while (settling != NULL);
}

static void
finish_group(struct audit_log *log, ath_err err)
{
    struct audit_log_records group = STAILQ_HEAD_INITIALIZER(group);

    audit_log_take_span(log);
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
    tell_settled(log, err);
    audit_log_start_group_soon(log);
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
put_line(struct audit_log *log, const struct audit_log_record *record)
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

void
audit_log_start_group(struct audit_log *log)
{
    struct audit_log_record *record;

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
