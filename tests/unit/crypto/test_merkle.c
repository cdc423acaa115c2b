#include "crypto/merkle.h"

#include "tests/unit/crypto/hex.h"

/* The eight entries and roots that implementations of RFC 6962 test themselves with. */
#define ENTRIES 8
static const char *const entries_hex[ENTRIES] = {
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
};
static const char *const roots_hex[ENTRIES + 1] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static uint8_t storage[ENTRIES][16];
static struct ath_slice entries[ENTRIES];

static int
set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < ENTRIES; i++)
        entries[i] = ath_slice_of(storage[i], hex_decode(entries_hex[i], storage[i]));
    return 0;
}

static void
test_roots_are_the_published_ones(void **state)
{
    uint8_t root[SHA256_LEN];

    (void)state;
    for (size_t count = 0; count <= ENTRIES; count++) {
        assert_int_equal(merkle_root(entries, count, root), ATH_OK);
        assert_hex(ath_slice_of(root, sizeof(root)), roots_hex[count]);
    }
}

static void
test_a_path_is_the_published_one(void **state)
{
    struct ath_buf path = {0};

    (void)state;
    assert_int_equal(merkle_path(entries, 8, 5, &path), ATH_OK);
    assert_hex(ath_buf_slice(&path),
               "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
               "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7");
    ath_buf_clear(&path);
    assert_int_equal(merkle_path(entries, 3, 2, &path), ATH_OK);
    assert_hex(ath_buf_slice(&path), roots_hex[2]);
    ath_buf_clear(&path);
    assert_int_equal(merkle_path(entries, 1, 0, &path), ATH_OK);
    assert_int_equal(path.len, 0);
    assert_int_equal(merkle_path(entries, 8, 8, &path), ATH_ERR_NOT_FOUND);
    ath_buf_done(&path);
}

/* Every leaf of every tree of up to eight leaves; and no path fits another place or size. */
static void
test_a_path_leads_to_the_root_only_from_its_own_place(void **state)
{
    (void)state;
    for (size_t size = 1; size <= ENTRIES; size++)
        for (size_t index = 0; index < size; index++) {
            struct ath_buf path = {0};
            uint8_t root[SHA256_LEN], other[SHA256_LEN];

            assert_int_equal(merkle_path(entries, size, index, &path), ATH_OK);
            assert_int_equal(
                merkle_root_from_path(entries[index], index, size, ath_buf_slice(&path), root),
                ATH_OK);
            assert_hex(ath_slice_of(root, sizeof(root)), roots_hex[size]);
            for (size_t wrong = 0; wrong < size; wrong++)
                if (wrong != index && merkle_root_from_path(entries[index], wrong, size,
                                                            ath_buf_slice(&path), other) == ATH_OK)
                    assert_memory_not_equal(other, root, SHA256_LEN);
            ath_buf_done(&path);
        }
}

static void
test_a_path_of_the_wrong_length_is_refused(void **state)
{
    struct ath_buf path = {0};
    uint8_t root[SHA256_LEN];

    (void)state;
    assert_int_equal(merkle_path(entries, 8, 5, &path), ATH_OK);
    assert_int_equal(merkle_root_from_path(entries[5], 5, 8, ath_slice_of(path.data, 64), root),
                     ATH_ERR_PARSE);
    assert_int_equal(merkle_root_from_path(entries[5], 5, 8, ath_slice_of(path.data, 95), root),
                     ATH_ERR_PARSE);
    assert_int_equal(merkle_root_from_path(entries[5], 5, 4, ath_buf_slice(&path), root),
                     ATH_ERR_PARSE);
    assert_int_equal(merkle_root_from_path(entries[5], 0, 0, (struct ath_slice){0}, root),
                     ATH_ERR_PARSE);
    ath_buf_put(&path, root, sizeof(root));
    assert_int_equal(merkle_root_from_path(entries[5], 5, 8, ath_buf_slice(&path), root),
                     ATH_ERR_PARSE);
    assert_int_equal(merkle_root_from_path(entries[0], 0, 1, (struct ath_slice){0}, root), ATH_OK);
    assert_hex(ath_slice_of(root, sizeof(root)), roots_hex[1]);
    ath_buf_done(&path);
}

static void
test_a_leaf_is_no_node(void **state)
{
    uint8_t leaves[2 * SHA256_LEN], leaf[SHA256_LEN], root[SHA256_LEN];

    (void)state;
    hex_decode(roots_hex[2], root);
    assert_int_equal(merkle_leaf(entries[0], leaves), ATH_OK);
    assert_int_equal(merkle_leaf(entries[1], leaves + SHA256_LEN), ATH_OK);
    assert_int_equal(merkle_leaf(ath_slice_of(leaves, sizeof(leaves)), leaf), ATH_OK);
    assert_memory_not_equal(leaf, root, SHA256_LEN);
}

/* As a naive reader of RFC 6962 2.1 sees it: a tree that grows has merkle_root's root at each size. */
#define MANY 130
static uint8_t many_storage[MANY][2];
static struct ath_slice many[MANY];

static void
make_many(void)
{
    for (size_t i = 0; i < MANY; i++) {
        many_storage[i][0] = (uint8_t)i;
        many_storage[i][1] = (uint8_t)(i >> 8);
        many[i] = ath_slice_of(many_storage[i], 2);
    }
}

static void
test_a_growing_tree_has_the_root_of_each_size(void **state)
{
    struct merkle_stack stack = {0};
    uint8_t leaf[SHA256_LEN], root[SHA256_LEN], naive[SHA256_LEN];

    (void)state;
    make_many();
    for (size_t size = 0;; size++) {
        assert_int_equal(merkle_stack_root(&stack, root), ATH_OK);
        assert_int_equal(merkle_root(many, size, naive), ATH_OK);
        assert_memory_equal(root, naive, SHA256_LEN);
        assert_int_equal(stack.size, size);
        if (size == MANY)
            return;
        assert_int_equal(merkle_leaf(many[size], leaf), ATH_OK);
        assert_int_equal(merkle_stack_push(&stack, leaf), ATH_OK);
    }
}

/* Published with the entries above: the proofs of 1 to 8, 6 to 8 and 2 to 5. */
static void
test_published_consistency_proofs_hold(void **state)
{
    static const struct {
        uint64_t from, to;
        const char *proof;
    } cases[] = {
        {1, 1, ""},
        {1, 8,
         "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
         "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
         "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"},
        {6, 8,
         "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
         "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
         "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
        {2, 5,
         "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
         "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t from[SHA256_LEN], to[SHA256_LEN], proof[4 * SHA256_LEN];
        size_t len = hex_decode(cases[i].proof, proof);

        hex_decode(roots_hex[cases[i].from], from);
        hex_decode(roots_hex[cases[i].to], to);
        assert_int_equal(merkle_check_consistency(cases[i].from, from, cases[i].to, to,
                                                  ath_slice_of(proof, len)),
                         ATH_OK);
        for (size_t byte = 0; byte < len; byte++) {
            proof[byte] ^= 0x10;
            assert_int_equal(merkle_check_consistency(cases[i].from, from, cases[i].to, to,
                                                      ath_slice_of(proof, len)),
                             ATH_ERR_INVALID_EVIDENCE);
            proof[byte] ^= 0x10;
        }
        if (len != 0)
            assert_int_equal(merkle_check_consistency(cases[i].from, from, cases[i].to, to,
                                                      ath_slice_of(proof, len - SHA256_LEN)),
                             ATH_ERR_PARSE);
    }
}

/* In memory of exactly its length: a sanitizer sees whoever reads on. */
static void
test_a_proof_that_is_no_whole_number_of_hashes_is_refused(void **state)
{
    uint8_t root[SHA256_LEN] = {0};

    (void)state;
    for (uint64_t from = 2; from < 8; from++)
        for (size_t len = 0; len <= 4 * SHA256_LEN + 1; len++) {
            uint8_t *exact = len == 0 ? NULL : calloc(1, len);

            if (len % SHA256_LEN != 0 || len == 0) {
                assert_int_equal(
                    merkle_check_consistency(from, root, 8, root, ath_slice_of(exact, len)),
                    ATH_ERR_PARSE);
                assert_int_equal(
                    merkle_root_from_leaf(root, from, 8, ath_slice_of(exact, len), root),
                    ATH_ERR_PARSE);
            }
            free(exact);
        }
}

static void
test_a_proof_longer_than_any_tree_is_refused(void **state)
{
    static uint8_t proof[(MERKLE_MAX_PATH + 1) * SHA256_LEN];
    uint8_t root[SHA256_LEN] = {0};
    const struct ath_slice too_long = ath_slice_of(proof, sizeof(proof));

    (void)state;
    assert_int_equal(merkle_root_from_leaf(root, 1, UINT64_MAX, too_long, root), ATH_ERR_PARSE);
    assert_int_equal(merkle_check_consistency(3, root, UINT64_MAX, root, too_long), ATH_ERR_PARSE);
}

static void
test_consistency_of_sizes_that_cannot_be_is_refused(void **state)
{
    uint8_t one[SHA256_LEN], two[SHA256_LEN], none[SHA256_LEN];
    const struct ath_slice nothing = {0};

    (void)state;
    hex_decode(roots_hex[0], none);
    hex_decode(roots_hex[1], one);
    hex_decode(roots_hex[2], two);
    assert_int_equal(merkle_check_consistency(0, none, 2, two, nothing), ATH_OK);
    assert_int_equal(merkle_check_consistency(0, one, 2, two, nothing), ATH_ERR_INVALID_EVIDENCE);
    assert_int_equal(merkle_check_consistency(2, two, 2, two, nothing), ATH_OK);
    assert_int_equal(merkle_check_consistency(2, one, 2, two, nothing), ATH_ERR_INVALID_EVIDENCE);
    assert_int_equal(merkle_check_consistency(2, two, 1, one, nothing), ATH_ERR_PARSE);
    assert_int_equal(merkle_check_consistency(1, one, 2, two, nothing), ATH_ERR_PARSE);
    assert_int_equal(merkle_check_consistency(2, two, 2, two, ath_slice_of(one, SHA256_LEN)),
                     ATH_ERR_PARSE);
    assert_int_equal(merkle_check_consistency(0, none, 2, two, ath_slice_of(one, SHA256_LEN)),
                     ATH_ERR_PARSE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roots_are_the_published_ones),
        cmocka_unit_test(test_a_path_is_the_published_one),
        cmocka_unit_test(test_a_path_leads_to_the_root_only_from_its_own_place),
        cmocka_unit_test(test_a_path_of_the_wrong_length_is_refused),
        cmocka_unit_test(test_a_leaf_is_no_node),
        cmocka_unit_test(test_a_growing_tree_has_the_root_of_each_size),
        cmocka_unit_test(test_published_consistency_proofs_hold),
        cmocka_unit_test(test_a_proof_that_is_no_whole_number_of_hashes_is_refused),
        cmocka_unit_test(test_a_proof_longer_than_any_tree_is_refused),
        cmocka_unit_test(test_consistency_of_sizes_that_cannot_be_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
