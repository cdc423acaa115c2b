#include "athd/audit_retention.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "athd/athd.h"
#include "athd/audit_cursor.h"
#include "athd/audit_line.h"
#include "base/file.h"
#include "protocol/audit_reader.h"

#define DAY_S 86400
#define SEGMENTS_MAX 1024u /* that go at once: the rest with the next checkpoint */

struct audit_retention {
    struct athd *athd;
    uv_work_t work;
    bool is_working;
    bool is_announced;       /* kept_segment waits for a checkpoint */
    uint64_t announced_size; /* that covers this many records */
    /* of the work, for the thread */
    struct audit_span span;
    uint64_t covered;
    int64_t keep_days, keep_segments;
    struct audit_prunable prunable;
    uint32_t removed_to; /* the first that is left */
    ath_err err;
};

/* ---- in a thread ---- */

static ath_err
first_time(const char *dir, uint32_t number, char ret_time[CLOCK_TEXT_SIZE])
{
    const struct audit_span span = {number, number, UINT64_MAX};
    struct audit_cursor cursor;
    struct ath_slice line;
    uint64_t index;
    ath_err err;

    if ((err = audit_cursor_first_index(dir, number, NULL, &index)) != ATH_OK)
        return err;
    if ((err = audit_cursor_init(&cursor, dir, &span)) == ATH_OK &&
        (err = audit_cursor_seek(&cursor, index, NULL)) == ATH_OK &&
        (err = audit_cursor_next(&cursor, NULL, &line)) == ATH_OK &&
        !audit_line_time(line, ret_time))
        err = ATH_ERR_PARSE;
    audit_cursor_done(&cursor);
    return err;
}

ath_err
audit_retention_find(const char *dir, const struct audit_span *span, uint64_t covered,
                     int64_t keep_days, int64_t keep_segments, struct audit_prunable *ret_prunable)
{
    char oldest[CLOCK_TEXT_SIZE], next_time[CLOCK_TEXT_SIZE];
    uint32_t number;
    uint64_t next;
    ath_err err;

    *ret_prunable = (struct audit_prunable){0};
    if (keep_days == 0 && keep_segments == 0)
        return ATH_OK;
    audit_time_text(clock_now() - keep_days * DAY_S, oldest);
    for (number = span->first; number < span->last && number - span->first < SEGMENTS_MAX;
         number++) {
        /* where the next one begins, this one has ended */
        if ((err = audit_cursor_first_index(dir, number + 1, NULL, &next)) != ATH_OK)
            return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
        if (next > covered || (keep_segments > 0 && span->last - number <= keep_segments))
            break;
        if (keep_days > 0 && ((err = first_time(dir, number + 1, next_time)) != ATH_OK ||
                              strcmp(next_time, oldest) >= 0))
            return err;
        *ret_prunable = (struct audit_prunable){number + 1, next};
    }
    return ATH_OK;
}

static ath_err
remove_segment(const char *dir, uint32_t number)
{
    char name[AUDIT_SEGMENT_NAME_SIZE];
    char *path;
    ath_err err = ATH_OK;

    audit_segment_name(number, name);
    if ((path = file_path(dir, name)) == NULL)
        return ATH_ERR_NOMEM;
    if (unlink(path) != 0 && errno != ENOENT) {
        log_error("event=audit reason=\"cannot remove %s: %s\"", path, strerror(errno));
        err = ATH_ERR_IO;
    }
    free(path);
    return err;
}

static void
on_find(uv_work_t *work)
{
    struct audit_retention *retention = work->data;

    retention->err = audit_retention_find(audit_log_dir(retention->athd->audit), &retention->span,
                                          retention->covered, retention->keep_days,
                                          retention->keep_segments, &retention->prunable);
}

/* The oldest first, so that no kill leaves a gap. */
static void
on_remove(uv_work_t *work)
{
    struct audit_retention *retention = work->data;

    retention->removed_to = retention->span.first;
    while (retention->err == ATH_OK && retention->removed_to < retention->prunable.kept_segment) {
        retention->err =
            remove_segment(audit_log_dir(retention->athd->audit), retention->removed_to);
        if (retention->err == ATH_OK)
            retention->removed_to++;
    }
}

/* ---- in the loop ---- */

static void
start(struct audit_retention *retention, uv_work_cb run, uv_after_work_cb done)
{
    const struct config_audit *audit = &retention->athd->config->audit;

    retention->is_working = true;
    retention->err = ATH_OK;
    retention->span = audit_log_span(retention->athd->audit);
    retention->keep_days = audit->keep_days;
    retention->keep_segments = audit->keep_segments;
    retention->work.data = retention;
    uv_queue_work(retention->athd->loop, &retention->work, run, done);
}

static void
on_recorded(void *ctx, ath_err err)
{
    struct audit_retention *retention = ctx;

    retention->is_working = false;
    retention->is_announced = err == ATH_OK;
    retention->announced_size = audit_log_size(retention->athd->audit);
}

static void
on_found(uv_work_t *work, int status)
{
    struct audit_retention *retention = work->data;
    struct json_maker record;

    if (status != 0 || retention->err != ATH_OK || retention->prunable.kept_segment == 0) {
        retention->is_working = false;
        return;
    }
    audit_record_begin(&record, "audit_retention", NULL);
    json_put_int(&record, "kept_from", (int64_t)retention->prunable.kept_from);
    json_put_int(&record, "segments",
                 (int64_t)(retention->prunable.kept_segment - retention->span.first));
    audit_append(retention->athd->audit, &record, on_recorded, retention);
}

static void
on_removed(uv_work_t *work, int status)
{
    struct audit_retention *retention = work->data;

    (void)status;
    retention->is_working = false;
    audit_log_set_first(retention->athd->audit, retention->removed_to);
    if (retention->err == ATH_OK) /* else the thread said which one stays */
        log_info("event=audit_retention kept_from=%llu",
                 (unsigned long long)retention->prunable.kept_from);
}

void
audit_retention_covered(struct audit_retention *retention, uint64_t covered)
{
    const struct config_audit *audit = &retention->athd->config->audit;

    if (retention->is_working || (audit->keep_days == 0 && audit->keep_segments == 0))
        return;
    retention->covered = covered;
    if (!retention->is_announced) {
        start(retention, on_find, on_found);
    } else if (covered >= retention->announced_size) {
        retention->is_announced = false;
        start(retention, on_remove, on_removed);
    }
}

bool
audit_retention_wants_checkpoint(const struct audit_retention *retention)
{
    return retention->is_announced;
}

ath_err
audit_retention_new(struct athd *athd, struct audit_retention **ret_retention)
{
    struct audit_retention *retention = calloc(1, sizeof(*retention));

    if (retention == NULL)
        return ATH_ERR_NOMEM;
    retention->athd = athd;
    *ret_retention = retention;
    return ATH_OK;
}

void
audit_retention_free(struct audit_retention *retention)
{
    free(retention);
}
