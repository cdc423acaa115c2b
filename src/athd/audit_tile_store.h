/* Tiles on disk (C2SP tlog-tiles, below the log's directory). They can be made again from the
 * segments, so none is synced before a checkpoint stands on it. Blocking. */
#ifndef ATHD_AUDIT_TILE_STORE_H
#define ATHD_AUDIT_TILE_STORE_H

#include "protocol/audit_tile.h"

#define AUDIT_TILES_UNSYNCED_MAX 256u
#define AUDIT_TILES_OLD_MAX 64u

struct audit_tile_store {
    const char *dir; /* borrowed: of the log */
    struct audit_tile unsynced[AUDIT_TILES_UNSYNCED_MAX];
    size_t unsynced_count;
    /* full tiles whose partial ones are still there for who reads the log just now, as a ring */
    struct audit_tile old[AUDIT_TILES_OLD_MAX];
    uint64_t old_since_ms[AUDIT_TILES_OLD_MAX];
    size_t old_first, old_count;
    struct why why; /* of the last failure */
};

/* An audit_tile_put_fn; ctx is the store. Replaces what is there. A full tile takes the place of
 * its partial ones, which are removed ten minutes later (or stay, when athd ends before).
 * ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err audit_tile_store_put(void *ctx, const struct audit_tile *tile,
                             const uint8_t *hashes) ATH_MUST_USE;
/* All that was put is on disk. ATH_ERR_IO. */
ath_err audit_tile_store_sync(struct audit_tile_store *store) ATH_MUST_USE;

#endif
