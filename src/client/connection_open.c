/*
 * Finding athd, and saying which of the very different reasons it is when it cannot be found. A
 * sandbox that forbids the socket looks to many programs like a daemon that is not running; people
 * then restart the daemon, which cannot help.
 */
#include "client/connection.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

#define SYSTEM_SOCKET "/run/ath/agent.sock"

static bool
environment_has(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0';
}

char *
connection_default_path(void)
{
    struct ath_buf path = {.max = 4096};
    struct stat info;
    const char *text;
    char *found = NULL;

    if (environment_has("ATH_AUTH_SOCK"))
        return ath_strdup(getenv("ATH_AUTH_SOCK"));
    if (!environment_has("XDG_RUNTIME_DIR"))
        return ath_strdup(SYSTEM_SOCKET);
    ath_buf_printf(&path, "%s/ath/agent.sock", getenv("XDG_RUNTIME_DIR"));
    text = ath_buf_text(&path);
    if (text == NULL)
        goto out;
    /* "cannot be looked at" is a finding about the first place, not a reason to try the second */
    if (stat(text, &info) != 0 && errno == ENOENT && stat(SYSTEM_SOCKET, &info) == 0)
        text = SYSTEM_SOCKET;
    found = ath_strdup(text);
out:
    ath_buf_done(&path);
    return found;
}

static ath_err ATH_PRINTF(3, 4)
    unreachable(struct connection_failure *failure, const char *cause, const char *fmt, ...)
{
    va_list args;

    failure->cause = cause;
    va_start(args, fmt);
    if (vsnprintf(failure->text, sizeof(failure->text), fmt, args) < 0)
        failure->text[0] = '\0';
    va_end(args);
    return ATH_ERR_UNREACHABLE;
}

#define GROUP_NAME_SIZE 65

/* Is the socket one of a whole machine's athd, open to a group (which we are then not in)? */
static bool
is_for_group(const struct stat *info, char ret_name[GROUP_NAME_SIZE])
{
    struct group storage, *found = NULL;
    char room[4096];

    if (info->st_uid == geteuid() || (info->st_mode & 0022) != 0020)
        return false;
    if (getgrgid_r(info->st_gid, &storage, room, sizeof(room), &found) == 0 && found != NULL)
        (void)snprintf(ret_name, GROUP_NAME_SIZE, "%s", found->gr_name);
    else
        (void)snprintf(ret_name, GROUP_NAME_SIZE, "%lu", (unsigned long)info->st_gid);
    return true;
}

/* EACCES or EPERM: file permissions if they explain it, else something that stands around us. */
static ath_err
explain_forbidden(const char *path, struct connection_failure *failure)
{
    char group[GROUP_NAME_SIZE];
    struct stat info;

    if (stat(path, &info) == 0 && is_for_group(&info, group))
        return unreachable(
            failure, "forbidden",
            "the socket %s is for members of the group \"%s\": ask to be added to it "
            "(usermod -aG %s YOU), and log in again",
            path, group, group);
    if (stat(path, &info) == 0 && info.st_uid != geteuid())
        return unreachable(
            failure, "forbidden",
            "the socket %s belongs to uid %u and you are uid %u: athd serves its owner only", path,
            (unsigned)info.st_uid, (unsigned)geteuid());
    return unreachable(
        failure, "forbidden",
        "not allowed to use the socket %s: athd may well be running, but a directory's "
        "permissions, a sandbox, a container or a security module forbid this path; allow it "
        "there (or bind-mount it) and name it in ATH_AUTH_SOCK",
        path);
}

/* ".../grants/NAME/agent.sock" */
static bool
is_of_grant(const char *path)
{
    static const char folder[] = "/grants/", end[] = "/agent.sock";
    const char *name = strstr(path, folder);
    size_t len;

    if (name == NULL)
        return false;
    name += sizeof(folder) - 1;
    len = strlen(name);
    return len >= sizeof(end) && strcmp(name + len - (sizeof(end) - 1), end) == 0;
}

static ath_err
explain(const char *path, int error, struct connection_failure *failure)
{
    struct stat info;

    switch (error) {
    case ENOENT:
    case ENOTDIR:
        if (is_of_grant(path))
            return unreachable(failure, "not_running",
                               "there is no socket %s: the grant has ended, athd is not running, "
                               "or a sandbox does "
                               "not show it (bind-mount its directory)",
                               path);
        return unreachable(
            failure, "not_running",
            "athd is not running: there is no socket %s (start athd, or name its socket "
            "with --socket or ATH_AUTH_SOCK)",
            path);
    case ECONNREFUSED:
        if (stat(path, &info) == 0 && !S_ISSOCK(info.st_mode))
            return unreachable(failure, "invalid", "%s is no socket", path);
        return unreachable(
            failure, "stale",
            "nobody listens at %s: athd has ended and left its socket behind (start it "
            "again)",
            path);
    case EACCES:
    case EPERM:
        return explain_forbidden(path, failure);
    case EAFNOSUPPORT:
        return unreachable(
            failure, "forbidden",
            "this process may not use unix sockets at all: a sandbox (such as systemd's "
            "RestrictAddressFamilies=) forbids them");
    case EAGAIN:
        return unreachable(failure, "failed", "athd at %s has too many connections waiting", path);
    case ENOTSOCK:
    case EPROTOTYPE:
        return unreachable(failure, "invalid", "%s is not athd's socket", path);
    default:
        return unreachable(failure, "failed", "cannot connect to %s: %s", path, strerror(error));
    }
}

static int
connect_to(const struct sockaddr_un *address, int *ret_fd)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = 0;

    if (fd < 0)
        return errno;
    while (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        if (errno == EINTR)
            continue;
        error = errno == EISCONN ? 0 : errno;
        break;
    }
    if (error == 0 && fd_set_nonblocking(fd) != ATH_OK)
        error = EIO;
    if (error != 0) {
        fd_close(&fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

ath_err
connection_open(struct connection *connection, const char *path,
                struct connection_failure *ret_failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    int error;

    connection_close(connection);
    if (len == 0 || len >= sizeof(address.sun_path))
        return unreachable(ret_failure, "invalid",
                           "a socket's path has 1 to %zu bytes, this one %zu: %.80s",
                           sizeof(address.sun_path) - 1, len, path);
    memcpy(address.sun_path, path, len);
    if ((error = connect_to(&address, &connection->fd)) != 0)
        return explain(path, error, ret_failure);
    return ATH_OK;
}
