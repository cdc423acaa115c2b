#include "crypto/merkle.h"

#include <string.h>

/* RFC 6962 2.1: a leaf and an inner node are hashed behind different bytes, so that neither can be
 * shown in the other's place. */
#define LEAF_PREFIX 0x00
#define NODE_PREFIX 0x01

ath_err
merkle_leaf(struct ath_slice entry, uint8_t ret_hash[SHA256_LEN])
{
    static const uint8_t prefix = LEAF_PREFIX;

    return sha256_2(ath_slice_of(&prefix, 1), entry, ret_hash);
}

/* ret_hash may be left or right. */
static ath_err
node_hash(const uint8_t left[SHA256_LEN], const uint8_t right[SHA256_LEN],
          uint8_t ret_hash[SHA256_LEN])
{
    uint8_t node[1 + 2 * SHA256_LEN];

    node[0] = NODE_PREFIX;
    memcpy(node + 1, left, SHA256_LEN);
    memcpy(node + 1 + SHA256_LEN, right, SHA256_LEN);
    return sha256(ath_slice_of(node, sizeof(node)), ret_hash);
}

/* The largest power of two below count, which is at least 2. */
static size_t
split_point(size_t count)
{
    size_t k = 1;

    while (k < count - k)
        k <<= 1;
    return k;
}

/* Recursion is as deep as the tree: at most the bits of size_t. */
ath_err
merkle_root(const struct ath_slice *entries, size_t count, uint8_t ret_root[SHA256_LEN])
{
    uint8_t left[SHA256_LEN], right[SHA256_LEN];
    size_t k;
    ath_err err;

    if (count == 0)
        return sha256((struct ath_slice){0}, ret_root);
    if (count == 1)
        return merkle_leaf(entries[0], ret_root);
    k = split_point(count);
    if ((err = merkle_root(entries, k, left)) != ATH_OK ||
        (err = merkle_root(entries + k, count - k, right)) != ATH_OK)
        return err;
    return node_hash(left, right, ret_root);
}

ath_err
merkle_path(const struct ath_slice *entries, size_t count, size_t index, struct ath_buf *path)
{
    uint8_t sibling[SHA256_LEN];
    size_t k;
    ath_err err;

    if (index >= count)
        return ATH_ERR_NOT_FOUND;
    if (count == 1)
        return path->err;
    k = split_point(count);
    if (index < k) {
        if ((err = merkle_path(entries, k, index, path)) == ATH_OK)
            err = merkle_root(entries + k, count - k, sibling);
    } else {
        if ((err = merkle_path(entries + k, count - k, index - k, path)) == ATH_OK)
            err = merkle_root(entries, k, sibling);
    }
    if (err != ATH_OK)
        return err;
    ath_buf_put(path, sibling, SHA256_LEN);
    return path->err;
}

/* RFC 9162 2.1.3.2 says how to walk up a path of RFC 6962 2.1.1: `position` is the node's place in
 * its level, `last` that of the level's last node. */
ath_err
merkle_root_from_path(struct ath_slice entry, uint64_t index, uint64_t size, struct ath_slice path,
                      uint8_t ret_root[SHA256_LEN])
{
    uint64_t position = index, last = size - 1;
    uint8_t hash[SHA256_LEN];
    ath_err err;

    if (index >= size || path.len % SHA256_LEN != 0 || path.len / SHA256_LEN > MERKLE_MAX_PATH)
        return ATH_ERR_PARSE;
    if ((err = merkle_leaf(entry, hash)) != ATH_OK)
        return err;
    for (size_t i = 0; i < path.len; i += SHA256_LEN) {
        const uint8_t *sibling = path.data + i;

        if (last == 0)
            return ATH_ERR_PARSE;
        if ((position & 1) == 1 || position == last) {
            err = node_hash(sibling, hash, hash);
            while ((position & 1) == 0 && position != 0) {
                position >>= 1;
                last >>= 1;
            }
        } else {
            err = node_hash(hash, sibling, hash);
        }
        if (err != ATH_OK)
            return err;
        position >>= 1;
        last >>= 1;
    }
    if (last != 0)
        return ATH_ERR_PARSE;
    memcpy(ret_root, hash, SHA256_LEN);
    return ATH_OK;
}
