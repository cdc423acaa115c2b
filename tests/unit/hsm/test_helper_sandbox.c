#include "hsm/helper_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "skip.h"
#include "support.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER true
#else
#define UNDER_SANITIZER false
#endif

static int prepared[2]; /* a socketpair */

enum { ALLOWED, REFUSED, OTHERWISE };

/* What becomes of an attempt inside the sandbox: its exit status, or -signal. */
static int
attempt(const char *uri, int (*body)(void))
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        helper_sandbox_enter(uri);
        _exit(body());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int
verdict(bool worked)
{
    if (worked)
        return ALLOWED;
    return errno == EPERM ? REFUSED : OTHERWISE;
}

static int
dial(void)
{
    return verdict(socket(AF_INET, SOCK_STREAM, 0) >= 0);
}

static int
open_file(void)
{
    return verdict(open("/dev/null", O_RDONLY) >= 0);
}

static int
split(void)
{
    return verdict(fork() >= 0);
}

static int
map_code(void)
{
    return verdict(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0) != MAP_FAILED);
}

static int
map_memory(void)
{
    return verdict(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                   MAP_FAILED);
}

static int
start_program(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return OTHERWISE;
}

static void *
say_one(void *arg)
{
    int len = 0;

    return ioctl(*(const int *)arg, SIOCOUTQ, &len) == 0 ? arg : NULL;
}

/* What a question for a PIN takes. */
static int
start_thread(void)
{
    int pair[2];
    void *said = NULL;
    pthread_t thread;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0)
        return OTHERWISE; /* new ones are none of its business */
    if (pthread_create(&thread, NULL, say_one, prepared) != 0 || pthread_join(thread, &said) != 0)
        return OTHERWISE;
    return verdict(said != NULL);
}

static int gate[2];

static void *
start_program_when_told(void *arg)
{
    char byte;

    (void)arg;
    if (read(gate[0], &byte, 1) == 1)
        (void)start_program();
    return NULL;
}

static int
trace(void)
{
    return verdict(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
}

static void
test_helper_of_a_tpm_may_only_compute_and_talk(void **state)
{
    static const char *const uris[] = {"swtpm:", "tpm:device=/dev/tpmrm0"};

    (void)state;
    if (UNDER_SANITIZER)
        skip_because("sanitizers need what the sandbox forbids");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, prepared), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(attempt(uris[i], dial), REFUSED);
        assert_int_equal(attempt(uris[i], open_file), REFUSED);
        assert_int_equal(attempt(uris[i], split), REFUSED);
        assert_int_equal(attempt(uris[i], map_code), REFUSED);
        assert_int_equal(attempt(uris[i], map_memory), ALLOWED);
        assert_int_equal(attempt(uris[i], start_thread), ALLOWED);
    }
}

static void
test_helper_of_foreign_code_may_dial_and_open(void **state)
{
    (void)state;
    if (UNDER_SANITIZER)
        skip_because("sanitizers need what the sandbox forbids");
    assert_int_equal(attempt("tpm:tcti=swtpm", dial), ALLOWED);
    assert_int_equal(attempt("pkcs11:", open_file), ALLOWED);
}

static void
test_starting_programs_and_tracing_is_deadly_in_every_helper(void **state)
{
    static const char *const uris[] = {"swtpm:", "tpm:device=/dev/tpm0", "tpm:tcti=x", "pkcs11:"};

    (void)state;
    if (UNDER_SANITIZER)
        skip_because("sanitizers need what the sandbox forbids");
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        assert_int_equal(attempt(uris[i], start_program), -SIGSYS);
        assert_int_equal(attempt(uris[i], trace), -SIGSYS);
    }
}

/* Modules start threads before the sandbox is there. */
static void
test_threads_that_were_there_before_are_in_it_too(void **state)
{
    static const char *const uris[] = {"tpm:tcti=x", "pkcs11:"};

    (void)state;
    if (UNDER_SANITIZER)
        skip_because("sanitizers need what the sandbox forbids");
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        pthread_t thread;
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            if (pipe(gate) != 0 ||
                pthread_create(&thread, NULL, start_program_when_told, NULL) != 0)
                _exit(OTHERWISE);
            helper_sandbox_enter(uris[i]);
            (void)!write(gate[1], "", 1);
            (void)pthread_join(thread, NULL);
            _exit(OTHERWISE);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_helper_of_a_tpm_may_only_compute_and_talk),
        cmocka_unit_test(test_helper_of_foreign_code_may_dial_and_open),
        cmocka_unit_test(test_starting_programs_and_tracing_is_deadly_in_every_helper),
        cmocka_unit_test(test_threads_that_were_there_before_are_in_it_too),
    };

    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
