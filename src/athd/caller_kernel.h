/* What of callers only the kernel can tell, one function a question, so that tests can answer for
 * it (-Wl,--wrap). None blocks. */
#ifndef ATHD_CALLER_KERNEL_H
#define ATHD_CALLER_KERNEL_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALLER_VERITY_SIZE 144 /* "sha512:" and 128 hexadecimal digits, with the NUL */

/* SO_PEERPIDFD (Linux 6.5): a pidfd of the very process that connected. -1 with errno; ENOPROTOOPT:
 * the kernel has no such option. */
int caller_kernel_peer_pidfd(int socket);
/* pidfd_open(2) of whatever process has this number now; -1: none. */
int caller_kernel_pidfd_open(pid_t pid);
/* Has the process of the pidfd not ended? */
bool caller_kernel_is_alive(int pidfd);
/* Has the other end of the socket been closed? */
bool caller_kernel_has_hung_up(int socket);
/* Clock ticks since boot, the clock of proc(5)'s starttime. */
uint64_t caller_kernel_ticks(void);
/* SO_PEERGROUPS: the supplementary groups at connect(2); *ret_groups is the caller's to free, NULL
 * with a count of 0 where there are none or it cannot be told. */
size_t caller_kernel_groups(int socket, gid_t **ret_groups);

/* Which file it is. */
struct caller_file {
    dev_t device;
    ino_t inode;
};

/* Of DIR/NAME, links followed; a file system that somebody's own program serves (FUSE) is not
 * asked, so that it cannot hold us up. False: it cannot be told. */
bool caller_kernel_file(int dir, const char *name, struct caller_file *ret_file);
/* Of an absolute path, if it can be walked without waiting for any file system: so it can for the
 * program of a process that runs (RESOLVE_CACHED, Linux 5.12). False: it cannot. */
bool caller_kernel_file_at(const char *path, struct caller_file *ret_file);
/* The fs-verity digest of DIR/NAME as fsverity(1) writes it, "sha256:" and hexadecimal digits; "":
 * it has none (FS_IOC_MEASURE_VERITY). */
void caller_kernel_verity(int dir, const char *name, char ret_digest[CALLER_VERITY_SIZE]);

#endif
