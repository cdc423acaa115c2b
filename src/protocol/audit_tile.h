/*
 * Tiles of a log's Merkle tree as C2SP tlog-tiles lays them out: a tile is up to 256 hashes of one
 * level, written one behind the other; a hash of level L stands for 256^L leaves. A full tile (256)
 * never changes; a partial one belongs to a tree of a certain size.
 */
#ifndef PROTOCOL_AUDIT_TILE_H
#define PROTOCOL_AUDIT_TILE_H

#include "base/why.h"
#include "crypto/merkle.h"

#define AUDIT_TILE_HEIGHT 8
#define AUDIT_TILE_WIDTH 256u
#define AUDIT_TILE_LEVELS 8u /* 256^8 leaves: all that 64 bits count */
#define AUDIT_TILE_MAX_LEN (AUDIT_TILE_WIDTH * SHA256_LEN)
#define AUDIT_TILE_MAX_PATH 64 /* characters, the NUL included */

struct audit_tile {
    unsigned level; /* 0 to 7 */
    uint64_t index; /* within the level, from 0 */
    unsigned width; /* hashes in it, 1 to 256 */
};

/* The file of a tile below the log's directory: "tile/0/x001/x234/067", of a partial one
 * "tile/0/067.p/12". The same with "entries" for the level, for entry bundles. */
void audit_tile_path(const struct audit_tile *tile, char ret_path[AUDIT_TILE_MAX_PATH]);
void audit_tile_entries_path(const struct audit_tile *tile, char ret_path[AUDIT_TILE_MAX_PATH]);

/* The other way, for "tile/LEVEL/..." only and only the one form. ATH_ERR_PARSE. */
ath_err audit_tile_parse(struct ath_slice path, struct audit_tile *ret_tile) ATH_MUST_USE;

/* How many hashes a tree of `size` leaves has at this level, and how wide tile `index` of them is
 * (0: it has none). */
uint64_t audit_tile_hashes(uint64_t size, unsigned level);
unsigned audit_tile_width(uint64_t size, unsigned level, uint64_t index);

/* The hash a full tile has in the level above: root of the tree over its `width` hashes.
 * ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err audit_tile_root(const uint8_t *hashes, unsigned width,
                        uint8_t ret_root[SHA256_LEN]) ATH_MUST_USE;

/* Reads tile->width hashes, the first ones of a tile that may be wider, into ret_hashes. Its own
 * errors are passed on. */
typedef ath_err audit_tile_read_fn(void *ctx, const struct audit_tile *tile, uint8_t *ret_hashes,
                                   struct why *why);
/* Given a tile that is complete, or wanted; hashes has tile->width * 32 bytes. */
typedef ath_err audit_tile_put_fn(void *ctx, const struct audit_tile *tile, const uint8_t *hashes);

/* Tiles in files: `ctx` of audit_tile_file_read, an audit_tile_read_fn. The full tile is taken
 * where it is, else the partial one of the tree of `size`. ATH_ERR_NOT_FOUND, ATH_ERR_IO,
 * ATH_ERR_PARSE (not as long as its name says), ATH_ERR_NOMEM. */
struct audit_tile_files {
    const char *dir; /* borrowed: that of the log, above tile/ */
    uint64_t size;   /* of the checkpoint whose partial tiles are there */
};
ath_err audit_tile_file_read(void *ctx, const struct audit_tile *tile, uint8_t *ret_hashes,
                             struct why *why) ATH_MUST_USE;

#endif
