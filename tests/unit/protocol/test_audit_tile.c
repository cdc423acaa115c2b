#include "protocol/audit_tile.h"

#include "tests/support/support.h"

static void
test_paths_are_those_of_tlog_tiles(void **state)
{
    static const struct {
        struct audit_tile tile;
        const char *path;
    } cases[] = {
        {{0, 0, 256}, "tile/0/000"},
        {{0, 273, 112}, "tile/0/273.p/112"},
        {{1, 999, 256}, "tile/1/999"},
        {{2, 1000, 1}, "tile/2/x001/000.p/1"},
        {{0, 1234067, 256}, "tile/0/x001/x234/067"},
        {{7, 123456789012345, 255}, "tile/7/x123/x456/x789/x012/345.p/255"},
        {{0, UINT64_MAX, 255}, "tile/0/x018/x446/x744/x073/x709/x551/615.p/255"},
    };
    char path[AUDIT_TILE_MAX_PATH];
    struct audit_tile tile;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        audit_tile_path(&cases[i].tile, path);
        assert_string_equal(path, cases[i].path);
        assert_int_equal(audit_tile_parse(ath_slice_of_string(path), &tile), ATH_OK);
        assert_int_equal(tile.level, cases[i].tile.level);
        assert_true(tile.index == cases[i].tile.index);
        assert_int_equal(tile.width, cases[i].tile.width);
    }
    audit_tile_entries_path(&cases[4].tile, path);
    assert_string_equal(path, "tile/entries/x001/x234/067");
}

static void
test_other_paths_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/000/",
        "tile/0/000/000",
        "tile/0/x000/000",
        "tile/0/x01/000",
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0/X001/000",
        "tile/00/000",
        "tile/8/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/entries/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/00",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/1000",
        "tile/0/000.p/1/",
        "tile/0/000.p/1 ",
        "/tile/0/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x001/x000/x000/x000/x000/x000/x000/000",
    };
    struct audit_tile tile;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (audit_tile_parse(ath_slice_of_string(wrong[i]), &tile) != ATH_ERR_PARSE)
            fail_msg("\"%s\" was accepted", wrong[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_are_those_of_tlog_tiles),
        cmocka_unit_test(test_other_paths_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
