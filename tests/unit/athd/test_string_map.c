#include "athd/string_map.h"

#include <stdio.h>

#include "tests/support/support.h"

#define KEYS 500

struct entry {
    char key[16];
    bool is_in;
};

static struct entry entries[KEYS];

static void
fill(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        (void)snprintf(entries[i].key, sizeof(entries[i].key), "key-%zu", i * 7919);
        entries[i].is_in = false;
    }
}

static void
assert_all(const struct string_map *map)
{
    size_t count = 0;

    for (size_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(string_map_get(map, entries[i].key),
                         entries[i].is_in ? &entries[i] : NULL);
        count += entries[i].is_in;
    }
    assert_int_equal(map->count, count);
}

static void
test_each_entry_is_found_whatever_is_added_and_removed_around_it(void **state)
{
    struct string_map map = {0};
    unsigned random = 12345;

    (void)state;
    fill();
    for (size_t step = 0; step < 5000; step++) {
        struct entry *entry;

        random = random * 1103515245u + 12345u;
        entry = &entries[(random >> 8) % KEYS];
        if (entry->is_in)
            assert_ptr_equal(string_map_remove(&map, entry->key), entry);
        else
            assert_int_equal(string_map_put(&map, entry->key, entry), ATH_OK);
        entry->is_in = !entry->is_in;
        if (step % 50 == 0)
            assert_all(&map);
    }
    assert_all(&map);
    string_map_done(&map);
}

static void
test_walk_meets_each_once_and_sorted_is_in_order(void **state)
{
    struct string_map map = {0};
    size_t cursor = 0, met = 0;
    struct entry *entry;
    void **sorted;

    (void)state;
    fill();
    assert_null(string_map_sorted(&map));
    assert_null(string_map_get(&map, "x"));
    assert_null(string_map_remove(&map, "x"));
    for (size_t i = 0; i < KEYS; i++)
        assert_int_equal(string_map_put(&map, entries[i].key, &entries[i]), ATH_OK);
    while ((entry = string_map_next(&map, &cursor)) != NULL) {
        assert_false(entry->is_in);
        entry->is_in = true;
        met++;
    }
    assert_int_equal(met, KEYS);
    sorted = string_map_sorted(&map);
    for (size_t i = 1; i < KEYS; i++)
        assert_true(strcmp(((struct entry *)sorted[i - 1])->key, ((struct entry *)sorted[i])->key) <
                    0);
    free(sorted);
    string_map_done(&map);
}

static void
test_without_memory_the_map_stays_as_it_was(void **state)
{
    struct string_map map = {0};

    (void)state;
    fill();
    for (size_t i = 0; i < KEYS; i++) {
        fail_allocation(1);
        if (string_map_put(&map, entries[i].key, &entries[i]) != ATH_OK) {
            assert_true(fail_allocation_happened());
            assert_null(string_map_get(&map, entries[i].key));
            assert_int_equal(string_map_put(&map, entries[i].key, &entries[i]), ATH_OK);
        }
        fail_allocation(0);
        entries[i].is_in = true;
    }
    assert_all(&map);
    string_map_done(&map);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_entry_is_found_whatever_is_added_and_removed_around_it),
        cmocka_unit_test(test_walk_meets_each_once_and_sorted_is_in_order),
        cmocka_unit_test(test_without_memory_the_map_stays_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
