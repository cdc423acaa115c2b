/* Tiles on disk: in their places, whole, synced with the names that lead to them; partial ones go
 * when nobody reads them any more. */
#include "tests/support/support.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/audit_tile_store.h"

#define SYNCED_MAX 1024
#define TEN_MINUTES_S 600

static char dir[64];
static struct audit_tile_store store;
static uint8_t hashes[AUDIT_TILE_MAX_LEN];

/* ---- what was synced ---- */

static ino_t synced[SYNCED_MAX];
static size_t synced_count;

int __wrap_fsync(int fd);

int
__wrap_fsync(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    assert_true(synced_count < SYNCED_MAX);
    synced[synced_count++] = st.st_ino;
    return 0;
}

static const char *
path_of(const char *name)
{
    static char path[256];

    (void)snprintf(path, sizeof(path), "%s%s%s", dir, *name == '\0' ? "" : "/", name);
    return path;
}

static bool
is_synced(const char *name)
{
    struct stat st;

    assert_int_equal(stat(path_of(name), &st), 0);
    for (size_t i = 0; i < synced_count; i++)
        if (synced[i] == st.st_ino)
            return true;
    return false;
}

/* ---- the scene ---- */

static int
setup(void **state)
{
    (void)state;
    fake_clock_set(1000);
    (void)snprintf(dir, sizeof(dir), "/tmp/athd-unit-XXXXXX");
    assert_non_null(mkdtemp(dir));
    store = (struct audit_tile_store){.dir = dir};
    for (size_t i = 0; i < sizeof(hashes); i++)
        hashes[i] = (uint8_t)(i * 7);
    synced_count = 0;
    return 0;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
teardown(void **state)
{
    (void)state;
    fake_clock_set(0);
    return nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void
put(unsigned level, uint64_t index, unsigned width)
{
    const struct audit_tile tile = {level, index, width};

    assert_int_equal(audit_tile_store_put(&store, &tile, hashes), ATH_OK);
}

static bool
is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static void
test_tiles_are_in_their_places_and_hold_their_hashes(void **state)
{
    uint8_t content[AUDIT_TILE_MAX_LEN + 1];
    FILE *file;

    (void)state;
    put(0, 1234067, 256);
    put(1, 7, 3);
    assert_non_null(file = fopen(path_of("tile/0/x001/x234/067"), "rb"));
    assert_int_equal(fread(content, 1, sizeof(content), file), sizeof(hashes));
    assert_memory_equal(content, hashes, sizeof(hashes));
    (void)fclose(file);
    assert_non_null(file = fopen(path_of("tile/1/007.p/3"), "rb"));
    assert_int_equal(fread(content, 1, sizeof(content), file), 3 * SHA256_LEN);
    (void)fclose(file);
    assert_false(is_there(".tmp-tile"));
}

static void
test_a_sync_is_of_each_tile_and_all_names_that_lead_to_it(void **state)
{
    static const char *const names[] = {"tile/0/x001/x234/067",
                                        "tile/0/x001/x234",
                                        "tile/0/x001",
                                        "tile/0/x001/x234/068",
                                        "tile/0",
                                        "tile/1/007",
                                        "tile/1",
                                        "tile",
                                        ""};

    (void)state;
    put(0, 1234067, 256);
    put(0, 1234068, 256);
    put(1, 7, 256);
    assert_int_equal(synced_count, 0); /* full tiles wait for it */
    assert_int_equal(audit_tile_store_sync(&store), ATH_OK);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!is_synced(names[i]))
            fail_msg("%s", names[i]);
    synced_count = 0;
    assert_int_equal(audit_tile_store_sync(&store), ATH_OK);
    assert_int_equal(synced_count, 0); /* nothing is left */
}

/* One that is there and holds nothing could not be made again once the log has grown. */
static void
test_a_partial_tile_is_on_disk_before_it_has_its_name(void **state)
{
    (void)state;
    put(0, 0, 255);
    assert_int_equal(synced_count, 1);
    assert_true(is_synced("tile/0/000.p/255"));
}

static void
test_more_tiles_than_can_wait_are_synced_between(void **state)
{
    (void)state;
    for (uint64_t index = 0; index < AUDIT_TILES_UNSYNCED_MAX; index++)
        put(0, index, 256);
    assert_int_equal(synced_count, 0);
    put(1, 0, 256);
    assert_true(is_synced("tile/0/000"));
    assert_true(is_synced("tile/0/255"));
    assert_false(is_synced("tile/1/000"));
    assert_int_equal(audit_tile_store_sync(&store), ATH_OK);
    assert_true(is_synced("tile/1/000"));
}

static void
test_partial_tiles_go_ten_minutes_after_the_full_one_came(void **state)
{
    (void)state;
    put(0, 0, 10);
    put(0, 0, 20);
    put(0, 0, 256);
    fake_clock_move(TEN_MINUTES_S - 1);
    put(0, 1, 256);
    assert_true(is_there("tile/0/000.p/10"));
    assert_true(is_there("tile/0/000.p/20"));
    fake_clock_move(1);
    put(0, 2, 255);
    assert_true(is_there("tile/0/000.p/10")); /* only full tiles look */
    put(0, 2, 256);
    assert_false(is_there("tile/0/000.p"));
    assert_true(is_there("tile/0/000"));
    assert_true(is_there("tile/0/002.p/255"));
    fake_clock_move(TEN_MINUTES_S);
    put(0, 3, 256);
    assert_false(is_there("tile/0/002.p"));
}

/* What is too many to be remembered stays: it does no harm. */
static void
test_of_many_partial_tiles_the_first_are_remembered(void **state)
{
    char name[64];

    (void)state;
    for (uint64_t index = 0; index <= AUDIT_TILES_OLD_MAX; index++) {
        put(0, index, 1);
        put(0, index, 256);
        store.unsynced_count = 0;
    }
    assert_int_equal(store.old_count, AUDIT_TILES_OLD_MAX);
    fake_clock_move(TEN_MINUTES_S);
    put(1, 0, 256);
    for (unsigned index = 0; index <= AUDIT_TILES_OLD_MAX; index++) {
        (void)snprintf(name, sizeof(name), "tile/0/%03u.p", index);
        assert_int_equal(is_there(name), index == AUDIT_TILES_OLD_MAX);
    }
    assert_int_equal(store.old_count, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tiles_are_in_their_places_and_hold_their_hashes),
        TEST(test_a_sync_is_of_each_tile_and_all_names_that_lead_to_it),
        TEST(test_a_partial_tile_is_on_disk_before_it_has_its_name),
        TEST(test_more_tiles_than_can_wait_are_synced_between),
        TEST(test_partial_tiles_go_ten_minutes_after_the_full_one_came),
        TEST(test_of_many_partial_tiles_the_first_are_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
