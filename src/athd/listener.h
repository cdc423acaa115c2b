/* The sockets callers come to, the owner's and those of grants, and the list of those who are
 * connected. */
#ifndef ATHD_LISTENER_H
#define ATHD_LISTENER_H

#include "base/buf.h"
#include "base/why.h"

struct athd;
struct connection;
struct grant;
struct listener;
struct listener_socket;
struct tenant;

/*
 * Listens: at the socket systemd gave (LISTEN_FDS, sd_listen_fds(3)), else at config->socket. The
 * socket is 0600 in a directory that is ours and that others cannot write to; a missing one is made
 * 0700. What is left of a dead athd is removed, if it is a socket and nobody answers at it.
 * ATH_ERR_USAGE: there is no place to listen, or it is taken; ATH_ERR_IO; ATH_ERR_NOMEM.
 */
ath_err listener_open(struct athd *athd, struct why *why,
                      struct listener **ret_listener) ATH_MUST_USE;

/* The path, or "" for a socket of systemd's. */
const char *listener_path(const struct listener *listener);

/* Listens for a grant of the tenant's at this path, whose directory is there; only the tenant's uid
 * is served. Errors as above (a path that is too long is ATH_ERR_INVALID_PARAMS). */
ath_err listener_add(struct listener *listener, struct tenant *tenant, struct grant *grant,
                     const char *path, struct why *why,
                     struct listener_socket **ret_socket) ATH_MUST_USE;
/* The end of that: the path is removed, and those who are connected are cut, also in the middle of
 * what they asked. */
void listener_drop(struct listener_socket *socket);

/* No new connections, no new calls on the old ones; the path is removed. */
void listener_stop(struct listener *listener);
/* Closes what is left. The loop must run on until listener_connections is 0. */
void listener_close(struct listener *listener);
void listener_free(struct listener *listener);

size_t listener_connections(const struct listener *listener);
unsigned listener_connections_of(const struct listener *listener, const struct grant *grant);

/* Where athd serves several uids: does it hold more of one's lines and answers than it may? */
bool listener_is_full_of(const struct listener *listener, const struct tenant *tenant);

/* Whom a line is for: owner's sockets, of one tenant or (NULL) of any; and one grant's (NULL:
 * none). */
struct listener_audience {
    const struct tenant *tenant;
    const struct grant *grant;
};

/* Sends the line to those who have subscribed to one of the topics (bits). */
void listener_publish(struct listener *listener, const struct listener_audience *audience,
                      unsigned topics, struct ath_slice line);

/* connection*.c: one is gone; one has something that wants to be looked at again. */
void listener_remove(struct listener *listener, struct connection *connection);
void listener_want_sweep(struct listener *listener);

#endif
