#include "athd/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/connection.h"
#include "athd/socket_file.h"
#include "base/clock.h"
#include "base/fd.h"
#include "rpc/rpc_limits.h"

#define BACKLOG 1024
#define SWEEP_MS 200u

struct listener {
    struct athd *athd;
    uv_pipe_t server;
    uv_timer_t sweep;
    bool is_sweeping;
    bool has_caller; /* one that there was no memory for: libuv waits until it is accepted */
    bool is_stopped;
    bool is_initialised; /* its handles are the loop's */
    struct socket_file file;
    LIST_HEAD(, connection) connections;
    size_t count;
};

/* ---- connections ---- */

static unsigned
count_of_uid(const struct listener *listener, uid_t uid)
{
    const struct connection *connection;
    unsigned count = 0;

    LIST_FOREACH (connection, &listener->connections, entry)
        if (connection->caller->uid == uid)
            count++;
    return count;
}

static void
record_refused(struct athd *athd, const struct caller *caller, ath_err err)
{
    struct json_maker record;

    if (!audit_flood_admits(&athd->flood, "connection_refused", caller->uid))
        return;
    audit_record_begin(&record, "connection_refused", NULL);
    caller_put(caller, &record, "caller");
    json_put_string(&record, "denial_reason", ath_err_reason(err));
    audit_record_note(athd, &record);
}

static ath_err
admit(struct listener *listener, struct connection *connection, struct why *why)
{
    struct caller *caller = connection->caller;

    if (listener->athd->config->is_system) /* who starts more processes gets no larger share */
        caller->identity = (uint64_t)caller->uid << 32;
    if (count_of_uid(listener, caller->uid) > RPC_CONNECTIONS_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "uid %lu has %u connections already",
                       (unsigned long)caller->uid, RPC_CONNECTIONS_MAX);
    return tenant_of_caller(listener->athd, caller, why, &connection->tenant);
}

static void
on_connection(uv_stream_t *server, int status)
{
    struct listener *listener = server->data;
    struct connection *connection = NULL;
    ath_err err = status != 0 ? ATH_ERR_IO : connection_accept(listener->athd, server, &connection);
    struct why why = {{0}};

    if (err != ATH_OK) {
        listener->athd->counters.connections_refused++;
        log_warning("event=accept-failed reason=%s",
                    status != 0 ? uv_err_name(status) : ath_err_sentence(err));
        listener->has_caller = err == ATH_ERR_NOMEM;
        if (listener->has_caller)
            listener_want_sweep(listener);
        return;
    }
    LIST_INSERT_HEAD(&listener->connections, connection, entry);
    listener->count++;
    err = admit(listener, connection, &why);
    if (err == ATH_OK) {
        connection_start(connection);
        return;
    }
    listener->athd->counters.connections_refused++;
    record_refused(listener->athd, connection->caller, err);
    connection_refuse(connection, err, &why);
}

void
listener_remove(struct listener *listener, struct connection *connection)
{
    LIST_REMOVE(connection, entry);
    listener->count--;
}

size_t
listener_connections(const struct listener *listener)
{
    return listener->count;
}

void
listener_publish(struct listener *listener, const struct tenant *tenant, unsigned topics,
                 struct ath_slice line)
{
    struct connection *connection;

    /* connections are taken from the list by the loop only, so it does not change under us */
    LIST_FOREACH (connection, &listener->connections, entry)
        if ((connection->topics & topics) != 0 &&
            (tenant == NULL || tenant == connection->tenant))
            connection_send_or_lose(connection, line);
}

static void
on_sweep(uv_timer_t *timer)
{
    struct listener *listener = timer->data;
    struct connection *connection;
    uint64_t now_ms = clock_monotonic_ms();
    bool again = false;

    if (listener->has_caller && !listener->is_stopped) {
        listener->has_caller = false;
        on_connection((uv_stream_t *)&listener->server, 0);
        again = listener->has_caller;
    }
    LIST_FOREACH (connection, &listener->connections, entry) {
        connection_sweep(connection, now_ms);
        again = again || (!connection->is_closing && connection_wants_sweep(connection));
    }
    if (!again) {
        uv_timer_stop(timer);
        listener->is_sweeping = false;
    }
}

void
listener_want_sweep(struct listener *listener)
{
    if (listener->is_sweeping || uv_is_closing((uv_handle_t *)&listener->sweep))
        return;
    listener->is_sweeping = true;
    uv_timer_start(&listener->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

/* ---- the socket ---- */

static ath_err
init_handles(struct listener *listener, struct why *why)
{
    if (uv_timer_init(listener->athd->loop, &listener->sweep) != 0)
        return why_set(why, ATH_ERR_NOMEM, "cannot make a timer");
    listener->sweep.data = listener;
    if (uv_pipe_init(listener->athd->loop, &listener->server, 0) != 0) {
        uv_close((uv_handle_t *)&listener->sweep, NULL);
        return why_set(why, ATH_ERR_NOMEM, "cannot make a socket handle");
    }
    listener->server.data = listener;
    listener->is_initialised = true;
    return ATH_OK;
}

static ath_err
listen_at(struct listener *listener, int *fd, struct why *why)
{
    int native = uv_pipe_open(&listener->server, *fd);

    if (native == 0) {
        *fd = -1; /* the handle's now */
        native = uv_listen((uv_stream_t *)&listener->server, BACKLOG, on_connection);
    }
    if (native != 0)
        return why_set(why, ATH_ERR_IO, "cannot listen: %s", uv_strerror(native));
    return ATH_OK;
}

ath_err
listener_open(struct athd *athd, struct why *why, struct listener **ret_listener)
{
    const struct socket_access access = {.mode = (mode_t)athd->config->socket_mode,
                                         .group = athd->config->socket_group};
    struct listener *listener = calloc(1, sizeof(*listener));
    int fd = -1;
    ath_err err = ATH_ERR_NOMEM;

    if (listener == NULL)
        return err;
    listener->athd = athd;
    LIST_INIT(&listener->connections);
    if ((err = socket_file_from_systemd(&listener->file, why, &fd)) != ATH_OK)
        goto out;
    if (fd < 0 &&
        (err = socket_file_open(&listener->file, athd->config->socket, &access, why, &fd)) !=
            ATH_OK)
        goto out;
    if ((err = init_handles(listener, why)) != ATH_OK ||
        (err = listen_at(listener, &fd, why)) != ATH_OK)
        goto out;
    *ret_listener = listener;
    listener = NULL;
out:
    fd_close(&fd);
    if (listener != NULL) {
        listener_stop(listener);
        listener_close(listener);
        uv_run(athd->loop,
               UV_RUN_NOWAIT); /* so that the handles are off the loop before the free */
        listener_free(listener);
    }
    return err;
}

const char *
listener_path(const struct listener *listener)
{
    return listener->file.path == NULL ? "" : listener->file.path;
}

void
listener_stop(struct listener *listener)
{
    struct connection *connection;

    if (listener->is_stopped)
        return;
    listener->is_stopped = true;
    socket_file_remove(&listener->file);
    if (listener->is_initialised)
        uv_close((uv_handle_t *)&listener->server, NULL);
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
    if (listener == NULL)
        return;
    socket_file_done(&listener->file);
    free(listener);
}
