/* What listener.c (the sockets) and listener_connections.c (who is connected) share. */
#ifndef ATHD_LISTENER_PRIVATE_H
#define ATHD_LISTENER_PRIVATE_H

#include <sys/queue.h>

#include <uv.h>

#include "athd/deferred.h"
#include "athd/listener.h"
#include "athd/socket_file.h"

/* One that we listen at: the owner's, or a grant's. */
struct listener_socket {
    struct listener *listener;
    LIST_ENTRY(listener_socket) entry;
    struct tenant *tenant; /* a grant's; NULL: the caller's own */
    struct grant *grant;   /* counted; NULL: the owner's socket */
    struct socket_file file;
    uv_pipe_t server;
    bool is_initialised; /* its handle is the loop's */
    bool has_caller;     /* one that is left for later: libuv waits until it is accepted */
};

struct listener {
    struct athd *athd;
    struct listener_socket *owners;
    LIST_HEAD(, listener_socket) sockets;
    uv_timer_t sweep;
    unsigned accepted;          /* in this turn of the loop */
    int reserve;                /* a descriptor to close when there is none left; -1: none */
    uint64_t failure_logged_ms; /* 0: never */
    struct deferred next_turn;
    bool is_sweeping;
    bool is_stopped;
    bool is_initialised; /* its timer is the loop's */
    LIST_HEAD(, connection) connections;
    size_t count;
};

/* listener_connections.c, libuv's uv_connection_cb of a socket's server: somebody waits there.
 * Accepted, and served or refused with one line; or left for a later turn (has_caller). */
void listener_on_connection(uv_stream_t *server, int status);

#endif
