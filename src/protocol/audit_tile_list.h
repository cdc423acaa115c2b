/* Which tiles of an audit log are there as files. Blocks; for tools. */
#ifndef PROTOCOL_AUDIT_TILE_LIST_H
#define PROTOCOL_AUDIT_TILE_LIST_H

#include "protocol/audit_notes.h"
#include "protocol/audit_tile.h"

struct audit_tile_list {
    struct audit_tile *tiles; /* owned; in the order in which a growing tree completes them */
    size_t count, cap;
};

/* Number of leaves a tree needs to have this tile. UINT64_MAX for what no tree of 64 bits has. */
uint64_t audit_tile_end(const struct audit_tile *tile);

/* dir/tile and all below it; none is fine. ATH_ERR_INVALID_EVIDENCE with *wrong: a name that is no
 * tile's; ATH_ERR_IO with wrong->why, ATH_ERR_NOMEM. */
ath_err audit_tile_list_load(const char *dir, struct audit_wrong *wrong,
                             struct audit_tile_list *ret_list) ATH_MUST_USE;
void audit_tile_list_done(struct audit_tile_list *list);

#endif
