/* RFC 6962 section 2.1 Merkle trees over SHA-256: used for batch signatures and the audit log. */
#ifndef CRYPTO_MERKLE_H
#define CRYPTO_MERKLE_H

#include "crypto/digest.h"

#define MERKLE_MAX_PATH 64

/* H(0 || entry). ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err merkle_leaf(struct ath_slice entry, uint8_t ret_hash[SHA256_LEN]) ATH_MUST_USE;

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

#endif
