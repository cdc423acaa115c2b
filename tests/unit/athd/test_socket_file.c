#include "tests/support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "athd/socket_file.h"
#include "base/fd.h"

static const struct socket_access ours = {.mode = 0600};
static char dir[64], path[128];
static struct socket_file file;
static struct why why;

static const char *swap_for; /* NULL: nobody swaps the socket for a link */

/* In place of the C library's: what may happen a moment after it. */
int bind_and_swap(int fd, const struct sockaddr *address, socklen_t len) __asm__("bind");

int
bind_and_swap(int fd, const struct sockaddr *address, socklen_t len)
{
    int bound = (int)syscall(SYS_bind, fd, address, len);

    if (swap_for != NULL && (unlink(path) != 0 || symlink(swap_for, path) != 0))
        return -1;
    return bound;
}

static int
begin(void **state)
{
    (void)state;
    swap_for = NULL;
    file = (struct socket_file){0};
    why = (struct why){{0}};
    strcpy(dir, "/tmp/ath-test-socket-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/run/agent.sock", dir);
    return 0;
}

static int
end(void **state)
{
    char command[128];

    (void)state;
    socket_file_done(&file);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return strncmp(dir, "/tmp/ath-test-socket-", 21) != 0 || system(command) != 0;
}

static void
assert_opens(void)
{
    int fd = -1;

    assert_int_equal(socket_file_open(&file, path, &ours, &why, &fd), ATH_OK);
    fd_close(&fd);
}

static void
assert_refuses(ath_err expected, const char *word)
{
    int fd = -1;

    assert_int_equal(socket_file_open(&file, path, &ours, &why, &fd), expected);
    assert_non_null(strstr(why.text, word));
    assert_int_equal(fd, -1);
}

static void
test_socket_and_missing_directory_are_private(void **state)
{
    struct stat st;
    mode_t mask = umask(0);

    (void)state;
    assert_opens();
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    *strrchr(path, '/') = '\0';
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

/* A grant's directory may be mounted into a sandbox, writable. */
static void
test_a_link_in_its_place_changes_no_other_file(void **state)
{
    char other[96];
    struct stat st;
    int fd;

    (void)state;
    snprintf(other, sizeof(other), "%s/other", dir);
    fd = open(other, O_CREAT | O_WRONLY, 0400);
    fd_close(&fd);
    swap_for = other;
    assert_refuses(ATH_ERR_IO, "protect");
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0400);
}

static void
test_directory_that_others_can_write_to_is_refused(void **state)
{
    static const mode_t modes[] = {0777, 0770, 0702, 01777};
    char run[128];
    size_t i;

    (void)state;
    snprintf(run, sizeof(run), "%s/run", dir);
    assert_int_equal(mkdir(run, 0700), 0);
    for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(chmod(run, modes[i]), 0);
        assert_refuses(ATH_ERR_IO, "others may write");
    }
    assert_int_equal(chmod(run, 0755), 0);
    assert_opens();
}

static void
test_socket_of_a_dead_athd_is_replaced(void **state)
{
    (void)state;
    assert_opens(); /* bound, and closed without unlink: as SIGKILL leaves it */
    socket_file_done(&file);
    assert_opens();
}

static void
test_socket_of_a_living_athd_is_left_alone(void **state)
{
    struct socket_file other = {0};
    int fd = -1;

    (void)state;
    assert_int_equal(socket_file_open(&other, path, &ours, &why, &fd), ATH_OK);
    assert_int_equal(listen(fd, 1), 0);
    assert_refuses(ATH_ERR_IO, "listens at");
    assert_int_equal(access(path, F_OK), 0);
    fd_close(&fd);
    socket_file_done(&other);
}

static void
test_what_is_no_socket_is_left_alone(void **state)
{
    int fd;

    (void)state;
    assert_opens();
    assert_int_equal(unlink(path), 0);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    fd_close(&fd);
    socket_file_done(&file);
    assert_refuses(ATH_ERR_IO, "no socket");
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_refuses(ATH_ERR_IO, "no socket");
}

static void
test_only_our_own_file_is_removed(void **state)
{
    struct socket_file other = {0};
    int fd = -1;

    (void)state;
    assert_opens();
    assert_int_equal(unlink(path), 0);
    assert_int_equal(socket_file_open(&other, path, &ours, &why, &fd), ATH_OK);
    file.inode = other.inode + 1; /* some other file took the name */
    socket_file_remove(&file);
    assert_int_equal(access(path, F_OK), 0);
    socket_file_remove(&other);
    assert_int_not_equal(access(path, F_OK), 0);
    fd_close(&fd);
    socket_file_done(&other);
}

static void
test_paths_that_cannot_be_sockets_are_usage_errors(void **state)
{
    int fd = -1;

    (void)state;
    assert_int_equal(socket_file_open(&file, NULL, &ours, &why, &fd), ATH_ERR_USAGE);
    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_refuses(ATH_ERR_USAGE, "longer than");
    strcpy(path, "/agent.sock");
    assert_refuses(ATH_ERR_USAGE, "directory of its own");
}

static void
set_listen_fds(long pid, const char *fds)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", pid);
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", fds, 1);
}

static void
make_listener_at_3(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(path, sizeof(path), "%s/agent.sock", dir);
    assert_true(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(dup2(fd, 3), 3);
    fd_close(&fd);
}

static void
test_systemd_socket_is_checked_before_it_is_taken(void **state)
{
    int fd = -1, pair[2], saved = dup(3);

    (void)state;
    set_listen_fds((long)getpid() + 1, "1"); /* meant for another process */
    assert_int_equal(socket_file_from_systemd(&file, &why, &fd), ATH_OK);
    assert_int_equal(fd, -1);
    assert_null(getenv("LISTEN_FDS"));
    set_listen_fds((long)getpid(), "2");
    assert_int_equal(socket_file_from_systemd(&file, &why, &fd), ATH_ERR_USAGE);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(dup2(pair[0], 3), 3);
    set_listen_fds((long)getpid(), "1"); /* connected, not listening */
    assert_int_equal(socket_file_from_systemd(&file, &why, &fd), ATH_ERR_USAGE);
    assert_int_equal(fd, -1);
    make_listener_at_3();
    set_listen_fds((long)getpid(), "1");
    assert_int_equal(socket_file_from_systemd(&file, &why, &fd), ATH_OK);
    assert_int_equal(fd, 3);
    assert_string_equal(file.path, path); /* where it is, for who waits for it */
    socket_file_remove(&file);
    assert_int_equal(access(path, F_OK), 0); /* systemd's, not ours to remove */
    socket_file_done(&file);
    close(3);
    if (saved >= 0) {
        assert_int_equal(dup2(saved, 3), 3);
        fd_close(&saved);
    }
    fd_close(&pair[0]);
    fd_close(&pair[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(test_socket_and_missing_directory_are_private),
        TEST(test_a_link_in_its_place_changes_no_other_file),
        TEST(test_directory_that_others_can_write_to_is_refused),
        TEST(test_socket_of_a_dead_athd_is_replaced),
        TEST(test_socket_of_a_living_athd_is_left_alone),
        TEST(test_what_is_no_socket_is_left_alone),
        TEST(test_only_our_own_file_is_removed),
        TEST(test_paths_that_cannot_be_sockets_are_usage_errors),
        TEST(test_systemd_socket_is_checked_before_it_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
