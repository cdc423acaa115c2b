/*
 * No signature without its record: segments in audit/, one JSON object a line, `index` from 0,
 * written and fdatasynced in groups on libuv's thread pool. Its completion says the record is on
 * disk.
 */
#ifndef ATHD_AUDIT_LOG_H
#define ATHD_AUDIT_LOG_H

#include "athd/audit_record.h"
#include "athd/audit_segments.h"

struct audit_log;

typedef void audit_done_fn(void *ctx, ath_err err); /* ATH_OK or ATH_ERR_AUDIT_UNAVAILABLE */

/* Opens the log in state_dir/audit, cuts a torn last line (which is a record then: log_torn), goes
 * on behind the last index. Blocking (start-up). ATH_ERR_IO with why. */
ath_err audit_log_open(struct athd *athd, const char *state_dir, struct why *why,
                       struct audit_log **ret_log) ATH_MUST_USE;
/* Writes what is queued, then calls done. */
void audit_log_close(struct audit_log *log, void (*done)(void *ctx), void *ctx);
void audit_log_free(struct audit_log *log);

/* Ends and appends it. done is called once, from the event loop, never from inside this call (also
 * on failure). done may be NULL: nobody waits. */
void audit_append(struct audit_log *log, struct json_maker *record, audit_done_fn *done, void *ctx);

/* As audit_append, but the record may wait for others to be written with it until audit_write,
 * which the caller must call. */
void audit_append_waiting(struct audit_log *log, struct json_maker *record, audit_done_fn *done,
                          void *ctx);
/* Writes all that waits, now or when the group under way has been written. */
void audit_write(struct audit_log *log);

/* The index that the next record will have, if none before it is lost with a disk that fails. */
uint64_t audit_log_next(const struct audit_log *log);
/* Number of records on disk, pruned ones included. */
uint64_t audit_log_size(const struct audit_log *log);
/* What is on disk, for who reads it in a thread. */
struct audit_span audit_log_span(const struct audit_log *log);
/* Of the log; lives as long as it. */
const char *audit_log_dir(const struct audit_log *log);

/* Segments before this one were removed. */
void audit_log_set_first(struct audit_log *log, uint32_t number);

/* Why records cannot be written; NULL: they are. */
const char *audit_log_failure(const struct audit_log *log);

/* Waits for what is on its way to the disk now, so that who reads then sees all that was answered
 * before. The storage is the waiter's until done or audit_log_settle_end. */
struct audit_settling {
    LIST_ENTRY(audit_settling) entry;
    uint64_t size; /* as many records */
    void (*done)(void *ctx);
    void *ctx;
};
/* False: nothing is on its way, or it cannot be written now. True: done(ctx) comes once, from the
 * loop, when it is on disk, or could not be written. */
bool audit_log_settle(struct audit_log *log, struct audit_settling *settling,
                      void (*done)(void *ctx), void *ctx);
void audit_log_settle_end(struct audit_settling *settling); /* fine if it does not wait */

/* grown(ctx) whenever records have come onto the disk; from the loop. The storage is the watcher's
 * until audit_log_unwatch. */
struct audit_watch {
    LIST_ENTRY(audit_watch) entry;
    void (*grown)(void *ctx);
    void *ctx;
};
void audit_log_watch(struct audit_log *log, struct audit_watch *watch, void (*grown)(void *ctx),
                     void *ctx);
void audit_log_unwatch(struct audit_log *log, struct audit_watch *watch); /* fine if it does not */

#endif
