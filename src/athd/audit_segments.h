/*
 * The segments of the audit log: audit/00000001.jsonl, 00000002.jsonl ..., numbered without gaps.
 * The last one is written; a full or old one is closed and another begun. Blocking: for start-up
 * and for the thread that writes.
 */
#ifndef ATHD_AUDIT_SEGMENTS_H
#define ATHD_AUDIT_SEGMENTS_H

#include "athd/audit_file.h"

struct audit_limits {
    int64_t segment_size;  /* bytes; the group that passes it is the segment's last; 0: any */
    int64_t segment_age_s; /* of its first record; 0: any */
    uint64_t covered;      /* records that a checkpoint covers: none of them is ever cut off */
};

struct audit_segments {
    char *dir; /* owned */
    uint32_t first, last;
    struct audit_file file; /* the last one */
    struct audit_limits limits;
    bool is_rotation_failing; /* said once */
};

/* What a reader must know of the log: it reads beside the thread that writes. */
struct audit_span {
    uint32_t first, last; /* numbers of its segments */
    uint64_t size;        /* records, those that were pruned included */
};

/* Makes the directory where it is missing, and opens the last segment. ATH_ERR_IO with why,
 * ATH_ERR_NOMEM. */
ath_err audit_segments_open(struct audit_segments *segments, const char *dir,
                            const struct audit_limits *limits, struct why *why) ATH_MUST_USE;
/* As audit_file_append; begins a new segment first where the limits want it. Where none can be
 * made the old one grows on: a record is worth more than a limit. */
ath_err audit_segments_append(struct audit_segments *segments, struct ath_slice lines,
                              uint64_t count) ATH_MUST_USE;
struct audit_span audit_segments_span(const struct audit_segments *segments);
void audit_segments_close(struct audit_segments *segments);

#endif
