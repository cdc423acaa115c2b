/*
 * Turns records into leaves, tiles and roots, behind the thread that writes them and in its own
 * time: reads the segments, so that a record never waits for it, and what was missed is made up.
 * Blocking; memory does not depend on the log's length.
 *
 * At the start it goes on from the newest checkpoint whose root the tiles give; what came after is
 * hashed again. Where the tiles are missing or wrong, an older checkpoint, or the beginning,
 * serves.
 */
#ifndef ATHD_AUDIT_TILER_H
#define ATHD_AUDIT_TILER_H

#include "athd/audit_cursor.h"
#include "athd/audit_tile_store.h"
#include "protocol/audit_tree.h"

struct audit_tiler;

/* What the tree of `size` records is. */
struct audit_head {
    uint64_t size;
    uint8_t root[SHA256_LEN];
};

/* dir is borrowed. `newest`: what the newest checkpoint says, or NULL; of checkpoints beyond the
 * span nothing is expected. Reads nothing yet. ATH_ERR_NOMEM. */
ath_err audit_tiler_new(const char *dir, const struct audit_head *newest,
                        struct audit_tiler **ret_tiler) ATH_MUST_USE;
void audit_tiler_free(struct audit_tiler *tiler);

/*
 * Goes on towards `target` records (at most span->size) and stops after 65,536 of them. *ret_head
 * is how far it came. With `whole`, once it is there, the partial tiles are written and all tiles
 * synced: a checkpoint of this size may follow; a target behind it is then ATH_ERR_NOT_FOUND.
 * ATH_ERR_IO, ATH_ERR_PARSE (a segment is damaged, or the records do not give the newest
 * checkpoint's root), ATH_ERR_NOMEM, with why; the next call tries again.
 */
ath_err audit_tiler_run(struct audit_tiler *tiler, const struct audit_span *span, uint64_t target,
                        bool whole, struct audit_head *ret_head, struct why *why) ATH_MUST_USE;

/* The records do not give the newest checkpoint's root: said once by audit_tiler_run, true from
 * then on. */
bool audit_tiler_is_inconsistent(const struct audit_tiler *tiler);

#endif
