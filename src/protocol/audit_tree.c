#include "protocol/audit_tree.h"

#include <stdlib.h>
#include <string.h>

/* A proof walks two or three edges of the tree down: a tile of each level, and one beside it. */
#define KEPT_TILES 32u

/* ---- growing ---- */

static unsigned
width_of(uint64_t size, unsigned level)
{
    return (unsigned)(audit_tile_hashes(size, level) % AUDIT_TILE_WIDTH);
}

ath_err
audit_tree_append(struct audit_tree *tree, const uint8_t leaf[SHA256_LEN], audit_tile_put_fn *put,
                  void *ctx)
{
    uint64_t size = tree->size + 1;
    uint8_t hash[SHA256_LEN];
    ath_err err;

    memcpy(hash, leaf, SHA256_LEN);
    for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++) {
        struct audit_tile tile = {level, audit_tile_hashes(tree->size, level) / AUDIT_TILE_WIDTH,
                                  AUDIT_TILE_WIDTH};
        uint8_t *hashes = tree->hashes[level];

        memcpy(hashes + (size_t)width_of(tree->size, level) * SHA256_LEN, hash, SHA256_LEN);
        if (width_of(size, level) != 0)
            break;
        if (put != NULL && (err = put(ctx, &tile, hashes)) != ATH_OK)
            return err;
        if ((err = audit_tile_root(hashes, AUDIT_TILE_WIDTH, hash)) != ATH_OK)
            return err;
    }
    tree->size = size;
    return ATH_OK;
}

ath_err
audit_tree_partials(const struct audit_tree *tree, audit_tile_put_fn *put, void *ctx)
{
    ath_err err;

    for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++) {
        struct audit_tile tile = {level, audit_tile_hashes(tree->size, level) / AUDIT_TILE_WIDTH,
                                  width_of(tree->size, level)};

        if (tile.width != 0 && (err = put(ctx, &tile, tree->hashes[level])) != ATH_OK)
            return err;
    }
    return ATH_OK;
}

ath_err
audit_tree_root(const struct audit_tree *tree, uint8_t ret_root[SHA256_LEN])
{
    bool has_hash = false;
    ath_err err;

    if (tree->size == 0)
        return merkle_root(NULL, 0, ret_root);
    for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++) {
        struct merkle_stack stack = {0};

        for (unsigned i = 0; i < width_of(tree->size, level); i++)
            if ((err = merkle_stack_push(&stack, tree->hashes[level] + (size_t)i * SHA256_LEN)) !=
                ATH_OK)
                return err;
        if ((err = merkle_stack_join(&stack, &has_hash, ret_root)) != ATH_OK)
            return err;
    }
    return ATH_OK;
}

ath_err
audit_tree_load(uint64_t size, audit_tile_read_fn *read, void *ctx, struct why *why,
                struct audit_tree *ret_tree)
{
    ath_err err;

    memset(ret_tree, 0, sizeof(*ret_tree));
    for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++) {
        struct audit_tile tile = {level, audit_tile_hashes(size, level) / AUDIT_TILE_WIDTH,
                                  width_of(size, level)};

        if (tile.width != 0 && (err = read(ctx, &tile, ret_tree->hashes[level], why)) != ATH_OK)
            return err;
    }
    ret_tree->size = size;
    return ATH_OK;
}

/* ---- proofs ---- */

struct kept_tile {
    struct audit_tile tile; /* width 0: none */
    uint8_t hashes[AUDIT_TILE_MAX_LEN];
};

struct audit_tiles {
    audit_tile_read_fn *read;
    void *ctx;
    unsigned next; /* to be replaced */
    struct kept_tile kept[KEPT_TILES];
};

ath_err
audit_tiles_new(audit_tile_read_fn *read, void *ctx, struct audit_tiles **ret_tiles)
{
    struct audit_tiles *tiles = calloc(1, sizeof(*tiles));

    if (tiles == NULL)
        return ATH_ERR_NOMEM;
    tiles->read = read;
    tiles->ctx = ctx;
    *ret_tiles = tiles;
    return ATH_OK;
}

void
audit_tiles_free(struct audit_tiles *tiles)
{
    free(tiles);
}

/* The tree of the first `size` leaves, as the recursion below sees it. */
struct view {
    struct audit_tiles *tiles;
    uint64_t size;
    struct why *why;
};

static ath_err
tile_get(const struct view *view, unsigned level, uint64_t index, const uint8_t **ret_hashes)
{
    struct audit_tiles *tiles = view->tiles;
    struct audit_tile wanted = {level, index, audit_tile_width(view->size, level, index)};
    struct kept_tile *kept;
    ath_err err;

    for (unsigned i = 0; i < KEPT_TILES; i++) {
        kept = &tiles->kept[i];
        if (kept->tile.level == level && kept->tile.index == index &&
            kept->tile.width >= wanted.width && kept->tile.width != 0) {
            *ret_hashes = kept->hashes;
            return ATH_OK;
        }
    }
    kept = &tiles->kept[tiles->next];
    kept->tile.width = 0;
    if ((err = tiles->read(tiles->ctx, &wanted, kept->hashes, view->why)) != ATH_OK)
        return err;
    kept->tile = wanted;
    tiles->next = (tiles->next + 1) % KEPT_TILES;
    *ret_hashes = kept->hashes;
    return ATH_OK;
}

/* Root of the perfect tree of 2^height leaves from `start` on, a multiple of that. */
static ath_err
perfect_root(const struct view *view, uint64_t start, unsigned height, uint8_t *ret_root)
{
    unsigned level = height / AUDIT_TILE_HEIGHT, width = 1u << (height % AUDIT_TILE_HEIGHT);
    uint64_t first = start >> (AUDIT_TILE_HEIGHT * level);
    const uint8_t *hashes = NULL;
    ath_err err;

    if ((err = tile_get(view, level, first / AUDIT_TILE_WIDTH, &hashes)) != ATH_OK)
        return err;
    return audit_tile_root(hashes + (size_t)(first % AUDIT_TILE_WIDTH) * SHA256_LEN, width,
                           ret_root);
}

/* A run of leaves as RFC 6962 cuts them: start is a multiple of the smallest power of two that is
 * not below count. */
struct run {
    uint64_t start, count;
};

/* The largest power of two below count, as its exponent; count is at least 2. */
static unsigned
split_height(uint64_t count)
{
    unsigned height = 0;

    for (count = (count - 1) >> 1; count != 0; count >>= 1)
        height++;
    return height;
}

static struct run
left_of(struct run run)
{
    return (struct run){run.start, UINT64_C(1) << split_height(run.count)};
}

static struct run
right_of(struct run run)
{
    uint64_t left = UINT64_C(1) << split_height(run.count);

    return (struct run){run.start + left, run.count - left};
}

static ath_err
run_root(const struct view *view, struct run run, uint8_t *ret_root)
{
    uint8_t left[SHA256_LEN], right[SHA256_LEN];
    ath_err err;

    if (run.count == 0)
        return merkle_root(NULL, 0, ret_root);
    if (run.count == 1)
        return perfect_root(view, run.start, 0, ret_root);
    if ((run.count & (run.count - 1)) == 0)
        return perfect_root(view, run.start, split_height(run.count) + 1, ret_root);
    if ((err = run_root(view, left_of(run), left)) != ATH_OK ||
        (err = run_root(view, right_of(run), right)) != ATH_OK)
        return err;
    return merkle_node(left, right, ret_root);
}

static ath_err
put_root(const struct view *view, struct run run, struct ath_buf *proof)
{
    uint8_t root[SHA256_LEN];
    ath_err err;

    if ((err = run_root(view, run, root)) != ATH_OK)
        return err;
    ath_buf_put(proof, root, sizeof(root));
    return proof->err;
}

/* RFC 6962 2.1.1: PATH(m, D[n]). */
static ath_err
put_path(const struct view *view, struct run run, uint64_t index, struct ath_buf *proof)
{
    struct run left, right;
    ath_err err;

    if (run.count == 1)
        return ATH_OK;
    left = left_of(run);
    right = right_of(run);
    if (index < right.start) {
        if ((err = put_path(view, left, index, proof)) != ATH_OK)
            return err;
        return put_root(view, right, proof);
    }
    if ((err = put_path(view, right, index, proof)) != ATH_OK)
        return err;
    return put_root(view, left, proof);
}

/* RFC 6962 2.1.2: SUBPROOF(m, D[n], b); `end` is the leaf behind the older tree, is_whole is b. */
static ath_err
put_subproof(const struct view *view, struct run run, uint64_t end, bool is_whole,
             struct ath_buf *proof)
{
    struct run left, right;
    ath_err err;

    if (run.start + run.count == end)
        return is_whole ? ATH_OK : put_root(view, run, proof);
    left = left_of(run);
    right = right_of(run);
    if (end <= right.start) {
        if ((err = put_subproof(view, left, end, is_whole, proof)) != ATH_OK)
            return err;
        return put_root(view, right, proof);
    }
    if ((err = put_subproof(view, right, end, false, proof)) != ATH_OK)
        return err;
    return put_root(view, left, proof);
}

ath_err
audit_tiles_root(struct audit_tiles *tiles, uint64_t size, struct why *why,
                 uint8_t ret_root[SHA256_LEN])
{
    struct view view = {tiles, size, why};

    return run_root(&view, (struct run){0, size}, ret_root);
}

ath_err
audit_tiles_leaf(struct audit_tiles *tiles, uint64_t index, struct why *why,
                 uint8_t ret_leaf[SHA256_LEN])
{
    struct view view = {tiles, index + 1, why};

    return run_root(&view, (struct run){index, 1}, ret_leaf);
}

ath_err
audit_tiles_inclusion(struct audit_tiles *tiles, uint64_t index, uint64_t size, struct why *why,
                      struct ath_buf *proof)
{
    struct view view = {tiles, size, why};

    if (index >= size)
        return why_set(why, ATH_ERR_NOT_FOUND, "record %llu is not among the first %llu",
                       (unsigned long long)index, (unsigned long long)size);
    return put_path(&view, (struct run){0, size}, index, proof);
}

ath_err
audit_tiles_consistency(struct audit_tiles *tiles, uint64_t from, uint64_t to, struct why *why,
                        struct ath_buf *proof)
{
    struct view view = {tiles, to, why};

    if (from > to)
        return why_set(why, ATH_ERR_NOT_FOUND,
                       "a log of %llu records does not continue one of %llu",
                       (unsigned long long)to, (unsigned long long)from);
    if (from == 0 || from == to)
        return ATH_OK;
    return put_subproof(&view, (struct run){0, to}, from, true, proof);
}
