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

ath_err
merkle_node(const uint8_t left[SHA256_LEN], const uint8_t right[SHA256_LEN],
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
    return merkle_node(left, right, ret_root);
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

ath_err
merkle_root_from_path(struct ath_slice entry, uint64_t index, uint64_t size, struct ath_slice path,
                      uint8_t ret_root[SHA256_LEN])
{
    uint8_t leaf[SHA256_LEN];
    ath_err err;

    if ((err = merkle_leaf(entry, leaf)) != ATH_OK)
        return err;
    return merkle_root_from_leaf(leaf, index, size, path, ret_root);
}

/* RFC 9162 2.1.3.2 says how to walk up a path of RFC 6962 2.1.1: `position` is the node's place in
 * its level, `last` that of the level's last node. */
struct place {
    uint64_t position, last;
};

static void
go_up(struct place *place)
{
    place->position >>= 1;
    place->last >>= 1;
}

/* To the level of the node's parent. Does the path's next hash belong to its left? A last node that
 * has no sibling is its own parent. */
static bool
go_to_parent(struct place *place)
{
    bool is_left = (place->position & 1) == 1 || place->position == place->last;

    while (is_left && (place->position & 1) == 0 && place->position != 0)
        go_up(place);
    go_up(place);
    return is_left;
}

ath_err
merkle_root_from_leaf(const uint8_t leaf[SHA256_LEN], uint64_t index, uint64_t size,
                      struct ath_slice path, uint8_t ret_root[SHA256_LEN])
{
    struct place place = {.position = index, .last = size - 1};
    uint8_t hash[SHA256_LEN];
    ath_err err;

    if (index >= size || path.len % SHA256_LEN != 0 || path.len / SHA256_LEN > MERKLE_MAX_PATH)
        return ATH_ERR_PARSE;
    memcpy(hash, leaf, SHA256_LEN);
    for (size_t i = 0; i < path.len; i += SHA256_LEN) {
        const uint8_t *sibling = path.data + i;

        if (place.last == 0)
            return ATH_ERR_PARSE;
        err = go_to_parent(&place) ? merkle_node(sibling, hash, hash)
                                   : merkle_node(hash, sibling, hash);
        if (err != ATH_OK)
            return err;
    }
    if (place.last != 0)
        return ATH_ERR_PARSE;
    memcpy(ret_root, hash, SHA256_LEN);
    return ATH_OK;
}

/* ---- consistency ---- */

/* Both roots as the proof gives them, walked up at once (RFC 9162 2.1.4.2). */
struct climb {
    struct place place;
    uint8_t from[SHA256_LEN], to[SHA256_LEN];
};

static ath_err
climb_by(struct climb *climb, const uint8_t *sibling)
{
    ath_err err;

    if (climb->place.last == 0)
        return ATH_ERR_PARSE;
    if (!go_to_parent(&climb->place))
        return merkle_node(climb->to, sibling, climb->to);
    if ((err = merkle_node(sibling, climb->from, climb->from)) != ATH_OK)
        return err;
    return merkle_node(sibling, climb->to, climb->to);
}

static ath_err
same(const uint8_t a[SHA256_LEN], const uint8_t b[SHA256_LEN])
{
    return memcmp(a, b, SHA256_LEN) == 0 ? ATH_OK : ATH_ERR_INVALID_EVIDENCE;
}

static ath_err
check_proof(uint64_t from, const uint8_t *from_root, uint64_t to, const uint8_t *to_root,
            struct ath_slice proof)
{
    struct climb climb = {.place = {.position = from - 1, .last = to - 1}};
    bool is_perfect = (from & (from - 1)) == 0;
    size_t at = is_perfect ? 0 : SHA256_LEN; /* a perfect tree is its own first node */
    ath_err err;

    if (proof.len == 0 || proof.len % SHA256_LEN != 0 || proof.len / SHA256_LEN > MERKLE_MAX_PATH)
        return ATH_ERR_PARSE;
    while ((climb.place.position & 1) == 1)
        go_up(&climb.place);
    memcpy(climb.from, is_perfect ? from_root : proof.data, SHA256_LEN);
    memcpy(climb.to, climb.from, SHA256_LEN);
    for (; at < proof.len; at += SHA256_LEN)
        if ((err = climb_by(&climb, proof.data + at)) != ATH_OK)
            return err;
    if (climb.place.last != 0)
        return ATH_ERR_PARSE;
    if ((err = same(climb.from, from_root)) != ATH_OK)
        return err;
    return same(climb.to, to_root);
}

ath_err
merkle_check_consistency(uint64_t from, const uint8_t from_root[SHA256_LEN], uint64_t to,
                         const uint8_t to_root[SHA256_LEN], struct ath_slice proof)
{
    uint8_t nothing[SHA256_LEN];
    ath_err err;

    if (from > to || ((from == 0 || from == to) && proof.len != 0))
        return ATH_ERR_PARSE;
    if (from == to)
        return same(from_root, to_root);
    if (from != 0)
        return check_proof(from, from_root, to, to_root, proof);
    if ((err = merkle_root(NULL, 0, nothing)) != ATH_OK)
        return err;
    return same(from_root, nothing);
}

/* ---- a tree that grows ---- */

ath_err
merkle_stack_push(struct merkle_stack *stack, const uint8_t leaf[SHA256_LEN])
{
    uint8_t hash[SHA256_LEN];
    unsigned level = 0;
    ath_err err;

    memcpy(hash, leaf, SHA256_LEN);
    for (; level < MERKLE_MAX_LEVELS - 1 && (stack->size >> level & 1) == 1; level++)
        if ((err = merkle_node(stack->nodes[level], hash, hash)) != ATH_OK)
            return err;
    memcpy(stack->nodes[level], hash, SHA256_LEN);
    stack->size++;
    return ATH_OK;
}

ath_err
merkle_stack_join(const struct merkle_stack *stack, bool *has_hash, uint8_t hash[SHA256_LEN])
{
    ath_err err;

    for (unsigned level = 0; level < MERKLE_MAX_LEVELS; level++) {
        if ((stack->size >> level & 1) == 0)
            continue;
        if (!*has_hash)
            memcpy(hash, stack->nodes[level], SHA256_LEN);
        else if ((err = merkle_node(stack->nodes[level], hash, hash)) != ATH_OK)
            return err;
        *has_hash = true;
    }
    return ATH_OK;
}

ath_err
merkle_stack_root(const struct merkle_stack *stack, uint8_t ret_root[SHA256_LEN])
{
    bool has_hash = false;

    if (stack->size == 0)
        return merkle_root(NULL, 0, ret_root);
    return merkle_stack_join(stack, &has_hash, ret_root);
}
