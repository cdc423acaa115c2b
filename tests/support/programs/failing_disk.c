/*
 * A disk that fails, to be preloaded into athd: calls on files whose path holds FAILING_DISK_BELOW
 * fail as often as the file FAILING_DISK says (8 bytes: how many of a thousand, and, counted here,
 * how many did), with ENOSPC, EIO or a part of what was to be written. A sync that fails loses
 * what was written since the last one: the kernel may forget such pages and say so only once
 * (fsync(2), "EIO").
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <threads.h>
#include <unistd.h>

#define FILES 65536u

struct control {
    uint32_t permille, happened;
};

static struct control *control;
static const char *below;
static mtx_t lock;
static struct {
    ino_t inode;  /* 0: free */
    off_t synced; /* bytes that are on disk */
} files[FILES];

#define VISIBLE __attribute__((visibility("default")))

/* POSIX, dlsym: a function's address goes through an object's. */
#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (real == NULL)                                                                              \
    *(void **)&real = dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("FAILING_DISK");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED
                       : mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    mtx_init(&lock, mtx_plain);
    if (fd >= 0)
        close(fd);
    if (map != MAP_FAILED)
        control = map;
    below = getenv("FAILING_DISK_BELOW");
}

static int
fails(const char *path)
{
    static unsigned seed = 1;
    int failing;

    if (control == NULL || below == NULL || control->permille == 0 || strstr(path, below) == NULL)
        return 0;
    mtx_lock(&lock);
    failing = (unsigned)rand_r(&seed) % 1000 < control->permille;
    if (failing) {
        control->happened++;
        errno = control->happened % 2 == 0 ? EIO : ENOSPC;
    }
    mtx_unlock(&lock);
    return failing;
}

static int
fd_fails(int fd)
{
    char link[64], path[4096];
    ssize_t len;
    int kept = errno;

    if (control == NULL || control->permille == 0)
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    errno = kept;
    if (len < 0)
        return 0;
    path[len] = '\0';
    return fails(path);
}

static off_t *
place_of_inode(ino_t inode)
{
    size_t i;

    mtx_lock(&lock);
    for (i = inode % FILES; files[i].inode != 0 && files[i].inode != inode; i = (i + 1) % FILES)
        ;
    files[i].inode = inode;
    mtx_unlock(&lock);
    return &files[i].synced;
}

static off_t *
place_of(int fd, struct stat *st)
{
    return control != NULL && fstat(fd, st) == 0 && S_ISREG(st->st_mode)
               ? place_of_inode(st->st_ino)
               : NULL;
}

/* What was written since the last sync is zeros now. Files that are replaced as a whole were never
 * synced before. */
static void
lose(int fd)
{
    static const char zeros[4096];
    struct stat st;
    off_t *at = place_of(fd, &st), from;
    char link[64];
    int out, kept = errno;

    if (at == NULL)
        return;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if ((out = open(link, O_WRONLY | O_CLOEXEC)) >= 0) {
        for (from = *at; from < st.st_size; from += (off_t)sizeof(zeros)) {
            size_t len = (size_t)(st.st_size - from);

            if (pwrite(out, zeros, len < sizeof(zeros) ? len : sizeof(zeros), from) < 0)
                break;
        }
        close(out);
    }
    errno = kept;
}

static void
note_synced(int fd)
{
    struct stat st;
    off_t *at = place_of(fd, &st);

    if (at != NULL)
        *at = st.st_size;
}

VISIBLE int
open(const char *path, int flags, ...)
{
    va_list arguments;
    struct stat st;
    unsigned mode = 0;
    int is_there, fd;
    REAL(int, "open", const char *, int, ...);

    va_start(arguments, flags);
    if ((flags & O_CREAT) != 0)
        mode = va_arg(arguments, unsigned);
    va_end(arguments);
    if ((flags & O_ACCMODE) != O_RDONLY && fails(path))
        return -1;
    is_there = stat(path, &st) == 0;
    fd = real(path, flags, mode);
    if (fd >= 0 && (flags & O_CREAT) != 0 && !is_there && fstat(fd, &st) == 0)
        *place_of_inode(st.st_ino) = 0; /* an inode that another file had before */
    return fd;
}

VISIBLE ssize_t
write(int fd, const void *data, size_t len)
{
    REAL(ssize_t, "write", int, const void *, size_t);

    if (!fd_fails(fd))
        return real(fd, data, len);
    return len > 1 && errno == EIO ? real(fd, data, len / 2) : -1;
}

VISIBLE ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);

    if (!fd_fails(fd))
        return real(fd, data, len, at);
    return len > 1 && errno == EIO ? real(fd, data, len / 2, at) : -1;
}

static int
sync_fails(int fd)
{
    int failing = fd_fails(fd);

    if (failing)
        lose(fd);
    else
        note_synced(fd);
    return failing;
}

VISIBLE int
fsync(int fd)
{
    REAL(int, "fsync", int);

    return sync_fails(fd) ? -1 : real(fd);
}

VISIBLE int
fdatasync(int fd)
{
    REAL(int, "fdatasync", int);

    return sync_fails(fd) ? -1 : real(fd);
}

VISIBLE int
ftruncate(int fd, off_t len)
{
    struct stat st;
    off_t *at = place_of(fd, &st);
    REAL(int, "ftruncate", int, off_t);

    if (fd_fails(fd))
        return -1;
    if (at != NULL && *at > len)
        *at = len;
    return real(fd, len);
}

VISIBLE int
rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);

    return fails(to) ? -1 : real(from, to);
}

VISIBLE int
unlink(const char *path)
{
    REAL(int, "unlink", const char *);

    return fails(path) ? -1 : real(path);
}

VISIBLE int
mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);

    return fails(path) ? -1 : real(path, mode);
}
