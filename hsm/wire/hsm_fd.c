#include "hsm/wire/hsm_fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"

#define ID_LEN 4

/* Room for one descriptor; aligned as cmsg(3) asks. */
union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

ath_err
hsm_fd_send(int socket_fd, uint32_t id, int fd)
{
    uint8_t packet[ID_LEN] = {(uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
                              (uint8_t)id};
    union control control = {.room = {0}};
    struct iovec part = {packet, sizeof(packet)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    ssize_t n;

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    do {
        n = sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(packet) ? ATH_OK : ATH_ERR_IO;
}

/* The one descriptor of a packet; -1: there is none. No more can have come: there was room for
 * one (the kernel closes the others, and sets MSG_CTRUNC). */
static int
take_descriptor(struct msghdr *message)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    int fd = -1;

    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
}

ath_err
hsm_fd_receive(int socket_fd, uint32_t id, int *ret_fd)
{
    uint8_t packet[ID_LEN + 1] = {0}; /* a byte more: a longer packet is seen */
    union control control = {.room = {0}};
    struct iovec part = {packet, sizeof(packet)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             /* not CMSG_SPACE, whose padding has room for a second one */
                             .msg_controllen = CMSG_LEN(sizeof(int))};
    struct byte_reader reader;
    ssize_t n;
    int fd;

    *ret_fd = -1;
    do {
        n = recvmsg(socket_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return ATH_ERR_IO;
    fd = take_descriptor(&message);
    reader = byte_reader_of(ath_slice_of(packet, (size_t)n));
    if (fd < 0 || (message.msg_flags & MSG_CTRUNC) != 0 || byte_reader_u32(&reader) != id ||
        !byte_reader_is_done(&reader)) {
        fd_close(&fd);
        return ATH_ERR_PARSE;
    }
    *ret_fd = fd;
    return ATH_OK;
}
