/*
 * The log's records on their way to the disk, as audit_log.c (what is queued, the log's life) and
 * audit_log_group.c (groups of them) share them.
 */
#ifndef ATHD_AUDIT_LOG_PRIVATE_H
#define ATHD_AUDIT_LOG_PRIVATE_H

#include <sys/queue.h>

#include <uv.h>

#include "athd/audit_log.h"
#include "athd/deferred.h"
#include "base/clock.h"

struct audit_log_record {
    STAILQ_ENTRY(audit_log_record) entry;
    struct ath_buf body; /* without the opening brace */
    char timestamp[CLOCK_TEXT_SIZE];
    audit_done_fn *done;
    void *ctx;
};

STAILQ_HEAD(audit_log_records, audit_log_record);

struct audit_log {
    struct athd *athd;
    struct audit_segments segments; /* the thread's while it writes */
    struct audit_log_records waiting;
    size_t waiting_len; /* bytes of them */
    uint64_t waiting_count;
    struct audit_log_records group; /* being written */
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
    LIST_HEAD(, audit_settling) settling;
    void (*closed)(void *ctx);
    void *closed_ctx;
    struct deferred closing;
    struct deferred turn_end; /* waits: audit_log_start_group */
    uint64_t group_began_us;
    uint64_t held_until_us; /* the next group, if it is of less than */
    uint64_t held_below;
    struct short_wait *hold; /* NULL: closing */
};

/* audit_log_group.c: writes the next group of those that wait, unless one is being written, none is
 * wanted, or it waits for more; then it is called again. Where none waits and the log is being
 * closed, says so later. */
void audit_log_start_group(struct audit_log *log);
/* The same, when this turn of the loop ends. */
void audit_log_start_group_soon(struct audit_log *log);
/* What is on disk now; while no thread writes. */
void audit_log_take_span(struct audit_log *log);

void audit_log_record_free(struct audit_log_record *record);

#endif
