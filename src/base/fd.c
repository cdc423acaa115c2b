#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* MSG_NOSIGNAL exists for sockets only; the rest goes through write. */
static ssize_t
write_some(int fd, struct ath_slice bytes)
{
    ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);

    return n < 0 && errno == ENOTSOCK ? write(fd, bytes.data, bytes.len) : n;
}

ath_err
fd_write_all(int fd, struct ath_slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write_some(fd, bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ATH_ERR_IO;
        bytes = ath_slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return ATH_OK;
}

ath_err
fd_read_exact(int fd, void *ret_bytes, size_t len)
{
    uint8_t *out = ret_bytes;
    size_t done = 0;

    while (done < len) {
        ssize_t n = read(fd, out + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 && done == 0)
            return ATH_ERR_NOT_FOUND;
        if (n <= 0)
            return ATH_ERR_IO;
        done += (size_t)n;
    }
    return ATH_OK;
}

short
fd_poll_now(int fd, short events)
{
    struct pollfd item = {.fd = fd, .events = events};
    int n;

    do
        n = poll(&item, 1, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? POLLNVAL : item.revents;
}

ath_err
fd_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return ATH_ERR_IO;
    return ATH_OK;
}

void
fd_close(int *fd)
{
    /* not repeated on EINTR: on Linux the descriptor is gone all the same (close(2)) */
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void
fd_close_from(int first_fd)
{
    struct rlimit limit;
    rlim_t end = 4096, i;

    if (first_fd < 0 || close_range((unsigned)first_fd, ~0u, 0) == 0)
        return;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        end = limit.rlim_cur;
    for (i = (rlim_t)first_fd; i < end; i++)
        close((int)i);
}
