#include "athd/connection.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "athd/athd.h"
#include "athd/connection_private.h"
#include "athd/consent.h"
#include "athd/listener.h"
#include "base/clock.h"
#include "base/fd.h"
#include "rpc/rpc_limits.h"

#define CALLS_A_TURN 16u /* carried out before others have their turn */

/* One for all: libuv reads into it and calls on_read at once, in the one thread there is. */
static char read_chunk[RPC_READ_CHUNK];

/* ---- the end ---- */

static void
on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    listener_remove(connection->athd->listener, connection);
    frame_reader_done(&connection->reader);
    ath_buf_done(&connection->out);
    ath_buf_done(&connection->writing);
    caller_free(connection->caller);
    free(connection);
}

/* All at once lose the connection, then each is cancelled: a cancel may end others' work. */
static void
drop_requests(struct connection *connection)
{
    LIST_HEAD(, request) dropped = LIST_HEAD_INITIALIZER(dropped);
    struct request *request;

    while ((request = LIST_FIRST(&connection->requests)) != NULL) {
        LIST_REMOVE(request, of_connection);
        LIST_INSERT_HEAD(&dropped, request, of_connection);
        request->connection = NULL;
    }
    while ((request = LIST_FIRST(&dropped)) != NULL) {
        LIST_REMOVE(request, of_connection);
        request->is_of_connection = false;
        request_cancel(request, ATH_ERR_CONSENT_TIMEOUT);
    }
}

void
connection_close(struct connection *connection)
{
    if (connection->is_closing)
        return;
    connection->is_closing = true;
    consent_leave(connection);
    (void)connection_try_write(connection); /* answers of this turn, if it still reads */
    deferred_remove(&connection->athd->deferred, &connection->next_turn);
    connection_leave_turn(connection);
    deferred_remove(&connection->athd->deferred, &connection->turn_end);
    uv_close((uv_handle_t *)&connection->pipe, on_closed);
    drop_requests(connection);
}

void
connection_drain(struct connection *connection)
{
    if (connection->is_draining && connection->in_flight == 0 && !connection->is_writing &&
        connection->out.len == 0 && !connection->is_paused)
        connection_close(connection);
}

void
connection_refuse(struct connection *connection, ath_err err, const struct why *why)
{
    connection_stop_reading(connection);
    connection_answer_error(connection, NULL, NULL, err, why);
    connection_drain(connection);
}

/* A caller that only shut down its writing side still reads; one that is gone has hung up. */
static bool
has_hung_up(const struct connection *connection)
{
    int fd = -1;

    return uv_fileno((const uv_handle_t *)&connection->pipe, &fd) != 0 || fd_poll_now(fd, 0) != 0;
}

bool
connection_wants_sweep(const struct connection *connection)
{
    return connection->is_draining || frame_reader_is_mid_line(&connection->reader);
}

void
connection_sweep(struct connection *connection, uint64_t now_ms)
{
    struct why why;

    if (connection->is_closing)
        return;
    if (connection->is_draining) {
        if (has_hung_up(connection))
            connection_close(connection);
    } else if (!connection->is_paused && frame_reader_is_mid_line(&connection->reader) &&
               now_ms - connection->read_at_ms >= RPC_LINE_TIMEOUT_MS) {
        why_set(&why, ATH_ERR_LIMIT_EXCEEDED, "a line was begun and not ended within %u seconds",
                RPC_LINE_TIMEOUT_MS / 1000);
        connection_refuse(connection, ATH_ERR_LIMIT_EXCEEDED, &why);
    }
}

/* ---- reading ---- */

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)handle;
    (void)suggested;
    *ret_buf = uv_buf_init(read_chunk, sizeof(read_chunk));
}

/* The caller has ended its side. A last line without line end counts. */
static void
on_end(struct connection *connection)
{
    if (connection->is_ended)
        return;
    connection->is_ended = true;
    uv_read_stop((uv_stream_t *)&connection->pipe);
    if (has_hung_up(connection)) {
        connection_close(connection);
        return;
    }
    if (frame_reader_is_mid_line(&connection->reader) &&
        frame_reader_feed(&connection->reader, ath_slice_of_string("\n")) != ATH_OK) {
        connection_close(connection);
        return;
    }
    connection_handle_lines(connection);
}

static void
on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct connection *connection = stream->data;
    ath_err err;

    if (len == 0 || connection->is_closing)
        return;
    if (len < 0) {
        on_end(connection);
        return;
    }
    connection->read_at_ms = clock_monotonic_ms();
    err = frame_reader_feed(&connection->reader, ath_slice_of(buf->base, (size_t)len));
    explicit_bzero(buf->base, (size_t)len);
    if (err == ATH_OK && connection_holds_too_much(connection))
        err = ATH_ERR_LIMIT_EXCEEDED;
    if (err != ATH_OK)
        connection_refuse(connection, err, NULL);
    else
        connection_handle_lines(connection);
}

void
connection_stop_reading(struct connection *connection)
{
    if (connection->is_closing)
        return;
    uv_read_stop((uv_stream_t *)&connection->pipe);
    frame_reader_done(&connection->reader);
    connection->is_draining = true;
    connection->is_paused = false;
    listener_want_sweep(connection->athd->listener);
}

static void
refuse_long_line(struct connection *connection)
{
    struct why why;

    why_set(&why, ATH_ERR_LIMIT_EXCEEDED, "a line is longer than %u bytes", RPC_LINE_MAX);
    connection_refuse(connection, ATH_ERR_LIMIT_EXCEEDED, &why);
}

/* Carries out lines until there are no more, answers pile up, or it is somebody else's turn. */
static void
take_lines(struct connection *connection)
{
    struct ath_slice line;
    ath_err err = ATH_OK;
    size_t calls = 0;

    while (!connection->is_closing && !connection->is_draining) {
        if (connection_backlog(connection) >= CONNECTION_PAUSE_AT) {
            connection->is_paused = true;
            return;
        }
        if (calls >= CALLS_A_TURN || !connection_has_turn(connection)) {
            connection_wait_for_turn(connection);
            return;
        }
        if ((err = frame_reader_next(&connection->reader, &line)) != ATH_OK)
            break;
        calls += connection_take_line(connection, line);
    }
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        refuse_long_line(connection);
    else if (err == ATH_ERR_NOT_FOUND && connection->is_ended)
        connection_stop_reading(connection);
}

void
connection_handle_lines(struct connection *connection)
{
    connection->is_paused = false;
    if (!connection->is_writing && connection->writing.len > 0)
        connection_start_write(connection);
    take_lines(connection);
    if (connection->is_closing)
        return;
    if (connection->is_paused || connection->is_ended || connection->is_draining ||
        connection->next_turn.waiting || connection->waits_for_turn)
        uv_read_stop((uv_stream_t *)&connection->pipe);
    else
        uv_read_start((uv_stream_t *)&connection->pipe, on_alloc, on_read);
    if (connection_wants_sweep(connection))
        listener_want_sweep(connection->athd->listener);
    connection_drain(connection);
}

/* ---- giving it away ---- */

/* Whoever says more before it has the answer would say it to whoever has the connection then. */
static bool
has_more(const struct connection *connection, int fd)
{
    char byte;

    /* looked at, not taken: whoever is refused for it has its answer to that, too */
    return frame_reader_is_mid_line(&connection->reader) ||
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || connection->is_ended;
}

ath_err
connection_check_alone(const struct request *request, struct why *why)
{
    const struct connection *connection = request->connection;
    uv_os_fd_t fd;

    if (connection == NULL || request->batch != NULL || request->is_notification ||
        connection->in_flight != 1 || connection->topics != 0 || connection->attends ||
        connection->is_closing || connection->is_draining || connection_backlog(connection) > 0)
        return why_set(why, ATH_ERR_INVALID_REQUEST,
                       "%s is a connection's only request under way, neither in a batch nor a "
                       "notification, and the connection gets no events",
                       request->method->name);
    if (uv_fileno((const uv_handle_t *)&connection->pipe, &fd) != 0 || has_more(connection, fd))
        return why_set(why, ATH_ERR_INVALID_REQUEST,
                       "%s is a connection's last request: say nothing more, and do not end it, "
                       "before its answer",
                       request->method->name);
    return ATH_OK;
}

ath_err
connection_copy_fd(const struct connection *connection, int *ret_fd)
{
    uv_os_fd_t fd;
    int copy;

    if (uv_fileno((const uv_handle_t *)&connection->pipe, &fd) != 0 ||
        (copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return ATH_ERR_NOMEM;
    *ret_fd = copy;
    return ATH_OK;
}

/* ---- the beginning ---- */

static void
on_unused_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static ath_err
accept_caller(uv_stream_t *server, struct connection *connection)
{
    uv_os_fd_t fd;

    if (uv_accept(server, (uv_stream_t *)&connection->pipe) != 0 ||
        uv_fileno((uv_handle_t *)&connection->pipe, &fd) != 0)
        return ATH_ERR_IO;
    return caller_of_socket(fd, &connection->caller);
}

ath_err
connection_accept(struct athd *athd, uv_stream_t *server, struct grant *grant,
                  struct connection **ret_connection)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    ath_err err;

    if (connection == NULL)
        return ATH_ERR_NOMEM;
    if (uv_pipe_init(athd->loop, &connection->pipe, 0) != 0) {
        free(connection);
        return ATH_ERR_NOMEM;
    }
    connection->athd = athd;
    connection->pipe.data = connection;
    LIST_INIT(&connection->requests);
    if ((err = accept_caller(server, connection)) != ATH_OK) {
        uv_close((uv_handle_t *)&connection->pipe, on_unused_closed);
        return err;
    }
    if (grant != NULL)
        caller_set_grant(connection->caller, grant);
    *ret_connection = connection;
    return ATH_OK;
}

void
connection_start(struct connection *connection)
{
    connection->read_at_ms = clock_monotonic_ms();
    connection_handle_lines(connection);
}
