/*
 * Old segments are removed where the configuration says so (audit.keep_days, audit.keep_segments;
 * for ever by default). What is removed is on record first, under a checkpoint; tiles, checkpoints
 * and keys stay, so that all that is left can be proved (docs/audit.md, "What is removed").
 */
#ifndef ATHD_AUDIT_RETENTION_H
#define ATHD_AUDIT_RETENTION_H

#include "athd/audit_log.h"

struct audit_retention;

/* What may go, as a thread finds it. */
struct audit_prunable {
    uint32_t kept_segment; /* the first that stays; 0: nothing may go */
    uint64_t kept_from;    /* its first record */
};

/* Looks for segments behind the limits whose records are all below `covered`. keep_days and
 * keep_segments: 0: not limited by it; a segment goes when neither keeps it. Blocking.
 * ATH_ERR_IO, ATH_ERR_PARSE. */
ath_err audit_retention_find(const char *dir, const struct audit_span *span, uint64_t covered,
                             int64_t keep_days, int64_t keep_segments,
                             struct audit_prunable *ret_prunable) ATH_MUST_USE;

/* ATH_ERR_NOMEM. */
ath_err audit_retention_new(struct athd *athd, struct audit_retention **ret_retention) ATH_MUST_USE;
/* A checkpoint covers `covered` records: what was announced below it is removed, then what may go
 * next is looked for, and announced. */
void audit_retention_covered(struct audit_retention *retention, uint64_t covered);
/* Something was announced that a checkpoint should cover soon. */
bool audit_retention_wants_checkpoint(const struct audit_retention *retention);
void audit_retention_free(struct audit_retention *retention);

#endif
