/* One segment of the audit log: whole lines only, whatever happens to the disk or to athd. */
#ifndef ATHD_AUDIT_FILE_H
#define ATHD_AUDIT_FILE_H

#include <sys/types.h>

#include "base/clock.h"
#include "base/why.h"
#include "base/buf.h"

struct audit_file {
    int fd;
    char *path;                       /* owned */
    off_t size;                       /* end of the last whole, synced line */
    uint64_t next_index;              /* of the record that is written next */
    char first_time[CLOCK_TEXT_SIZE]; /* of its first record; "": it has none */
    size_t torn;                      /* bytes that were cut off when it was opened */
    bool is_torn_kept;                /* they were no beginning of a record, and lie beside it */
    bool needs_mending;               /* a failed append may have left something behind `size` */
    struct why why;                   /* of the last failed append */
};

#define AUDIT_INDEX_UNKNOWN UINT64_MAX

/*
 * Opens dir/NUMBER.jsonl, makes it where it is missing, and goes on behind its last whole record.
 * `next_index` is that of its first one, or AUDIT_INDEX_UNKNOWN (a file that has none then begins
 * at 0). A line that was cut off when athd or the machine died was never answered for: it is
 * dropped. What else stands there and is not the next record (from `covered` on: below it nothing
 * is touched) is kept beside it (NUMBER.jsonl.damaged) with all that follows, and said, since it
 * may be somebody's work. ATH_ERR_IO, ATH_ERR_NOMEM.
 */
ath_err audit_file_open(struct audit_file *file, const char *dir, uint32_t number,
                        uint64_t next_index, uint64_t covered, struct why *why) ATH_MUST_USE;

/* The index behind the last whole record of dir/NUMBER.jsonl, which is only read.
 * ATH_ERR_NOT_FOUND: it has none; ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err audit_file_end(const char *dir, uint32_t number, struct why *why,
                       uint64_t *ret_next_index) ATH_MUST_USE;

/* Appends `count` lines and syncs them; blocks, for a thread of its own. ATH_ERR_IO: none of them
 * is there (a part that was written is cut off, now or before the next append). */
ath_err audit_file_append(struct audit_file *file, struct ath_slice lines,
                          uint64_t count) ATH_MUST_USE;

/* Nothing is behind the last record, on disk too: what a failed append left would stay for good in
 * a segment that is not written any more. ATH_ERR_IO with file->why. */
ath_err audit_file_mend(struct audit_file *file) ATH_MUST_USE;

void audit_file_close(struct audit_file *file);

#endif
