/* A descriptor with the number of the request that it is for; nothing else passes. */
#include "hsm/wire/hsm_fd.h"

#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

static int sockets[2];

static int
setup(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets);
}

static int
teardown(void **state)
{
    (void)state;
    fd_close(&sockets[0]);
    fd_close(&sockets[1]);
    return 0;
}

static unsigned
count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Is it the same open file? */
static bool
is_same(int a, int b)
{
    struct stat first, second;

    assert_int_equal(fstat(a, &first), 0);
    assert_int_equal(fstat(b, &second), 0);
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static void
test_descriptor_arrives_for_its_request_and_is_not_inherited(void **state)
{
    int ends[2], got = -1;

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(hsm_fd_send(sockets[0], 0x01020304, ends[0]), ATH_OK);
    assert_int_equal(hsm_fd_receive(sockets[1], 0x01020304, &got), ATH_OK);
    assert_true(got >= 0 && got != ends[0] && is_same(got, ends[0]));
    assert_int_equal(fcntl(got, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(got);
    close(ends[0]);
    close(ends[1]);
}

static void
test_descriptors_keep_their_order(void **state)
{
    int first[2], second[2], got = -1;

    (void)state;
    assert_int_equal(pipe2(first, O_CLOEXEC), 0);
    assert_int_equal(pipe2(second, O_CLOEXEC), 0);
    assert_int_equal(hsm_fd_send(sockets[0], 1, first[0]), ATH_OK);
    assert_int_equal(hsm_fd_send(sockets[0], 2, second[0]), ATH_OK);
    assert_int_equal(hsm_fd_receive(sockets[1], 1, &got), ATH_OK);
    assert_true(is_same(got, first[0]));
    close(got);
    assert_int_equal(hsm_fd_receive(sockets[1], 2, &got), ATH_OK);
    assert_true(is_same(got, second[0]));
    close(got);
    for (int i = 0; i < 2; i++) {
        close(first[i]);
        close(second[i]);
    }
}

static void
test_what_is_not_there_is_not_waited_for(void **state)
{
    int got = 0;

    (void)state;
    assert_int_equal(hsm_fd_receive(sockets[1], 1, &got), ATH_ERR_IO);
    assert_int_equal(got, -1);
    fd_close(&sockets[0]);
    assert_true(hsm_fd_receive(sockets[1], 1, &got) != ATH_OK);
    assert_int_equal(hsm_fd_send(sockets[1], 1, 0), ATH_ERR_IO);
}

static void
test_descriptor_for_another_request_is_refused_and_closed(void **state)
{
    unsigned before = count_fds();
    int got = 0;

    (void)state;
    assert_int_equal(hsm_fd_send(sockets[0], 1, sockets[0]), ATH_OK);
    assert_int_equal(hsm_fd_receive(sockets[1], 2, &got), ATH_ERR_PARSE);
    assert_int_equal(got, -1);
    assert_int_equal(count_fds(), before);
}

static void
test_packets_without_descriptor_or_of_another_length_are_refused(void **state)
{
    static const uint8_t packet[8] = {0, 0, 0, 1};
    int got = 0;

    (void)state;
    for (size_t len = 1; len <= sizeof(packet); len++) {
        assert_int_equal(send(sockets[0], packet, len, 0), (ssize_t)len);
        assert_int_equal(hsm_fd_receive(sockets[1], 1, &got), ATH_ERR_PARSE);
        assert_int_equal(got, -1);
    }
}

/* Two in one packet: neither is taken, neither stays open. */
static void
test_two_descriptors_at_once_are_refused_and_closed(void **state)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = {.room = {0}};
    uint8_t packet[4] = {0, 0, 0, 1};
    struct iovec part = {packet, sizeof(packet)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    const int two[2] = {sockets[0], sockets[1]};
    unsigned before = count_fds();
    int got = 0;

    (void)state;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(two));
    memcpy(CMSG_DATA(&control.header), two, sizeof(two));
    assert_int_equal(sendmsg(sockets[0], &message, 0), 4);
    assert_int_equal(hsm_fd_receive(sockets[1], 1, &got), ATH_ERR_PARSE);
    assert_int_equal(got, -1);
    assert_int_equal(count_fds(), before);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_descriptor_arrives_for_its_request_and_is_not_inherited),
        TEST(test_descriptors_keep_their_order),
        TEST(test_what_is_not_there_is_not_waited_for),
        TEST(test_descriptor_for_another_request_is_refused_and_closed),
        TEST(test_packets_without_descriptor_or_of_another_length_are_refused),
        TEST(test_two_descriptors_at_once_are_refused_and_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
