#include "tests/support/support.h"

#include "tools/ath_cmd_run.h"

#define SOCKET "/run/user/1000/ath/agent.sock"
#define UNIT "ath-run-travel-x1.scope"
#define MANAGER "/user.slice/user-1000.slice/user@1000.service/app.slice/"

static void
test_variables_that_lead_to_the_socket_are_known(void **state)
{
    (void)state;
    assert_true(run_leads_to("ATH_AUTH_SOCK=" SOCKET, SOCKET));
    assert_true(run_leads_to("ATH_AUTH_SOCK=/elsewhere", SOCKET));
    assert_true(run_leads_to("ATH_APPLICATION_SOCK=", SOCKET));
    assert_true(run_leads_to("MINE=unix:" SOCKET ",x", SOCKET));
    assert_true(run_leads_to("=" SOCKET, SOCKET));
}

static void
test_other_variables_are_left(void **state)
{
    (void)state;
    assert_false(run_leads_to("ATH_COLOUR=yes", SOCKET));
    assert_false(run_leads_to("ATH_SOCK", SOCKET));
    assert_false(run_leads_to("SSH_AUTH_SOCK=/run/user/1000/keyring/ssh", SOCKET));
    assert_false(run_leads_to("XDG_RUNTIME_DIR=/run/user/1000", SOCKET));
    assert_false(run_leads_to("A=b", ""));
    assert_false(run_leads_to("", SOCKET));
    assert_false(run_leads_to("nonsense", SOCKET));
}

static void
test_scope_is_read_from_what_the_kernel_wrote(void **state)
{
    (void)state;
    assert_true(run_is_in_unit("0::" MANAGER UNIT "\n", UNIT));
    assert_true(run_is_in_unit("0::" MANAGER UNIT, UNIT));
    assert_true(run_is_in_unit("4:memory:/\n1:name=systemd:/\n0::" MANAGER UNIT "\n", UNIT));
}

static void
test_another_cgroup_is_not_the_scope(void **state)
{
    (void)state;
    assert_false(run_is_in_unit("", UNIT));
    assert_false(run_is_in_unit("0::/\n", UNIT));
    assert_false(run_is_in_unit("0::" MANAGER "vte-spawn-1.scope\n", UNIT));
    assert_false(run_is_in_unit("0::" MANAGER UNIT "/below\n", UNIT));
    assert_false(run_is_in_unit("0::" MANAGER "other-" UNIT "\n", UNIT));
    assert_false(run_is_in_unit("1:name=systemd:" MANAGER UNIT "\n", UNIT));
    assert_false(run_is_in_unit("0::/\n1:name=systemd:" MANAGER UNIT "\n", UNIT));
    assert_false(run_is_in_unit("0::" UNIT, UNIT)); /* no path */
}

static void
test_grant_is_found_by_its_whole_name(void **state)
{
    static const struct json_limits limits = {
        .max_len = 4096, .max_depth = 8, .max_members = 100, .numbers = JSON_INTEGERS};
    static const char text[] = "{\"grants\":[{\"name\":\"a\"},{},{\"name\":\"ab\",\"ttl\":5}]}";
    struct json *list = NULL;
    int64_t ttl = 0;

    (void)state;
    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &list), ATH_OK);
    assert_true(json_get_int(run_find_grant(list, "ab"), "ttl", &ttl));
    assert_int_equal(ttl, 5);
    assert_null(run_find_grant(list, "b"));
    assert_null(run_find_grant(NULL, "a"));
    json_free(list);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variables_that_lead_to_the_socket_are_known),
        cmocka_unit_test(test_other_variables_are_left),
        cmocka_unit_test(test_scope_is_read_from_what_the_kernel_wrote),
        cmocka_unit_test(test_another_cgroup_is_not_the_scope),
        cmocka_unit_test(test_grant_is_found_by_its_whole_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
