/* What the kernel says of a caller, for records. */
#include "tests/support/support.h"

#include <sys/socket.h>
#include <unistd.h>

#include "athd/caller.h"
#include "base/fd.h"

static struct caller *
this_process(void)
{
    struct caller *caller = NULL;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(caller_of_socket(pair[0], &caller), ATH_OK);
    fd_close(&pair[0]);
    fd_close(&pair[1]);
    return caller;
}

static void
test_a_caller_is_named_by_pid_and_start_and_program(void **state)
{
    struct caller *a = this_process(), *b = this_process();

    (void)state;
    assert_int_equal(a->pid, getpid());
    assert_int_equal(a->uid, getuid());
    assert_non_null(strstr(a->exe, "unit_athd_caller"));
    assert_true(a->start_ticks > 0);
    assert_true(a->start_ticks == b->start_ticks);
    caller_free(a);
    caller_free(b);
}

static void
test_a_record_leaves_out_what_is_not_known(void **state)
{
    const struct caller caller = {.uid = 7, .pid = 8};
    struct json_maker record;
    struct json *tree = NULL;
    const struct json *put;

    (void)state;
    json_object_begin(&record);
    caller_put(&caller, &record, "caller");
    assert_int_equal(json_maker_end(&record, &tree), ATH_OK);
    put = json_get(tree, "caller");
    assert_int_equal(json_count(put), 2);
    json_free(tree);
}

static void
starts(const char *stat, uint64_t ticks)
{
    assert_true(caller_start_of_stat(ath_slice_of_string(stat)) == ticks);
}

/* proc(5): the name may hold parentheses, blanks and line ends. */
static void
test_start_is_the_22nd_field_whatever_the_program_is_called(void **state)
{
    (void)state;
    starts("7 (cat) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n", 98765);
    starts("7 (a) S 9 9 (b\n) c) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4 1 2\n", 4);
    starts("7 (cat) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765", 98765);
    starts("7 (cat) S 1 7 7", 0);
    starts("7 (cat)", 0);
    starts("", 0);
    starts("7 (c) S 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 99999999999999999999999 1 2", 0);
}

static void
unit_is(const char *cgroup, const char *unit)
{
    char found[CALLER_UNIT_SIZE];

    caller_unit_of_cgroup(ath_slice_of_string(cgroup), found);
    assert_string_equal(found, unit);
}

static void
test_unit_is_the_innermost_service_or_scope(void **state)
{
    (void)state;
    unit_is("0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service\n",
            "shop.service");
    unit_is("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope");
    unit_is("0::/system.slice/docker.service/workers/3\n", "docker.service");
    unit_is("0::/user.slice/user-1000.slice/user@1000.service/app.slice\n", "user@1000.service");
    unit_is("0::/\n", "");
    unit_is("0::/.service\n", "");
    unit_is("12:pids:/system.slice/a.service\n", "");
    unit_is("", "");
    unit_is("0::/a.service\nb.service", "a.service");
}

static void
test_unit_from_strangers_cannot_break_a_line_or_grow(void **state)
{
    char text[600] = "0::/", found[CALLER_UNIT_SIZE];

    (void)state;
    unit_is("0::/a\x1b[2J.service\n", "a?[2J.service");
    memset(text + 4, 'x', 500);
    strcpy(text + 504, ".service\n");
    caller_unit_of_cgroup(ath_slice_of_string(text), found);
    assert_int_equal(strlen(found), CALLER_UNIT_SIZE - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_caller_is_named_by_pid_and_start_and_program),
        cmocka_unit_test(test_a_record_leaves_out_what_is_not_known),
        cmocka_unit_test(test_start_is_the_22nd_field_whatever_the_program_is_called),
        cmocka_unit_test(test_unit_is_the_innermost_service_or_scope),
        cmocka_unit_test(test_unit_from_strangers_cannot_break_a_line_or_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
