#include "base/spawn.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/support/support.h"

/* What it writes, to its end; gives its exit status. */
static int
run(const char *script, bool own_group, char *ret_text, size_t size)
{
    const char *arguments[] = {"sh", "-c", script, NULL};
    char *environment[] = {(char[]){"PATH=/usr/bin:/bin"}, (char[]){"SEEN=yes"}, NULL};
    struct spawn_params params = {.program = "sh",
                                  .arguments = (char *const *)(uintptr_t)arguments,
                                  .environment = environment,
                                  .input = -1,
                                  .own_group = own_group};
    size_t len = 0;
    ssize_t n;
    pid_t pid;
    int ends[2], status;

    assert_int_equal(pipe(ends), 0);
    params.output = ends[1];
    assert_int_equal(spawn_program(&params, &pid), ATH_OK);
    fd_close(&ends[1]);
    while ((n = read(ends[0], ret_text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    assert_int_equal(n, 0);
    ret_text[len] = '\0';
    fd_close(&ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
test_it_has_the_environment_and_the_ends_it_is_given(void **state)
{
    char text[64];

    (void)state;
    assert_int_equal(run("cat; echo $SEEN; exit 3", false, text, sizeof(text)), 3);
    assert_string_equal(text, "yes\n");
}

static void
test_it_has_no_other_descriptor(void **state)
{
    int fd = dup(STDIN_FILENO); /* without O_CLOEXEC */
    char text[256];

    (void)state;
    assert_true(fd > STDERR_FILENO);
    assert_int_equal(run("exec ls /proc/self/fd", false, text, sizeof(text)), 0);
    assert_string_equal(text, "0\n1\n2\n3\n"); /* the last is that of the directory */
    fd_close(&fd);
}

static void
test_what_we_ignore_and_block_ends_it(void **state)
{
    sigset_t terminate, before;
    char text[64];

    (void)state;
    sigemptyset(&terminate);
    sigaddset(&terminate, SIGTERM);
    sigprocmask(SIG_BLOCK, &terminate, &before);
    signal(SIGINT, SIG_IGN);
    run("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t\\n'", false, text, sizeof(text));
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_string_equal(text, "SigBlk:0000000000000000SigIgn:0000000000000000");
}

static void
test_it_has_a_session_of_its_own_where_it_shall(void **state)
{
    char own[64], ours[64];

    (void)state;
    run("cut -d' ' -f5,6 /proc/$$/stat | grep -x \"$$ $$\" | wc -l", true, own, sizeof(own));
    run("cut -d' ' -f5,6 /proc/$$/stat | grep -x \"$$ $$\" | wc -l", false, ours, sizeof(ours));
    assert_string_equal(own, "1\n");
    assert_string_equal(ours, "0\n");
}

static void
test_what_cannot_be_run_ends_as_with_a_shell(void **state)
{
    char name[] = "/nonexistent/program";
    char *arguments[] = {name, NULL}, *environment[] = {NULL};
    const struct spawn_params params = {name, arguments, environment, -1, -1, false};
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(spawn_program(&params, &pid), ATH_OK);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 127);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_has_the_environment_and_the_ends_it_is_given),
        cmocka_unit_test(test_it_has_no_other_descriptor),
        cmocka_unit_test(test_what_we_ignore_and_block_ends_it),
        cmocka_unit_test(test_it_has_a_session_of_its_own_where_it_shall),
        cmocka_unit_test(test_what_cannot_be_run_ends_as_with_a_shell),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
