#include "athd/caller_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fsverity.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* asm-generic/socket.h; older C libraries do not have it */
#endif
#define GROUPS_MAX 65536u /* NGROUPS_MAX of the kernel */
#define DIGEST_MAX 64u
#define WALKS 4u

int
caller_kernel_peer_pidfd(int socket)
{
    socklen_t len = sizeof(int);
    int pidfd = -1;

    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) != 0)
        return -1;
    return pidfd; /* close-on-exec, as pidfd_open(2)'s */
}

int
caller_kernel_pidfd_open(pid_t pid)
{
    return pid <= 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
}

/* A pidfd is readable from the end of its process on. */
bool
caller_kernel_is_alive(int pidfd)
{
    return fd_poll_now(pidfd, POLLIN) == 0;
}

bool
caller_kernel_has_hung_up(int socket)
{
    return fd_poll_now(socket, 0) != 0;
}

uint64_t
caller_kernel_ticks(void)
{
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * hz + (uint64_t)now.tv_nsec / (1000000000u / hz);
}

size_t
caller_kernel_groups(int socket, gid_t **ret_groups)
{
    socklen_t len = 0;
    gid_t *groups;

    *ret_groups = NULL;
    /* with no room for them it says how long they are */
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE ||
        len == 0 || len > GROUPS_MAX * sizeof(gid_t) || (groups = malloc(len)) == NULL)
        return 0;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0) {
        free(groups);
        return 0;
    }
    *ret_groups = groups;
    return len / sizeof(gid_t);
}

static bool
look_at(int dir, const char *name, int flags, struct caller_file *ret_file,
        uint64_t *ret_attributes)
{
    struct statx found;

    if (statx(dir, name, flags | AT_STATX_DONT_SYNC, STATX_INO, &found) != 0 ||
        (found.stx_mask & STATX_INO) == 0)
        return false;
    ret_file->device = makedev(found.stx_dev_major, found.stx_dev_minor);
    ret_file->inode = found.stx_ino;
    *ret_attributes = found.stx_attributes;
    return true;
}

bool
caller_kernel_file(int dir, const char *name, struct caller_file *ret_file)
{
    uint64_t attributes;

    return look_at(dir, name, 0, ret_file, &attributes);
}

bool
caller_kernel_file_at(const char *path, struct caller_file *ret_file)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW,
                           .resolve = RESOLVE_CACHED | RESOLVE_NO_SYMLINKS};
    uint64_t attributes;
    unsigned tries = WALKS;
    bool is_found;
    int fd;

    do /* a rename somewhere may disturb a walk that takes no locks */
        fd = path[0] == '/' ? (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how)) : -1;
    while (fd < 0 && errno == EAGAIN && --tries > 0);
    is_found = fd >= 0 && look_at(fd, "", AT_EMPTY_PATH, ret_file, &attributes);
    fd_close(&fd);
    return is_found;
}

static void
put_digest(const struct fsverity_digest *digest, char ret_text[CALLER_VERITY_SIZE])
{
    const uint8_t *bytes = (const uint8_t *)digest + sizeof(*digest);
    size_t used;

    if (digest->digest_size > DIGEST_MAX ||
        (digest->digest_algorithm != FS_VERITY_HASH_ALG_SHA256 &&
         digest->digest_algorithm != FS_VERITY_HASH_ALG_SHA512))
        return;
    used = (size_t)snprintf(ret_text, CALLER_VERITY_SIZE, "%s",
                            digest->digest_algorithm == FS_VERITY_HASH_ALG_SHA256 ? "sha256:"
                                                                                  : "sha512:");
    for (size_t i = 0; i < digest->digest_size; i++)
        used += (size_t)snprintf(ret_text + used, CALLER_VERITY_SIZE - used, "%02x", bytes[i]);
}

/* Only a file that its file system says has a digest is opened at all: others may hold us up. */
void
caller_kernel_verity(int dir, const char *name, char ret_digest[CALLER_VERITY_SIZE])
{
    union {
        struct fsverity_digest head;
        uint8_t room[sizeof(struct fsverity_digest) + DIGEST_MAX];
    } answer;
    struct caller_file file;
    uint64_t attributes = 0;
    int fd = -1;

    ret_digest[0] = '\0';
    if (!look_at(dir, name, 0, &file, &attributes) || (attributes & STATX_ATTR_VERITY) == 0)
        return;
    memset(&answer, 0, sizeof(answer));
    answer.head.digest_size = DIGEST_MAX;
    if ((fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) >= 0 &&
        ioctl(fd, FS_IOC_MEASURE_VERITY, &answer) == 0)
        put_digest(&answer.head, ret_digest);
    fd_close(&fd);
}
