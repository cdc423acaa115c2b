/* Each test runs in a child of its own: what it gives up it does not get back. */
#include "tests/support/support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "athd/sandbox.h"

/* Status of a child that enters the sandbox for this hsm and then runs body. */
static int
run_inside(const char *uri, int (*body)(void))
{
    struct config config = {0};
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        if (config_add_hsm(&config, NULL, uri, NULL) != ATH_OK ||
            sandbox_enter(&config, NULL) != ATH_OK)
            _exit(100);
        config_done(&config);
        _exit(body());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int
open_inet(void)
{
    static const int families[] = {AF_INET, AF_INET6};
    size_t i;

    for (i = 0; i < 2; i++)
        if (socket(families[i], SOCK_STREAM, 0) >= 0 || errno != EPERM)
            return 1;
    return 0;
}

static int
open_inet_works(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static void
test_network_sockets_are_refused_unless_an_hsm_may_need_them(void **state)
{
    (void)state;
    assert_int_equal(run_inside("swtpm:", open_inet), 0);
    assert_int_equal(run_inside("tpm:device=/dev/tpmrm0", open_inet), 0);
    assert_int_equal(run_inside("tpm:tcti=swtpm:host=localhost,port=2321", open_inet_works), 0);
}

static void
test_uris_that_may_need_the_network(void **state)
{
    (void)state;
    assert_false(sandbox_uri_needs_network("swtpm:"));
    assert_false(sandbox_uri_needs_network("tpm:"));
    assert_false(sandbox_uri_needs_network("tpm:device=/dev/tpm0"));
    assert_false(sandbox_uri_needs_network("tpm:tcti=device:/dev/tpm0"));
    assert_true(sandbox_uri_needs_network("tpm:tcti=swtpm"));
    assert_true(sandbox_uri_needs_network("tpm:tcti=mssim:host=h"));
    assert_true(sandbox_uri_needs_network("pkcs11:token=x"));
}

static int
try_the_forbidden(void)
{
    char byte;

    if (mount("none", "/mnt", "tmpfs", 0, NULL) == 0 || errno != EPERM)
        return 1;
    if (unshare(CLONE_NEWUSER) == 0 || errno != EPERM)
        return 2;
    if (syscall(SYS_keyctl, 0, 0) >= 0 || errno != EPERM)
        return 3;
    if (syscall(SYS_process_vm_readv, getppid(), &byte, 1UL, &byte, 1UL, 0UL) >= 0 ||
        errno != EPERM)
        return 4;
    if (syscall(SYS_bpf, 0, NULL, 0) >= 0 || errno != EPERM)
        return 5;
    return 0;
}

static void
test_other_processes_mounts_and_key_rings_are_out_of_reach(void **state)
{
    (void)state;
    assert_int_equal(run_inside("swtpm:", try_the_forbidden), 0);
}

static void *
do_nothing(void *ctx)
{
    return ctx;
}

/* What athd, its helpers and prompters live on. */
static int
do_the_needed(void)
{
    pthread_t thread;
    int pair[2], status = -1;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || socket(AF_UNIX, SOCK_STREAM, 0) < 0)
        return 1;
    if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 2;
    if ((pid = fork()) == 0) {
        execl("/bin/true", "true", NULL);
        _exit(9);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        return 3;
    return 0;
}

static void
test_helpers_and_prompters_can_be_run(void **state)
{
    (void)state;
    assert_int_equal(run_inside("swtpm:", do_the_needed), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network_sockets_are_refused_unless_an_hsm_may_need_them),
        cmocka_unit_test(test_uris_that_may_need_the_network),
        cmocka_unit_test(test_other_processes_mounts_and_key_rings_are_out_of_reach),
        cmocka_unit_test(test_helpers_and_prompters_can_be_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
