#include "athd/listener_private.h"

#include <fcntl.h>

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/connection.h"
#include "athd/grant.h"
#include "base/clock.h"
#include "base/fd.h"
#include "rpc/rpc_limits.h"

#define SWEEP_MS 200u
#define FAILURE_LOG_MS 1000u
/* libuv accepts as long as somebody waits, and nobody else has a turn */
#define ACCEPTS_A_TURN 16u

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

void
listener_on_connection(uv_stream_t *server, int status)
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
        listener_on_connection((uv_stream_t *)&socket->server, 0);
        again = again || socket->has_caller;
    }
    return again;
}

static void
on_next_turn(void *ctx)
{
    struct listener *listener = ctx;

    listener->accepted = 0;
    (void)take_reserve(listener);
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
