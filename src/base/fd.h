/* File descriptors: exact reads and writes on blocking ones; closing what a child must not get. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include "base/buf.h"

/* Writes all of it; blocks. A peer that is gone is ATH_ERR_IO, on sockets without SIGPIPE. */
ath_err fd_write_all(int fd, struct ath_slice bytes) ATH_MUST_USE;

/* Reads len bytes; blocks. ATH_ERR_NOT_FOUND: end of file before the first byte; ATH_ERR_IO. */
ath_err fd_read_exact(int fd, void *ret_bytes, size_t len) ATH_MUST_USE;

/* What poll(2) says of it now, of these events and POLLERR, POLLHUP and POLLNVAL; 0: nothing. Does
 * not wait, and is not put off by a signal: where one arrives in that moment poll(2) ends with
 * EINTR though it had no need to wait. */
short fd_poll_now(int fd, short events);

/* ATH_ERR_IO. */
ath_err fd_set_nonblocking(int fd) ATH_MUST_USE;

/* Closes it if it is >= 0, and sets it to -1. */
void fd_close(int *fd);

/* Between fork and exec: closes everything from first_fd on (close_range(2), with a fallback). */
void fd_close_from(int first_fd);

#endif
