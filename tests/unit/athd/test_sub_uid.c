#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "athd/sub_uid.h"

static char path[64];
static char user[SUB_UID_LENDER_SIZE];

static void
write_file(const char *text)
{
    FILE *file;
    int fd;

    strcpy(path, "/tmp/ath-test-subuid-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_non_null(file = fdopen(fd, "w"));
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static bool
is_lent(uid_t uid)
{
    user[0] = '\0';
    return sub_uid_is_lent(path, uid, user);
}

static void
test_each_line_lends_from_its_first_to_its_last(void **state)
{
    (void)state;
    write_file("alice:100000:65536\n# bob:1:9\nbob:165536:2\n");
    assert_false(is_lent(99999));
    assert_true(is_lent(100000));
    assert_string_equal(user, "alice");
    assert_true(is_lent(165535));
    assert_string_equal(user, "alice");
    assert_true(is_lent(165537));
    assert_string_equal(user, "bob");
    assert_false(is_lent(165538));
    assert_false(is_lent(5));
    unlink(path);
}

static void
test_what_is_no_such_line_lends_nothing(void **state)
{
    (void)state;
    write_file("alice:100000\n:1:9\nalice:x:9\nalice:1:9:9\n\nalice 1 9\nlast:7:1");
    assert_false(is_lent(1));
    assert_false(is_lent(100000));
    assert_true(is_lent(7));
    unlink(path);
}

static void
test_a_file_that_is_not_there_lends_nothing(void **state)
{
    (void)state;
    strcpy(path, "/nonexistent/subuid");
    assert_false(is_lent(100000));
}

static void
test_a_name_is_made_harmless(void **state)
{
    (void)state;
    write_file("a\033[2Jb:7:1\n");
    assert_true(is_lent(7));
    assert_null(strchr(user, '\033'));
    unlink(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_line_lends_from_its_first_to_its_last),
        cmocka_unit_test(test_what_is_no_such_line_lends_nothing),
        cmocka_unit_test(test_a_file_that_is_not_there_lends_nothing),
        cmocka_unit_test(test_a_name_is_made_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
