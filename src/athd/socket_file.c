#include "athd/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"

#define SYSTEMD_FIRST_FD 3

/* ---- from systemd ---- */

static bool
is_listening_unix_stream(int fd)
{
    int domain = 0, type = 0, listening = 0;
    socklen_t len = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening != 0;
}

/* NULL: it has none in the file system (unix(7), "Abstract"), or out of memory. */
static char *
path_of(int fd)
{
    struct sockaddr_un address;
    socklen_t len = sizeof(address);
    size_t used = offsetof(struct sockaddr_un, sun_path);

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0 || len <= used)
        return NULL;
    used = strnlen(address.sun_path, (size_t)len - used);
    return used == 0 ? NULL : ath_slice_dup(ath_slice_of(address.sun_path, used));
}

ath_err
socket_file_from_systemd(struct socket_file *file, struct why *why, int *ret_fd)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    long count = fds == NULL ? 0 : strtol(fds, NULL, 10);
    bool is_ours = pid != NULL && strtol(pid, NULL, 10) == (long)getpid() && count > 0;

    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (!is_ours)
        return ATH_OK;
    if (count != 1)
        return why_set(why, ATH_ERR_USAGE, "LISTEN_FDS gives %ld sockets; athd takes one", count);
    if (!is_listening_unix_stream(SYSTEMD_FIRST_FD) ||
        fcntl(SYSTEMD_FIRST_FD, F_SETFD, FD_CLOEXEC) != 0)
        return why_set(why, ATH_ERR_USAGE,
                       "LISTEN_FDS gives something that is no listening unix socket");
    file->path = path_of(SYSTEMD_FIRST_FD); /* without device and inode nothing is removed */
    *ret_fd = SYSTEMD_FIRST_FD;
    return ATH_OK;
}

/* ---- our own ---- */

static ath_err
fail(struct why *why, const char *what, const char *path)
{
    return why_set(why, ATH_ERR_IO, "%s %s: %s", what, path, strerror(errno));
}

/* Does somebody accept at this address? A full backlog answers EAGAIN and is alive too. */
static bool
is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive;

    if (fd < 0)
        return true; /* not known: rather not removed */
    alive = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
            (errno != ECONNREFUSED && errno != ENOENT);
    fd_close(&fd);
    return alive;
}

static ath_err
clear_place(const struct sockaddr_un *address, struct why *why)
{
    const char *path = address->sun_path;
    struct stat st;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? ATH_OK : fail(why, "cannot look at", path);
    if (!S_ISSOCK(st.st_mode))
        return why_set(why, ATH_ERR_IO, "%s is in the way and is no socket", path);
    if (is_alive(address))
        return why_set(why, ATH_ERR_IO, "somebody listens at %s already", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return fail(why, "cannot remove", path);
    return ATH_OK;
}

static ath_err
make_parent(const char *path, mode_t mode, struct why *why)
{
    char *dir = ath_strdup(path), *slash;
    bool was_there;
    ath_err err;

    if (dir == NULL)
        return ATH_ERR_NOMEM;
    slash = strrchr(dir, '/');
    if (slash == NULL || slash == dir)
        err = why_set(why, ATH_ERR_USAGE, "%s must lie in a directory of its own", path);
    else {
        *slash = '\0';
        was_there = access(dir, F_OK) == 0;
        err = file_make_private_dir(dir, why);
        if (err == ATH_OK && !was_there && (mode & 077) != 0 && chmod(dir, 0755) != 0)
            err = fail(why, "cannot open", dir);
    }
    free(dir);
    return err;
}

static ath_err
group_of(const char *name, struct why *why, gid_t *ret_group)
{
    const struct group *group;

    if (name == NULL)
        return ATH_OK;
    if ((group = getgrnam(name)) == NULL)
        return why_set(why, ATH_ERR_IO, "there is no group \"%s\" (\"socket_group\")", name);
    *ret_group = group->gr_gid;
    return ATH_OK;
}

static ath_err
bind_at(const struct sockaddr_un *address, const struct socket_access *access,
        struct socket_file *file, struct why *why, int fd)
{
    struct stat st;
    gid_t group = (gid_t)-1;
    ath_err err = group_of(access->group, why, &group);
    mode_t mask = umask(0177); /* from the first moment on nobody else may connect */
    int bound = err != ATH_OK ? -1 : bind(fd, (const struct sockaddr *)address, sizeof(*address));

    umask(mask);
    if (err != ATH_OK)
        return err;
    if (bound != 0)
        return fail(why, "cannot make", address->sun_path);
    if (group != (gid_t)-1 && chown(address->sun_path, (uid_t)-1, group) != 0)
        return why_set(why, ATH_ERR_IO, "cannot give %s to the group %s: %s; athd must be in it",
                       address->sun_path, access->group, strerror(errno));
    /* not through a link that somebody put there meanwhile: into the directory of a grant a sandbox
     * may write */
    if (fchmodat(AT_FDCWD, address->sun_path, access->mode, AT_SYMLINK_NOFOLLOW) != 0 ||
        lstat(address->sun_path, &st) != 0)
        return fail(why, "cannot protect", address->sun_path);
    if ((file->path = ath_strdup(address->sun_path)) == NULL)
        return ATH_ERR_NOMEM;
    file->device = st.st_dev;
    file->inode = st.st_ino;
    return ATH_OK;
}

static ath_err
address_of(const char *path, struct why *why, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(ret_address->sun_path))
        return why_set(why, ATH_ERR_USAGE, "the socket's path is longer than %zu bytes: %s",
                       sizeof(ret_address->sun_path) - 1, path);
    strcpy(ret_address->sun_path, path);
    return ATH_OK;
}

ath_err
socket_file_open(struct socket_file *file, const char *path, const struct socket_access *access,
                 struct why *why, int *ret_fd)
{
    struct sockaddr_un address;
    ath_err err;
    int fd;

    if (path == NULL)
        return why_set(why, ATH_ERR_USAGE,
                       "nowhere to listen: give --socket, or set XDG_RUNTIME_DIR");
    if ((err = address_of(path, why, &address)) != ATH_OK ||
        (err = make_parent(path, access->mode, why)) != ATH_OK ||
        (err = clear_place(&address, why)) != ATH_OK)
        return err;
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
        return fail(why, "cannot make a socket for", path);
    if ((err = bind_at(&address, access, file, why, fd)) != ATH_OK) {
        fd_close(&fd);
        return err;
    }
    *ret_fd = fd;
    return ATH_OK;
}

ath_err
socket_file_clear(const char *path, struct why *why)
{
    struct sockaddr_un address;
    ath_err err = address_of(path, why, &address);

    return err != ATH_OK ? err : clear_place(&address, why);
}

void
socket_file_remove(struct socket_file *file)
{
    struct stat st;

    if (file->path != NULL && lstat(file->path, &st) == 0 && st.st_dev == file->device &&
        st.st_ino == file->inode)
        unlink(file->path);
}

void
socket_file_done(struct socket_file *file)
{
    free(file->path);
    file->path = NULL;
}
