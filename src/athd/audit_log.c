#include "athd/audit_log.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/audit_line.h"
#include "athd/audit_log_private.h"
#include "athd/audit_newest.h"
#include "athd/short_wait.h"
#include "base/file.h"

#define HEAD_MAX 80u /* bytes of index and timestamp in front of a record's own members */
#define RECORD_MAX (AUDIT_LINE_MAX - HEAD_MAX)
#define WAITING_MAX (16u * 1024u * 1024u) /* bytes: a disk that hangs must not eat the memory */

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

/* The record's text, from behind its opening brace. Whose it is, it says itself. */
static ath_err
write_body(struct audit_log *log, struct json_maker *maker, struct ath_buf *body)
{
    struct json *tree = NULL;
    ath_err err = json_maker_end(maker, &tree);
    int64_t owner;

    if (err != ATH_OK)
        return err;
    body->max = RECORD_MAX;
    json_write(tree, body);
    if (json_get_int(tree, "owner", &owner))
        audit_budget_charge(&log->athd->audit_budget, (uid_t)owner, body->len + HEAD_MAX);
    json_free(tree);
    if (body->err == ATH_OK)
        ath_buf_consume(body, 1);
    return body->err;
}

void
audit_append_waiting(struct audit_log *log, struct json_maker *maker, audit_done_fn *done,
                     void *ctx)
{
    struct audit_log_record *record = calloc(1, sizeof(*record));

    if (record == NULL)
        json_maker_done(maker);
    if (record == NULL || write_body(log, maker, &record->body) != ATH_OK ||
        record->body.len > WAITING_MAX - log->waiting_len) {
        if (record != NULL)
            audit_log_record_free(record);
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
    audit_log_start_group_soon(log);
}

void
audit_append(struct audit_log *log, struct json_maker *maker, audit_done_fn *done, void *ctx)
{
    audit_append_waiting(log, maker, done, ctx);
    audit_write(log);
}

/* ---- life ---- */

static void
on_held(void *ctx)
{
    audit_log_start_group(ctx);
}

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
        (err = short_wait_new(athd->loop, on_held, log, &log->hold)) != ATH_OK ||
        (err = audit_segments_open(&log->segments, dir, &limits, why)) != ATH_OK)
        goto out;
    log->first = log->segments.first;
    audit_log_take_span(log);
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
    audit_log_start_group(log);
}

void
audit_log_free(struct audit_log *log)
{
    struct audit_log_record *record;

    if (log == NULL)
        return;
    deferred_remove(&log->athd->deferred, &log->turn_end);
    while ((record = STAILQ_FIRST(&log->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&log->waiting, entry);
        audit_log_record_free(record);
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

bool
audit_log_settle(struct audit_log *log, struct audit_settling *settling, void (*done)(void *ctx),
                 void *ctx)
{
    bool is_on_its_way = log->is_writing || log->is_wanted;

    settling->done = NULL;
    if (!is_on_its_way || log->is_failing)
        return false;
    settling->size = log->span.size + log->group_count + (log->is_wanted ? log->waiting_count : 0);
    settling->done = done;
    settling->ctx = ctx;
    LIST_INSERT_HEAD(&log->settling, settling, entry);
    return true;
}

void
audit_log_settle_end(struct audit_settling *settling)
{
    if (settling->done == NULL)
        return;
    LIST_REMOVE(settling, entry);
    settling->done = NULL;
}
