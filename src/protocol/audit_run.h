/* A log while it is verified (audit_verify.c), and what compares it with its tiles and checkpoints
 * (audit_run.c). */
#ifndef PROTOCOL_AUDIT_RUN_H
#define PROTOCOL_AUDIT_RUN_H

#include "protocol/audit_reader.h"
#include "protocol/audit_tile_list.h"
#include "protocol/audit_tree.h"
#include "protocol/audit_verify.h"

struct audit_place {
    uint32_t segment; /* 0: the record was removed, its hash is from a tile */
    uint64_t offset;
};

struct audit_run {
    const struct audit_verify_options *options;
    struct audit_report *report;
    struct audit_wrong *wrong; /* the report's */
    struct audit_notes notes;
    struct audit_tile_list tiles;
    size_t next_tile, next_note; /* not compared yet */
    struct audit_reader *reader;
    struct audit_tree tree;
    struct audit_place places[AUDIT_TILE_WIDTH]; /* of the records of the last tile */
    uint64_t good;                               /* size of the last checkpoint whose root held */
    uint64_t kept_from;                          /* as the covered records say */
    struct checkpoint older[AUDIT_MAX_OLDER];    /* as many as in the options, once checked */
    size_t older_count;
};

/* The size of the newest checkpoint; 0 where there is none. */
uint64_t audit_run_newest(const struct audit_run *run);

/* All these return ATH_ERR_INVALID_EVIDENCE with run->wrong set, or ATH_ERR_NOMEM, ATH_ERR_CRYPTO,
 * ATH_ERR_IO (with run->wrong->why). */

/* Says that record `index`, at this place, is wrong. */
ath_err audit_run_wrong(struct audit_run *run, const struct audit_place *place, uint64_t index,
                        const char *what);

/* What reading a tile's file ended with; ATH_OK stays that. */
ath_err audit_run_wrong_tile(struct audit_run *run, const char *file, ath_err err);

/* The tree as it is against the partial tiles and checkpoints of its size. */
ath_err audit_run_compare(struct audit_run *run) ATH_MUST_USE;

/* The next leaf, that of the record at this place, into the tree; then audit_run_compare, and full
 * tiles that it completed. */
ath_err audit_run_add(struct audit_run *run, const uint8_t *leaf,
                      const struct audit_place *place) ATH_MUST_USE;

#endif
