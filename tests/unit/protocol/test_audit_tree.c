#include "protocol/audit_tree.h"

#include "tests/support/support.h"

/* Tiles of a growing tree, kept in memory: the full ones, and all hashes of each level. */
#define LEAVES 70000u /* the example of tlog-tiles: 273 full tiles and one of 112 at level 0 */
#define LEVELS 3u

static uint8_t (*leaves)[SHA256_LEN];
static uint8_t (*levels[LEVELS])[SHA256_LEN];
static uint64_t full_tiles[LEVELS];
static unsigned reads;

static ath_err
keep_tile(void *ctx, const struct audit_tile *tile, const uint8_t *hashes)
{
    (void)ctx;
    assert_true(tile->level < LEVELS);
    if (tile->width == AUDIT_TILE_WIDTH)
        assert_int_equal(tile->index, full_tiles[tile->level]++);
    memcpy(levels[tile->level][tile->index * AUDIT_TILE_WIDTH], hashes,
           (size_t)tile->width * SHA256_LEN);
    return ATH_OK;
}

/* Gives what a tile of a tree of *ctx leaves has, and nothing behind it. */
static unsigned failing_read; /* 0: none */

static ath_err
read_tile(void *ctx, const struct audit_tile *tile, uint8_t *ret_hashes, struct why *why)
{
    const uint64_t *size = ctx;

    (void)why;
    if (++reads == failing_read)
        return ATH_ERR_NOT_FOUND;
    assert_true(tile->level < LEVELS);
    assert_true(tile->width >= 1);
    assert_true(tile->width <= audit_tile_width(*size, tile->level, tile->index));
    memcpy(ret_hashes, levels[tile->level][tile->index * AUDIT_TILE_WIDTH],
           (size_t)tile->width * SHA256_LEN);
    return ATH_OK;
}

static ath_err
ignore_tile(void *ctx, const struct audit_tile *tile, const uint8_t *hashes)
{
    unsigned *count = ctx;

    assert_true(tile->width < AUDIT_TILE_WIDTH);
    memcpy(levels[tile->level][tile->index * AUDIT_TILE_WIDTH], hashes,
           (size_t)tile->width * SHA256_LEN);
    (*count)++;
    return ATH_OK;
}

static struct audit_tree tree;

static int
set_up(void **state)
{
    (void)state;
    leaves = calloc(LEAVES, SHA256_LEN);
    for (unsigned level = 0; level < LEVELS; level++)
        levels[level] = calloc((LEAVES >> (8 * level)) + AUDIT_TILE_WIDTH, SHA256_LEN);
    for (uint32_t i = 0; i < LEAVES; i++)
        if (merkle_leaf(ath_slice_of(&i, sizeof(i)), leaves[i]) != ATH_OK)
            return -1;
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    free(leaves);
    for (unsigned level = 0; level < LEVELS; level++)
        free(levels[level]);
    return 0;
}

static bool
is_interesting(uint64_t size)
{
    return size <= 520 || size % 4099 == 0 || (size > 65530 && size < 65540) || size == LEAVES;
}

/* Also writes all partial tiles of the sizes it looks at into `levels`, which later tests read. */
static void
test_the_root_of_each_size_is_that_of_rfc_6962(void **state)
{
    struct merkle_stack naive = {0}; /* itself compared with merkle_root in the tests of crypto */
    uint8_t root[SHA256_LEN], expected[SHA256_LEN];

    (void)state;
    for (uint64_t size = 0; size <= LEAVES; size++) {
        if (is_interesting(size)) {
            assert_int_equal(audit_tree_root(&tree, root), ATH_OK);
            assert_int_equal(merkle_stack_root(&naive, expected), ATH_OK);
            assert_memory_equal(root, expected, SHA256_LEN);
        }
        if (size == LEAVES)
            break;
        assert_int_equal(audit_tree_append(&tree, leaves[size], keep_tile, NULL), ATH_OK);
        assert_int_equal(merkle_stack_push(&naive, leaves[size]), ATH_OK);
    }
}

static void
test_the_tiles_of_70000_are_those_of_the_specification(void **state)
{
    unsigned partial = 0;

    (void)state;
    assert_int_equal(full_tiles[0], 273);
    assert_int_equal(full_tiles[1], 1);
    assert_int_equal(full_tiles[2], 0);
    assert_int_equal(audit_tree_partials(&tree, ignore_tile, &partial), ATH_OK);
    assert_int_equal(partial, 3);
    assert_int_equal(audit_tile_width(70000, 0, 272), 256);
    assert_int_equal(audit_tile_width(70000, 0, 273), 112);
    assert_int_equal(audit_tile_width(70000, 0, 274), 0);
    assert_int_equal(audit_tile_width(70000, 1, 1), 17);
    assert_int_equal(audit_tile_width(70000, 2, 0), 1);
    assert_int_equal(audit_tile_width(256, 0, 0), 256);
    assert_int_equal(audit_tile_width(256, 0, 1), 0);
    assert_int_equal(audit_tile_width(256, 1, 0), 1);
    assert_int_equal(audit_tile_width(UINT64_MAX, 7, 0), 255);
    assert_int_equal(audit_tile_width(UINT64_MAX, 8, 0), 0);
}

/* A tree that was loaded at any size goes on as the one that grew. */
static void
test_a_loaded_tree_is_the_one_that_was_kept(void **state)
{
    static const uint64_t sizes[] = {0, 1, 2, 255, 256, 257, 511, 65535, 65536, 65537, 69999};
    struct audit_tree *loaded = calloc(1, sizeof(*loaded));
    uint8_t root[SHA256_LEN], expected[SHA256_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t size = sizes[i];
        struct merkle_stack naive = {0};

        assert_int_equal(audit_tree_load(size, read_tile, &size, NULL, loaded), ATH_OK);
        for (uint64_t leaf = 0; leaf < size + 1; leaf++)
            assert_int_equal(merkle_stack_push(&naive, leaves[leaf]), ATH_OK);
        assert_int_equal(audit_tree_append(loaded, leaves[size], NULL, NULL), ATH_OK);
        assert_int_equal(audit_tree_root(loaded, root), ATH_OK);
        assert_int_equal(merkle_stack_root(&naive, expected), ATH_OK);
        assert_memory_equal(root, expected, SHA256_LEN);
    }
    free(loaded);
}

static void
root_of(uint64_t size, uint8_t ret_root[SHA256_LEN])
{
    struct merkle_stack naive = {0};

    for (uint64_t leaf = 0; leaf < size; leaf++)
        assert_int_equal(merkle_stack_push(&naive, leaves[leaf]), ATH_OK);
    assert_int_equal(merkle_stack_root(&naive, ret_root), ATH_OK);
}

static void
check_inclusion(uint64_t index, uint64_t size, const uint8_t *root)
{
    struct audit_tiles *tiles = NULL;
    struct ath_buf proof = {0};
    uint8_t found[SHA256_LEN];

    assert_int_equal(audit_tiles_new(read_tile, &size, &tiles), ATH_OK);
    assert_int_equal(audit_tiles_inclusion(tiles, index, size, NULL, &proof), ATH_OK);
    assert_int_equal(
        merkle_root_from_leaf(leaves[index], index, size, ath_buf_slice(&proof), found), ATH_OK);
    assert_memory_equal(found, root, SHA256_LEN);
    assert_int_equal(audit_tiles_leaf(tiles, index, NULL, found), ATH_OK);
    assert_memory_equal(found, leaves[index], SHA256_LEN);
    assert_int_equal(audit_tiles_root(tiles, size, NULL, found), ATH_OK);
    assert_memory_equal(found, root, SHA256_LEN);
    ath_buf_done(&proof);
    audit_tiles_free(tiles);
}

static void
test_every_record_of_small_trees_is_provable(void **state)
{
    uint8_t root[SHA256_LEN];

    (void)state;
    for (uint64_t size = 1; size <= 40; size++) {
        root_of(size, root);
        for (uint64_t index = 0; index < size; index++)
            check_inclusion(index, size, root);
    }
}

static void
test_records_of_large_trees_are_provable(void **state)
{
    static const uint64_t sizes[] = {255, 256, 257, 513, 65535, 65536, 65537, 65793, LEAVES};
    uint8_t root[SHA256_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t size = sizes[i];

        root_of(size, root);
        for (uint64_t index = 0; index < size; index += 1 + size / 23)
            check_inclusion(index, size, root);
        check_inclusion(size - 1, size, root);
        reads = 0;
        check_inclusion(size / 2, size, root);
        assert_true(reads <= 12);
    }
}

static void
check_consistency(uint64_t from, uint64_t to, const uint8_t *from_root, const uint8_t *to_root)
{
    struct audit_tiles *tiles = NULL;
    struct ath_buf proof = {0};

    assert_int_equal(audit_tiles_new(read_tile, &to, &tiles), ATH_OK);
    assert_int_equal(audit_tiles_consistency(tiles, from, to, NULL, &proof), ATH_OK);
    assert_int_equal(merkle_check_consistency(from, from_root, to, to_root, ath_buf_slice(&proof)),
                     ATH_OK);
    if (proof.len != 0) {
        proof.data[proof.len / 2] ^= 1;
        assert_int_equal(
            merkle_check_consistency(from, from_root, to, to_root, ath_buf_slice(&proof)),
            ATH_ERR_INVALID_EVIDENCE);
    }
    ath_buf_done(&proof);
    audit_tiles_free(tiles);
}

static void
test_every_pair_of_small_trees_is_consistent(void **state)
{
    uint8_t roots[41][SHA256_LEN];

    (void)state;
    for (uint64_t size = 0; size <= 40; size++)
        root_of(size, roots[size]);
    for (uint64_t to = 0; to <= 40; to++)
        for (uint64_t from = 0; from <= to; from++)
            check_consistency(from, to, roots[from], roots[to]);
}

static void
test_pairs_of_large_trees_are_consistent(void **state)
{
    static const uint64_t sizes[] = {1, 255, 256, 257, 512, 65535, 65536, 65537, 69000, LEAVES};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    uint8_t roots[COUNT][SHA256_LEN];

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        root_of(sizes[i], roots[i]);
    for (size_t to = 0; to < COUNT; to++)
        for (size_t from = 0; from <= to; from++)
            check_consistency(sizes[from], sizes[to], roots[from], roots[to]);
}

/* Of each proof the first, the second ... tile is missing: never a proof without it. */
static void
test_a_tile_that_is_missing_is_told(void **state)
{
    static const uint64_t pairs[][2] = {{3, 7},         {6, 8},          {255, 1000},
                                        {65537, 69000}, {65000, LEAVES}, {300, 66000}};

    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        uint64_t from = pairs[i][0], to = pairs[i][1];

        for (unsigned kind = 0; kind < 2; kind++)
            for (failing_read = 1;; failing_read++) {
                struct audit_tiles *tiles = NULL;
                struct ath_buf proof = {0};
                ath_err err;

                reads = 0;
                assert_int_equal(audit_tiles_new(read_tile, &to, &tiles), ATH_OK);
                err = kind == 0 ? audit_tiles_consistency(tiles, from, to, NULL, &proof)
                                : audit_tiles_inclusion(tiles, from, to, NULL, &proof);
                ath_buf_done(&proof);
                audit_tiles_free(tiles);
                assert_int_equal(err, reads < failing_read ? ATH_OK : ATH_ERR_NOT_FOUND);
                if (reads < failing_read)
                    break;
                assert_int_equal(reads, failing_read); /* and nothing is read behind it */
            }
    }
    failing_read = 0;
}

static void
test_what_cannot_be_proved_is_refused(void **state)
{
    uint64_t size = 10;
    struct audit_tiles *tiles = NULL;
    struct ath_buf proof = {0};
    struct why why;

    (void)state;
    assert_int_equal(audit_tiles_new(read_tile, &size, &tiles), ATH_OK);
    assert_int_equal(audit_tiles_inclusion(tiles, 10, 10, &why, &proof), ATH_ERR_NOT_FOUND);
    assert_string_equal(why.text, "record 10 is not among the first 10");
    assert_int_equal(audit_tiles_inclusion(tiles, 0, 0, &why, &proof), ATH_ERR_NOT_FOUND);
    assert_int_equal(audit_tiles_consistency(tiles, 11, 10, &why, &proof), ATH_ERR_NOT_FOUND);
    assert_int_equal(proof.len, 0);
    audit_tiles_free(tiles);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_root_of_each_size_is_that_of_rfc_6962),
        cmocka_unit_test(test_the_tiles_of_70000_are_those_of_the_specification),
        cmocka_unit_test(test_a_loaded_tree_is_the_one_that_was_kept),
        cmocka_unit_test(test_every_record_of_small_trees_is_provable),
        cmocka_unit_test(test_records_of_large_trees_are_provable),
        cmocka_unit_test(test_every_pair_of_small_trees_is_consistent),
        cmocka_unit_test(test_pairs_of_large_trees_are_consistent),
        cmocka_unit_test(test_a_tile_that_is_missing_is_told),
        cmocka_unit_test(test_what_cannot_be_proved_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
