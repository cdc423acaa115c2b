/* The socket callers come to, and the list of those who are connected. */
#ifndef ATHD_LISTENER_H
#define ATHD_LISTENER_H

#include "base/buf.h"
#include "base/why.h"

struct athd;
struct connection;
struct listener;
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

/* No new connections, no new calls on the old ones; the path is removed. */
void listener_stop(struct listener *listener);
/* Closes what is left. The loop must run on until listener_connections is 0. */
void listener_close(struct listener *listener);
void listener_free(struct listener *listener);

size_t listener_connections(const struct listener *listener);

/* Sends the line to those, of this tenant or (NULL) of any, who have subscribed to one of the topics
 * (bits). */
void listener_publish(struct listener *listener, const struct tenant *tenant, unsigned topics,
                      struct ath_slice line);

/* connection.c: one is gone; one has something that wants to be looked at again. */
void listener_remove(struct listener *listener, struct connection *connection);
void listener_want_sweep(struct listener *listener);

#endif
