#include "tests/support/support.h"

#include "base/name.h"

static void
test_names_of_the_api_are_valid(void **state)
{
    char longest[65];

    (void)state;
    memset(longest, 'a', 64);
    longest[64] = '\0';
    assert_true(name_is_valid("a"));
    assert_true(name_is_valid("_"));
    assert_true(name_is_valid("@Alice.Smith_2-x"));
    assert_true(name_is_valid(longest));
}

static void
test_everything_else_is_no_name(void **state)
{
    static const char *const bad[] = {"",    ".",   "..",        ".a",  "-a", "a/b",
                                      "a b", "a\n", "a\xc3\xa4", "a:b", "a+b"};
    char too_long[66];
    size_t i;

    (void)state;
    memset(too_long, 'a', 65);
    too_long[65] = '\0';
    assert_false(name_is_valid(NULL));
    assert_false(name_is_valid(too_long));
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(name_is_valid(bad[i]));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_the_api_are_valid),
        cmocka_unit_test(test_everything_else_is_no_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
