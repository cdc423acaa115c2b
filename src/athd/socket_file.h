/* The listening socket as a file: where it may be, what may be removed to make place for it. */
#ifndef ATHD_SOCKET_FILE_H
#define ATHD_SOCKET_FILE_H

#include <sys/types.h>

#include "base/why.h"

struct socket_file {
    char *path; /* owned; NULL: none was made */
    dev_t device;
    ino_t inode;
};

/* A listening socket given by systemd (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS). *ret_fd stays as
 * it is if there is none. file->path is where it is bound; it is not ours to remove. ATH_ERR_USAGE:
 * what was given is no listening AF_UNIX stream socket, or there are several. The variables are
 * unset: children are not meant. */
ath_err socket_file_from_systemd(struct socket_file *file, struct why *why,
                                 int *ret_fd) ATH_MUST_USE;

/* Who may connect. Where others than its owner may, a missing directory is made 0755, else 0700. */
struct socket_access {
    mode_t mode;
    const char *group; /* a name; NULL: the process's own */
};

/* Binds a socket at path (it does not listen yet). path may be NULL: ATH_ERR_USAGE. ATH_ERR_IO: the
 * directory can be written to by others, something is in the way, another athd listens there, there
 * is no such group or athd is not in it. */
ath_err socket_file_open(struct socket_file *file, const char *path,
                         const struct socket_access *access, struct why *why,
                         int *ret_fd) ATH_MUST_USE;

/* Removes a socket at which nobody listens; fine if there is none. ATH_ERR_IO: it is no socket, or
 * somebody does. */
ath_err socket_file_clear(const char *path, struct why *why) ATH_MUST_USE;

/* Removes the file, if it still is the one we made. */
void socket_file_remove(struct socket_file *file);
void socket_file_done(struct socket_file *file);

#endif
