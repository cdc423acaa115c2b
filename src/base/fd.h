/* File descriptors: exact reads and writes on blocking ones, and closing what a child must not get. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include "base/buf.h"

ath_err fd_write_all(int fd, struct ath_slice bytes) ATH_MUST_USE; /* ATH_ERR_IO; never SIGPIPE on sockets */
ath_err fd_read_exact(int fd, void *ret_bytes, size_t len) ATH_MUST_USE; /* ATH_ERR_NOT_FOUND: end of file before the first byte; ATH_ERR_IO */
ath_err fd_set_nonblocking(int fd) ATH_MUST_USE;
void fd_close(int *fd); /* closes if >= 0 and sets -1 */

/* Between fork and exec: closes everything from first_fd on (close_range(2), with a fallback). */
void fd_close_from(int first_fd);

#endif
