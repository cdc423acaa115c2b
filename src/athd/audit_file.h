/* The file behind the audit log: whole lines only, whatever happens to the disk or to athd. */
#ifndef ATHD_AUDIT_FILE_H
#define ATHD_AUDIT_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/why.h"

struct audit_file {
    int fd;
    char *path; /* owned */
    off_t size; /* end of the last whole, synced line */
    uint64_t next_index;
    struct why why; /* of the last failed append */
};

/*
 * Opens dir/00000001.jsonl, makes both where they are missing, and goes on behind the last whole
 * record. A line that was cut off when athd or the machine died was never answered for: it is
 * dropped. What else stands there and is no record is kept beside it (00000001.jsonl.damaged) and
 * said, since it may be somebody's work. ATH_ERR_IO, ATH_ERR_NOMEM.
 */
ath_err audit_file_open(struct audit_file *file, const char *dir, struct why *why) ATH_MUST_USE;

/* Appends `count` lines and syncs them; blocks, for a thread of its own. ATH_ERR_IO: none of them
 * is there (a part that was written is cut off, now or before the next append). */
ath_err audit_file_append(struct audit_file *file, struct ath_slice lines,
                          uint64_t count) ATH_MUST_USE;

void audit_file_close(struct audit_file *file);

#endif
