#include "fake_athd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "client/connection.h"

static void
assert_cause(const char *path, const char *cause, const char *words)
{
    struct connection connection;
    struct connection_failure failure = {0};

    connection_init(&connection);
    assert_int_equal(connection_open(&connection, path, &failure), ATH_ERR_UNREACHABLE);
    assert_string_equal(failure.cause, cause);
    assert_non_null(strstr(failure.text, words));
    assert_int_equal(connection.fd, -1);
}

static void
test_no_socket_is_not_running(void **state)
{
    (void)state;
    assert_cause("/tmp/ath-unit-nothing/agent.sock", "not_running", "athd is not running");
    assert_cause("/tmp/ath-unit-nothing/grants/travel/agent.sock", "not_running",
                 "the grant has ended");
    assert_cause("/tmp/ath-unit-nothing/grants/agent.sock", "not_running", "start athd");
}

static void
test_a_socket_without_listener_is_stale(void **state)
{
    struct fake_athd athd;

    (void)state;
    fake_athd_start(&athd, NULL);
    assert_cause(athd.path, "stale", "left its socket behind");
    fake_athd_stop(&athd);
}

static void
test_a_file_is_no_socket(void **state)
{
    char path[] = "/tmp/ath-unit-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_cause(path, "invalid", "is no socket");
    close(fd);
    unlink(path);
}

static void
test_a_path_too_long_for_a_socket_is_said_so(void **state)
{
    char path[200];

    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_cause(path, "invalid", "107 bytes");
    assert_cause("", "invalid", "107 bytes");
}

/* Root may use any socket, so a child that is not root looks. */
static void
test_a_forbidden_socket_is_not_taken_for_a_missing_athd(void **state)
{
    struct fake_athd athd;
    int status = 0;
    pid_t child;

    (void)state;
    fake_athd_start(&athd, NULL);
    assert_int_equal(chmod(athd.path, 0), 0);
    assert_int_equal(chmod(athd.dir, geteuid() == 0 ? 0755 : 0700), 0);
    if ((child = fork()) == 0) {
        struct connection connection;
        struct connection_failure failure = {"", ""};

        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(2);
        connection_init(&connection);
        (void)!connection_open(&connection, athd.path, &failure);
        _exit(strcmp(failure.cause, "forbidden") == 0 &&
                      strstr(failure.text, "is not running") == NULL
                  ? 0
                  : 1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    fake_athd_stop(&athd);
}

static void
assert_default(const char *expected)
{
    char *path = connection_default_path();

    assert_string_equal(path, expected);
    free(path);
}

static void
test_the_default_path_is_looked_for_in_order(void **state)
{
    char dir[] = "/tmp/ath-unit-XXXXXX", expected[100];

    (void)state;
    assert_non_null(mkdtemp(dir));
    unsetenv("ATH_AUTH_SOCK");
    unsetenv("XDG_RUNTIME_DIR");
    assert_default("/run/ath/agent.sock");
    setenv("XDG_RUNTIME_DIR", dir, 1);
    snprintf(expected, sizeof(expected), "%s/ath/agent.sock", dir);
    if (access("/run/ath/agent.sock", F_OK) != 0)
        assert_default(expected);
    setenv("ATH_AUTH_SOCK", "/somewhere/else", 1);
    assert_default("/somewhere/else");
    setenv("ATH_AUTH_SOCK", "", 1); /* as good as not set */
    if (access("/run/ath/agent.sock", F_OK) != 0)
        assert_default(expected);
    rmdir(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_socket_is_not_running),
        cmocka_unit_test(test_a_socket_without_listener_is_stale),
        cmocka_unit_test(test_a_file_is_no_socket),
        cmocka_unit_test(test_a_path_too_long_for_a_socket_is_said_so),
        cmocka_unit_test(test_a_forbidden_socket_is_not_taken_for_a_missing_athd),
        cmocka_unit_test(test_the_default_path_is_looked_for_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
