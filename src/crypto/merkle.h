/* RFC 6962 section 2.1 Merkle trees over SHA-256: used for batch signatures and the audit log. */
#ifndef CRYPTO_MERKLE_H
#define CRYPTO_MERKLE_H

#include "crypto/digest.h"

#define MERKLE_MAX_PATH 64
#define MERKLE_MAX_LEVELS 64

/* H(0 || entry). ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err merkle_leaf(struct ath_slice entry, uint8_t ret_hash[SHA256_LEN]) ATH_MUST_USE;

/* H(1 || left || right); ret_hash may be left or right. ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err merkle_node(const uint8_t left[SHA256_LEN], const uint8_t right[SHA256_LEN],
                    uint8_t ret_hash[SHA256_LEN]) ATH_MUST_USE;

/* Root of the tree over the entries in their order; of none, H(""). ATH_ERR_NOMEM,
 * ATH_ERR_CRYPTO. */
ath_err merkle_root(const struct ath_slice *entries, size_t count,
                    uint8_t ret_root[SHA256_LEN]) ATH_MUST_USE;

/* The audit path of leaf `index` (2.1.1), its hashes of 32 bytes appended to path, leaf first.
 * Takes time in proportion to count. ATH_ERR_NOT_FOUND: index >= count; ATH_ERR_CRYPTO, the
 * buffer's error. */
ath_err merkle_path(const struct ath_slice *entries, size_t count, size_t index,
                    struct ath_buf *path) ATH_MUST_USE;

/* The root that entry at index of a tree of `size` leaves and its path give. ATH_ERR_PARSE when the
 * path's length does not fit index and size or index >= size. */
ath_err merkle_root_from_path(struct ath_slice entry, uint64_t index, uint64_t size,
                              struct ath_slice path, uint8_t ret_root[SHA256_LEN]) ATH_MUST_USE;

/* The same from the leaf's hash. */
ath_err merkle_root_from_leaf(const uint8_t leaf[SHA256_LEN], uint64_t index, uint64_t size,
                              struct ath_slice path, uint8_t ret_root[SHA256_LEN]) ATH_MUST_USE;

/* Does the proof (2.1.2) show that the tree of `from` leaves is the beginning of the one of `to`?
 * Sizes that are equal need the empty proof and equal roots; from 0 everything follows.
 * ATH_ERR_PARSE: from > to or a length that does not fit; ATH_ERR_INVALID_EVIDENCE: it does not
 * show it; ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err merkle_check_consistency(uint64_t from, const uint8_t from_root[SHA256_LEN], uint64_t to,
                                 const uint8_t to_root[SHA256_LEN],
                                 struct ath_slice proof) ATH_MUST_USE;

/* A tree that grows, in constant memory: the perfect trees its leaves form, one for each bit of
 * size, the larger ones further left. Zero-initialise; copy it freely. */
struct merkle_stack {
    uint64_t size;
    uint8_t nodes[MERKLE_MAX_LEVELS][SHA256_LEN]; /* [k]: of 2^k leaves; used if size has bit k */
};

/* ATH_ERR_NOMEM, ATH_ERR_CRYPTO: the stack is as it was. */
ath_err merkle_stack_push(struct merkle_stack *stack, const uint8_t leaf[SHA256_LEN]) ATH_MUST_USE;

/* Root over what was pushed, O(log size). ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err merkle_stack_root(const struct merkle_stack *stack,
                          uint8_t ret_root[SHA256_LEN]) ATH_MUST_USE;

/* For trees whose right part is known by its root already: hashes the stack's perfect trees, right
 * to left, onto *hash; *has_hash false says there is no such part (then *hash is only set). An
 * empty stack changes nothing. ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err merkle_stack_join(const struct merkle_stack *stack, bool *has_hash,
                          uint8_t hash[SHA256_LEN]) ATH_MUST_USE;

#endif
