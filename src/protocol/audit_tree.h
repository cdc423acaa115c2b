/* The Merkle tree of the audit log (RFC 6962 2.1): how it grows, for who writes it, and proofs out
 * of its tiles, for who has them. */
#ifndef PROTOCOL_AUDIT_TREE_H
#define PROTOCOL_AUDIT_TREE_H

#include "protocol/audit_tile.h"

/*
 * A tree that grows: the hashes of each level that fill no tile yet. 64 KiB, whatever its size.
 * Zero-initialise for an empty one; copy it freely.
 */
struct audit_tree {
    uint64_t size;
    uint8_t hashes[AUDIT_TILE_LEVELS][AUDIT_TILE_MAX_LEN]; /* [L]: (size >> 8L) & 255 of them */
};

/* Appends the leaf of one record (merkle_leaf of its line without the line feed). put gets each
 * tile that this completes, the lowest level first; it may be NULL. On an error (put's,
 * ATH_ERR_NOMEM, ATH_ERR_CRYPTO) the tree must not be used any more. */
ath_err audit_tree_append(struct audit_tree *tree, const uint8_t leaf[SHA256_LEN],
                          audit_tile_put_fn *put, void *ctx) ATH_MUST_USE;

/* Gives put the partial tiles of the tree as it is, what a checkpoint at this size needs to be
 * provable: at most 8. put's errors. */
ath_err audit_tree_partials(const struct audit_tree *tree, audit_tile_put_fn *put,
                            void *ctx) ATH_MUST_USE;

/* ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err audit_tree_root(const struct audit_tree *tree, uint8_t ret_root[SHA256_LEN]) ATH_MUST_USE;

/* The tree of the first `size` leaves, from their tiles (those of a checkpoint of that size). Its
 * root should then be that of the checkpoint. read's errors. */
ath_err audit_tree_load(uint64_t size, audit_tile_read_fn *read, void *ctx, struct why *why,
                        struct audit_tree *ret_tree) ATH_MUST_USE;

/* ---- proofs ---- */

struct audit_tiles; /* reads tiles as they are needed, keeps some */

/* ATH_ERR_NOMEM. */
ath_err audit_tiles_new(audit_tile_read_fn *read, void *ctx,
                        struct audit_tiles **ret_tiles) ATH_MUST_USE;
void audit_tiles_free(struct audit_tiles *tiles); /* NULL is fine */

/* Of trees of the first `size` leaves; tiles beyond it are not read. Each reads O(log size) tiles.
 * The hashes of a proof, 32 bytes each, are appended. What is read is not checked against anything:
 * compare the root, or verify the proof, against a signed one. read's errors; ATH_ERR_NOT_FOUND:
 * index >= size or from > to; ATH_ERR_NOMEM, ATH_ERR_CRYPTO, the buffer's error. */
ath_err audit_tiles_root(struct audit_tiles *tiles, uint64_t size, struct why *why,
                         uint8_t ret_root[SHA256_LEN]) ATH_MUST_USE;
ath_err audit_tiles_leaf(struct audit_tiles *tiles, uint64_t index, struct why *why,
                         uint8_t ret_leaf[SHA256_LEN]) ATH_MUST_USE;
ath_err audit_tiles_inclusion(struct audit_tiles *tiles, uint64_t index, uint64_t size,
                              struct why *why, struct ath_buf *proof) ATH_MUST_USE;
ath_err audit_tiles_consistency(struct audit_tiles *tiles, uint64_t from, uint64_t to,
                                struct why *why, struct ath_buf *proof) ATH_MUST_USE;

#endif
