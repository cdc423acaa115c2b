/*
 * Is this audit log whole? Every line, every tile, every checkpoint (docs/audit.md), without athd
 * and without a TPM. Blocks; for tools.
 */
#ifndef PROTOCOL_AUDIT_VERIFY_H
#define PROTOCOL_AUDIT_VERIFY_H

#include "protocol/audit_notes.h"

#define AUDIT_MAX_OLDER 4u

struct audit_older {
    struct ath_slice note;
    const char *name; /* what to call it: a file's name */
};

struct audit_verify_options {
    const char *dir;         /* "audit" in a state directory */
    const char *const *jkts; /* thumbprints of the keys that may have signed it; count 0: any */
    size_t jkt_count;
    const struct audit_older *older; /* checkpoints kept elsewhere, which the log must continue */
    size_t older_count;              /* at most AUDIT_MAX_OLDER */
};

/* Who signed which records: the checkpoints of one key that follow one another. */
struct audit_signed {
    char jkt[JKT_LEN + 1];
    uint64_t from, to; /* records from (included) to (not included) */
};

struct audit_report {
    uint64_t first_index; /* of the first record that is there; those before were removed */
    uint64_t size;        /* index behind the last whole record */
    uint64_t covered;     /* records that the newest checkpoint covers */
    uint64_t checkpoints;
    uint64_t rollbacks;      /* records in which athd says that the log had been put back */
    uint64_t first_rollback; /* index of the first of them */
    size_t torn;             /* bytes of a line that is not whole (yet), behind all others */
    struct checkpoint newest;
    bool is_unfinished; /* it is in checkpoints/ and not in dir/checkpoint (yet) */
    struct audit_signed by[AUDIT_MAX_KEYS];
    size_t by_count;
    struct audit_wrong wrong; /* with ATH_ERR_INVALID_EVIDENCE: the first wrong thing */
};

/* ATH_OK: all of it holds. ATH_ERR_INVALID_EVIDENCE: report->wrong says what does not; ATH_ERR_IO,
 * ATH_ERR_NOT_FOUND (no such directory; both with report->wrong.why), ATH_ERR_NOMEM,
 * ATH_ERR_CRYPTO. An athd that writes meanwhile does no harm. */
ath_err audit_verify(const struct audit_verify_options *options,
                     struct audit_report *report) ATH_MUST_USE;

#endif
