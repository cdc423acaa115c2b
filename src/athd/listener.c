#include "athd/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/connection.h"
#include "athd/grant.h"
#include "athd/socket_file.h"
#include "base/clock.h"
#include "base/fd.h"
#include "rpc/rpc_limits.h"

#define BACKLOG 1024
#define SWEEP_MS 200u
#define FAILURE_LOG_MS 1000u
#define ACCEPTS_A_TURN 16u /* libuv accepts as long as somebody waits, and nobody else has a turn  \
                            */

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
    int reserve;                /* a descriptor to close when there is none left */
    uint64_t failure_logged_ms; /* 0: never */
    struct deferred next_turn;
    bool is_sweeping;
    bool is_stopped;
    bool is_initialised; /* its timer is the loop's */
    LIST_HEAD(, connection) connections;
    size_t count;
};

/* ---- connections ---- */

static unsigned
count_of_uid(const struct listener *listener, uid_t uid, bool is_through_grants)
{
    const struct connection *connection;
    unsigned count = 0;

    LIST_FOREACH (connection, &listener->connections, entry)
        if (connection->caller->uid == uid &&
            (connection->caller->through != NULL) == is_through_grants)
            count++;
    return count;
}

unsigned
listener_connections_of(const struct listener *listener, const struct grant *grant)
{
    const struct connection *connection;
    unsigned count = 0;

    LIST_FOREACH (connection, &listener->connections, entry)
        if (connection->caller->through == grant)
            count++;
    return count;
}

/*
 * Where athd serves several uids, who has as many connections as there is room left for gets no
 * more: a few cannot take them all from the others. Half of the descriptors are for connections, a
 * socket and a pidfd each.
 */
static ath_err
check_room(const struct listener *listener, uid_t uid, struct why *why)
{
    size_t max = listener->athd->descriptors / 4;
    size_t room = listener->count < max ? max - listener->count : 0;
    size_t own = count_of_uid(listener, uid, false) + count_of_uid(listener, uid, true);

    if (!listener->athd->config->is_system || own <= room)
        return ATH_OK;
    return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                   "athd has %zu connections, %zu of them of uid %lu: there is no room for more",
                   listener->count, own, (unsigned long)uid);
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

/* Those of grants are counted apart: none of them takes the owner's place. */
static ath_err
admit_through(struct listener *listener, const struct listener_socket *socket,
              struct connection *connection, struct why *why)
{
    const struct caller *caller = connection->caller;

    if (caller->uid != socket->tenant->uid)
        return why_set(why, ATH_ERR_POLICY_DENIED, "this socket serves uid %lu only",
                       (unsigned long)socket->tenant->uid);
    if (listener_connections_of(listener, socket->grant) > GRANT_CONNECTIONS_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "the grant \"%s\" has %u connections already",
                       socket->grant->name, GRANT_CONNECTIONS_MAX);
    if (count_of_uid(listener, caller->uid, true) > RPC_CONNECTIONS_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "the grants of uid %lu have %u connections already",
                       (unsigned long)caller->uid, RPC_CONNECTIONS_MAX);
    connection->tenant = socket->tenant;
    return ATH_OK;
}

static ath_err
admit(struct listener *listener, const struct listener_socket *socket,
      struct connection *connection, struct why *why)
{
    struct caller *caller = connection->caller;
    ath_err err = check_room(listener, caller->uid, why);

    if (err != ATH_OK)
        return err;
    /* who starts more processes, or makes more grants, gets no larger share; 0 is athd's own */
    if (listener->athd->config->is_system)
        caller->lane = (uint64_t)caller->uid << 32 | (socket->grant == NULL ? 1 : 2);
    if (socket->grant != NULL)
        return admit_through(listener, socket, connection, why);
    if (listener->athd->config->is_system)
        caller->identity = caller->lane;
    if (count_of_uid(listener, caller->uid, false) > RPC_CONNECTIONS_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "uid %lu has %u connections already",
                       (unsigned long)caller->uid, RPC_CONNECTIONS_MAX);
    return tenant_of_caller(listener->athd, caller, why, &connection->tenant);
}

bool
listener_is_full_of(const struct listener *listener, const struct tenant *tenant)
{
    const struct connection *connection;
    size_t held = 0;

    if (!listener->athd->config->is_system)
        return false;
    LIST_FOREACH (connection, &listener->connections, entry)
        if (connection->tenant == tenant)
            held += connection_held(connection);
    return held > RPC_HELD_MAX;
}

static void on_next_turn(void *ctx);

/* Is it this one's turn? Whoever connects without end has no more than its part of each. */
static bool
may_accept(struct listener *listener)
{
    if (listener->accepted >= ACCEPTS_A_TURN)
        return false;
    if (listener->accepted++ == 0 && !listener->next_turn.waiting)
        deferred_add(&listener->athd->deferred, &listener->next_turn, on_next_turn, listener);
    return true;
}

/*
 * libuv has one descriptor to close when there is none left, and calls again and again, without an
 * end, when somebody else of this process took that one meanwhile (libuv 1.44, uv__server_io). So
 * there is another: the next accept(2) has room, and finds a caller or that nobody waits.
 */
static void
give_up_reserve(struct listener *listener)
{
    fd_close(&listener->reserve);
    if (!listener->next_turn.waiting)
        deferred_add(&listener->athd->deferred, &listener->next_turn, on_next_turn, listener);
}

/* Each of those who cannot be accepted would be a line. */
static void
log_failed(struct listener *listener, const char *reason)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (listener->failure_logged_ms != 0 && now_ms - listener->failure_logged_ms < FAILURE_LOG_MS)
        return;
    listener->failure_logged_ms = now_ms;
    log_warning("event=accept-failed reason=%s", reason);
}

static void
on_connection(uv_stream_t *server, int status)
{
    struct listener_socket *socket = server->data;
    struct listener *listener = socket->listener;
    struct connection *connection = NULL;
    struct why why = {{0}};
    ath_err err = ATH_ERR_IO;

    if (status == 0 && !may_accept(listener)) {
        socket->has_caller = true;
        return;
    }
    if (status == 0)
        err = connection_accept(listener->athd, server, socket->grant, &connection);
    if (err != ATH_OK) {
        listener->athd->counters.connections_refused++;
        log_failed(listener, status != 0 ? uv_err_name(status) : ath_err_sentence(err));
        if (status == UV_EMFILE || status == UV_ENFILE)
            give_up_reserve(listener);
        socket->has_caller = err == ATH_ERR_NOMEM;
        if (socket->has_caller)
            listener_want_sweep(listener);
        return;
    }
    LIST_INSERT_HEAD(&listener->connections, connection, entry);
    listener->count++;
    err = admit(listener, socket, connection, &why);
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

static bool
is_meant(const struct listener_audience *audience, const struct connection *connection)
{
    const struct grant *through = connection->caller->through;

    if (audience->tenant != NULL && audience->tenant != connection->tenant)
        return false;
    return through == NULL || through == audience->grant;
}

void
listener_publish(struct listener *listener, const struct listener_audience *audience,
                 unsigned topics, struct ath_slice line)
{
    struct connection *connection;

    /* connections are taken from the list by the loop only, so it does not change under us */
    LIST_FOREACH (connection, &listener->connections, entry)
        if ((connection->topics & topics) != 0 && is_meant(audience, connection))
            connection_send_or_lose(connection, line);
}

/* Who could not be accepted is tried once more. False: nobody waits any more. */
static bool
accept_again(struct listener *listener)
{
    struct listener_socket *socket;
    bool again = false;

    LIST_FOREACH (socket, &listener->sockets, entry) {
        if (!socket->has_caller || listener->is_stopped)
            continue;
        socket->has_caller = false;
        on_connection((uv_stream_t *)&socket->server, 0);
        again = again || socket->has_caller;
    }
    return again;
}

/* False: there is no descriptor for it; it is tried again. */
static bool
take_reserve(struct listener *listener)
{
    if (listener->reserve < 0 && !listener->is_stopped)
        listener->reserve = open("/", O_PATH | O_CLOEXEC);
    if (listener->reserve < 0 && !listener->is_stopped)
        listener_want_sweep(listener);
    return listener->reserve >= 0 || listener->is_stopped;
}

static void
on_next_turn(void *ctx)
{
    struct listener *listener = ctx;

    listener->accepted = 0;
    take_reserve(listener);
    (void)accept_again(listener);
}

static void
on_sweep(uv_timer_t *timer)
{
    struct listener *listener = timer->data;
    bool again = !take_reserve(listener);
    struct connection *connection;
    uint64_t now_ms = clock_monotonic_ms();

    again = accept_again(listener) || again;
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
        native = uv_listen((uv_stream_t *)&socket->server, BACKLOG, on_connection);
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
