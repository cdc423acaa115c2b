#include "athd/listener.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "athd/athd.h"
#include "athd/connection.h"
#include "athd/grant.h"
#include "athd/listener_private.h"
#include "base/fd.h"

#define BACKLOG 1024

/* ---- one socket ---- */

/* NULL: out of memory. */
static struct listener_socket *
socket_new(struct listener *listener, struct tenant *tenant, struct grant *grant)
{
    struct listener_socket *socket = calloc(1, sizeof(*socket));

    if (socket == NULL)
        return NULL;
    socket->listener = listener;
    socket->tenant = tenant;
    socket->grant = grant_ref(grant);
    socket->server.data = socket;
    return socket;
}

static void
socket_free(struct listener_socket *socket)
{
    socket_file_done(&socket->file);
    grant_free(socket->grant);
    free(socket);
}

static void
on_socket_closed(uv_handle_t *handle)
{
    socket_free(handle->data);
}

/* Nobody connects any more; the path is free. The memory goes when the loop has closed it. */
static void
socket_close(struct listener_socket *socket)
{
    socket_file_remove(&socket->file);
    if (socket->is_initialised)
        uv_close((uv_handle_t *)&socket->server, on_socket_closed);
    else
        socket_free(socket);
}

/* fd is the handle's from its opening on. */
static ath_err
socket_listen(struct listener_socket *socket, int *fd, struct why *why)
{
    int native = uv_pipe_init(socket->listener->athd->loop, &socket->server, 0);

    if (native != 0)
        return why_set(why, ATH_ERR_NOMEM, "cannot make a socket handle");
    socket->is_initialised = true;
    if ((native = uv_pipe_open(&socket->server, *fd)) == 0) {
        *fd = -1;
        native = uv_listen((uv_stream_t *)&socket->server, BACKLOG, listener_on_connection);
    }
    if (native != 0)
        return why_set(why, ATH_ERR_IO, "cannot listen: %s", uv_strerror(native));
    LIST_INSERT_HEAD(&socket->listener->sockets, socket, entry);
    return ATH_OK;
}

/* ---- the owner's ---- */

static ath_err
init_timer(struct listener *listener, struct why *why)
{
    if (uv_timer_init(listener->athd->loop, &listener->sweep) != 0)
        return why_set(why, ATH_ERR_NOMEM, "cannot make a timer");
    listener->sweep.data = listener;
    listener->is_initialised = true;
    return ATH_OK;
}

static ath_err
open_owners(struct listener *listener, struct why *why)
{
    const struct config *config = listener->athd->config;
    const struct socket_access access = {.mode = (mode_t)config->socket_mode,
                                         .group = config->socket_group};
    struct listener_socket *socket = socket_new(listener, NULL, NULL);
    int fd = -1;
    ath_err err;

    if (socket == NULL)
        return ATH_ERR_NOMEM;
    if ((err = socket_file_from_systemd(&socket->file, why, &fd)) == ATH_OK && fd < 0)
        err = socket_file_open(&socket->file, config->socket, &access, why, &fd);
    if (err == ATH_OK)
        err = socket_listen(socket, &fd, why);
    fd_close(&fd);
    if (err != ATH_OK) {
        socket_close(socket);
        return err;
    }
    listener->owners = socket;
    return ATH_OK;
}

ath_err
listener_open(struct athd *athd, struct why *why, struct listener **ret_listener)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    ath_err err = ATH_ERR_NOMEM;

    if (listener == NULL)
        return err;
    listener->athd = athd;
    listener->reserve = open("/", O_PATH | O_CLOEXEC);
    LIST_INIT(&listener->connections);
    LIST_INIT(&listener->sockets);
    if ((err = init_timer(listener, why)) == ATH_OK &&
        (err = open_owners(listener, why)) == ATH_OK) {
        *ret_listener = listener;
        return ATH_OK;
    }
    listener_stop(listener);
    listener_close(listener);
    uv_run(athd->loop, UV_RUN_NOWAIT); /* so that the handles are off the loop before the free */
    listener_free(listener);
    return err;
}

const char *
listener_path(const struct listener *listener)
{
    const struct listener_socket *owners = listener->owners;

    return owners == NULL || owners->file.path == NULL ? "" : owners->file.path;
}

/* ---- grants' ---- */

ath_err
listener_add(struct listener *listener, struct tenant *tenant, struct grant *grant,
             const char *path, struct why *why, struct listener_socket **ret_socket)
{
    /* whom it serves is decided when somebody is there */
    const struct socket_access access = {.mode = listener->athd->config->is_system ? 0666 : 0600};
    struct listener_socket *socket;
    int fd = -1;
    ath_err err;

    if (listener->is_stopped)
        return why_set(why, ATH_ERR_IO, "athd ends");
    if ((socket = socket_new(listener, tenant, grant)) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = socket_file_open(&socket->file, path, &access, why, &fd)) == ATH_OK)
        err = socket_listen(socket, &fd, why);
    fd_close(&fd);
    if (err != ATH_OK) {
        socket_close(socket);
        return err == ATH_ERR_USAGE ? ATH_ERR_INVALID_PARAMS : err;
    }
    *ret_socket = socket;
    return ATH_OK;
}

void
listener_drop(struct listener_socket *socket)
{
    struct listener *listener = socket->listener;
    const struct grant *grant = socket->grant; /* the caller's as well */
    struct connection *connection;

    if (!listener->is_stopped) { /* else it is closed, and freed with all */
        LIST_REMOVE(socket, entry);
        socket_close(socket);
    }
    /* they leave the list when the loop has closed them */
    LIST_FOREACH (connection, &listener->connections, entry)
        if (connection->caller->through == grant)
            connection_close(connection);
}

/* ---- the end ---- */

void
listener_stop(struct listener *listener)
{
    struct connection *connection;
    struct listener_socket *socket;

    if (listener->is_stopped)
        return;
    listener->is_stopped = true;
    fd_close(&listener->reserve);
    deferred_remove(&listener->athd->deferred, &listener->next_turn);
    LIST_FOREACH (socket, &listener->sockets, entry) {
        socket_file_remove(&socket->file);
        uv_close((uv_handle_t *)&socket->server, NULL);
    }
    LIST_FOREACH (connection, &listener->connections, entry) {
        connection_stop_reading(connection);
        connection_drain(connection);
    }
}

void
listener_close(struct listener *listener)
{
    struct connection *connection;

    LIST_FOREACH (connection, &listener->connections, entry)
        connection_close(connection);
    if (listener->is_initialised && !uv_is_closing((uv_handle_t *)&listener->sweep))
        uv_close((uv_handle_t *)&listener->sweep, NULL);
}

void
listener_free(struct listener *listener)
{
    struct listener_socket *socket;

    if (listener == NULL)
        return;
    while ((socket = LIST_FIRST(&listener->sockets)) != NULL) {
        LIST_REMOVE(socket, entry);
        socket_free(socket);
    }
    fd_close(&listener->reserve);
    free(listener);
}
