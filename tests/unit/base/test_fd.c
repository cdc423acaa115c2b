#include "tests/support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

static unsigned interrupted; /* so many calls of poll(2) still end with EINTR */

int __real_poll(struct pollfd *items, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *items, nfds_t count, int timeout_ms);

int
__wrap_poll(struct pollfd *items, nfds_t count, int timeout_ms)
{
    if (interrupted == 0)
        return __real_poll(items, count, timeout_ms);
    interrupted--;
    errno = EINTR;
    return -1;
}

static void
test_what_is_written_is_read_exactly(void **state)
{
    int ends[2];
    char text[4];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fd_write_all(ends[1], ath_slice_of("abcdef", 6)), ATH_OK);
    assert_int_equal(fd_read_exact(ends[0], text, 4), ATH_OK);
    assert_memory_equal(text, "abcd", 4);
    fd_close(&ends[1]);
    assert_int_equal(ends[1], -1);
    assert_int_equal(fd_read_exact(ends[0], text, 4), ATH_ERR_IO);
    assert_int_equal(fd_read_exact(ends[0], text, 4), ATH_ERR_NOT_FOUND);
    fd_close(&ends[0]);
    fd_close(&ends[0]);
}

static void
test_a_closed_peer_is_an_error_and_no_signal(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    fd_close(&ends[0]);
    assert_int_equal(fd_write_all(ends[1], ath_slice_of("x", 1)), ATH_ERR_IO);
    fd_close(&ends[1]);
    assert_int_equal(fd_write_all(-1, ath_slice_of("x", 1)), ATH_ERR_IO);
    assert_int_equal(fd_write_all(-1, ath_slice_of(NULL, 0)), ATH_OK);
}

static void
test_nonblocking_is_set(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fd_set_nonblocking(ends[0]), ATH_OK);
    assert_true((fcntl(ends[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(fd_set_nonblocking(-1), ATH_ERR_IO);
    fd_close(&ends[0]);
    fd_close(&ends[1]);
}

/* The kernel ends poll(2) so although it does not wait, when a child ends in that moment, say. */
static void
test_a_signal_changes_nothing_of_what_is_polled(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    for (unsigned times = 0; times < 3; times++) {
        interrupted = times;
        assert_int_equal(fd_poll_now(ends[0], POLLIN), 0);
        assert_int_equal(interrupted, 0);
    }
    assert_int_equal(fd_write_all(ends[1], ath_slice_of("x", 1)), ATH_OK);
    interrupted = 2;
    assert_int_equal(fd_poll_now(ends[0], POLLIN), POLLIN);
    assert_int_equal(fd_poll_now(ends[0], 0), 0);
    fd_close(&ends[1]);
    interrupted = 2;
    assert_int_equal(fd_poll_now(ends[0], 0), POLLHUP);
    fd_close(&ends[0]);
    assert_int_equal(fd_poll_now(9999, POLLIN), POLLNVAL);
}

static void
test_a_child_keeps_only_the_descriptors_below(void **state)
{
    int low = open("/dev/null", O_RDONLY), high = fcntl(low, F_DUPFD, 200), status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        fd_close_from(low + 1);
        _exit(fcntl(low, F_GETFD) >= 0 && fcntl(high, F_GETFD) < 0 ? 7 : 1);
    }
    assert_true(low >= 0 && high >= 200 && child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    fd_close(&low);
    fd_close(&high);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read_exactly),
        cmocka_unit_test(test_a_closed_peer_is_an_error_and_no_signal),
        cmocka_unit_test(test_nonblocking_is_set),
        cmocka_unit_test(test_a_signal_changes_nothing_of_what_is_polled),
        cmocka_unit_test(test_a_child_keeps_only_the_descriptors_below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
