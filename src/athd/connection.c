#include "athd/connection.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/batch.h"
#include "athd/consent.h"
#include "athd/dispatch.h"
#include "athd/listener.h"
#include "base/clock.h"
#include "rpc/rpc_limits.h"

#define PAUSE_AT 65536u        /* unread bytes from which on nothing more is read */
#define LOSE_EVENTS_AT 262144u /* unread bytes from which on events are lost */
#define TURN_US 5000u           /* of one uid, where athd serves several: the same */
#define CALLS_A_TURN 16u       /* carried out before others have their turn */

/* One for all: libuv reads into it and calls on_read at once, in the one thread there is. */
static char read_chunk[RPC_READ_CHUNK];

static void handle_lines(struct connection *connection);

/* ---- turns ---- */

static void
leave_turn(struct connection *connection)
{
    if (connection->waits_for_turn)
        TAILQ_REMOVE(&connection->tenant->turn.waiting, connection, of_turn);
    connection->waits_for_turn = false;
}

/* Those that waited longest go first, until their uid's time is over. */
static void
on_tenants_turn(void *ctx)
{
    struct tenant *tenant = ctx;
    struct connection *connection;

    tenant->turn.used_us = 0;
    while (tenant->turn.used_us < TURN_US &&
           (connection = TAILQ_FIRST(&tenant->turn.waiting)) != NULL) {
        leave_turn(connection);
        handle_lines(connection);
    }
    if (!TAILQ_EMPTY(&tenant->turn.waiting) && !tenant->turn.next.waiting)
        deferred_add(&tenant->athd->deferred, &tenant->turn.next, on_tenants_turn, tenant);
}

static void
on_next_turn(void *ctx)
{
    handle_lines(ctx);
}

static bool
has_turn(const struct connection *connection)
{
    return !connection->athd->config->is_system || connection->tenant->turn.used_us < TURN_US;
}

static void
wait_for_turn(struct connection *connection)
{
    struct tenant *tenant = connection->tenant;

    if (!connection->athd->config->is_system) {
        if (!connection->next_turn.waiting)
            deferred_add(&connection->athd->deferred, &connection->next_turn, on_next_turn,
                         connection);
        return;
    }
    if (!connection->waits_for_turn)
        TAILQ_INSERT_TAIL(&tenant->turn.waiting, connection, of_turn);
    connection->waits_for_turn = true;
    if (!tenant->turn.next.waiting)
        deferred_add(&tenant->athd->deferred, &tenant->turn.next, on_tenants_turn, tenant);
}

/* Where athd serves several uids, one with a thousand connections has no more of each turn than one
 * with a single one. */
static size_t
take_line(struct connection *connection, struct ath_slice line)
{
    bool is_timed = connection->athd->config->is_system;
    struct tenant *tenant = connection->tenant;
    uint64_t begun_us = is_timed ? clock_monotonic_us() : 0;
    size_t calls = dispatch_line(connection, line);

    if (!is_timed)
        return calls;
    tenant->turn.used_us += clock_monotonic_us() - begun_us + 1;
    if (!tenant->turn.next.waiting) /* which begins anew */
        deferred_add(&tenant->athd->deferred, &tenant->turn.next, on_tenants_turn, tenant);
    return calls;
}

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

/* What the socket takes at once of `out`, where nothing is before it. */
static int
try_write(struct connection *connection)
{
    uv_buf_t buf = uv_buf_init((char *)connection->out.data, (unsigned)connection->out.len);
    int sent;

    if (connection->is_writing || connection->out.len == 0)
        return 0;
    sent = uv_try_write((uv_stream_t *)&connection->pipe, &buf, 1);
    if (sent > 0 && (size_t)sent == connection->out.len)
        ath_buf_done(&connection->out);
    else if (sent > 0)
        ath_buf_consume(&connection->out, (size_t)sent);
    return sent == UV_EAGAIN ? 0 : sent;
}

void
connection_close(struct connection *connection)
{
    if (connection->is_closing)
        return;
    connection->is_closing = true;
    consent_leave(connection);
    (void)try_write(connection); /* answers of this turn, if it still reads */
    deferred_remove(&connection->athd->deferred, &connection->next_turn);
    leave_turn(connection);
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

/* A caller that only shut down its writing side still reads; one that is gone has hung up. */
static bool
has_hung_up(const struct connection *connection)
{
    struct pollfd poll_fd = {.fd = -1, .events = 0};

    if (uv_fileno((const uv_handle_t *)&connection->pipe, &poll_fd.fd) != 0)
        return true;
    return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
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

/* ---- writing ---- */

static void
on_written(uv_write_t *write, int status)
{
    struct connection *connection = write->data;

    connection->is_writing = false;
    ath_buf_done(&connection->writing);
    if (connection->is_closing)
        return;
    if (status != 0) {
        connection_close(connection);
        return;
    }
    if (connection->out.len > 0) {
        connection->writing = connection->out; /* ownership moves */
        connection->out = (struct ath_buf){0};
    }
    handle_lines(connection);
}

/* Starts writing `writing`. */
static void
start_write(struct connection *connection)
{
    uv_buf_t buf = uv_buf_init((char *)connection->writing.data, (unsigned)connection->writing.len);

    connection->write.data = connection;
    connection->is_writing = true;
    if (uv_write(&connection->write, (uv_stream_t *)&connection->pipe, &buf, 1, on_written) != 0) {
        connection->is_writing = false;
        connection_close(connection);
    }
}

static size_t
backlog(const struct connection *connection)
{
    return connection->out.len + connection->writing.len;
}

size_t
connection_held(const struct connection *connection)
{
    return connection->reader.buf.len + connection->batched + backlog(connection);
}

/* Looked at where one holds much: the little of many has its limit in their number. */
static bool
holds_too_much(const struct connection *connection)
{
    return connection_held(connection) >= PAUSE_AT &&
           listener_is_full_of(connection->athd->listener, connection->tenant);
}

static void
cut_off(struct connection *connection)
{
    log_warning("event=cut-off caller=%ld/%lu reason=answers-not-read",
                (long)connection->caller->pid, (unsigned long)connection->caller->uid);
    connection_close(connection);
}

void
connection_note_batched(struct connection *connection, size_t len)
{
    connection->batched += len;
    if (!connection->is_closing && holds_too_much(connection))
        cut_off(connection);
}

/* What the socket does not take at once waits. */
static void
write_out(struct connection *connection)
{
    if (connection->is_closing || connection->is_writing)
        return;
    if (try_write(connection) < 0) {
        connection_close(connection);
    } else if (connection->out.len > 0) {
        connection->writing = connection->out; /* ownership moves */
        connection->out = (struct ath_buf){0};
        start_write(connection);
    }
}

static void
on_turn_end(void *ctx)
{
    struct connection *connection = ctx;

    write_out(connection);
    if (!connection->is_closing && !connection->is_writing)
        connection_drain(connection);
}

/* Lines of one turn leave together: a wake-up of the caller for all of them. */
static void
send_line(struct connection *connection, struct ath_slice line)
{
    struct ath_buf *out = &connection->out;

    if (backlog(connection) >= RPC_WRITE_BACKLOG_MAX || holds_too_much(connection)) {
        cut_off(connection);
        return;
    }
    out->max = CONNECTION_ANSWER_MAX + RPC_WRITE_BACKLOG_MAX;
    ath_buf_put_slice(out, line);
    if (out->err != ATH_OK)
        connection_close(connection);
    else if (out->len >= PAUSE_AT)
        write_out(connection);
    else if (!connection->is_writing && !connection->turn_end.waiting)
        deferred_add_at_end(&connection->athd->deferred, &connection->turn_end, on_turn_end,
                            connection);
}

void
connection_send(struct connection *connection, struct ath_buf *line)
{
    ath_buf_put_byte(line, '\n');
    if (connection->is_closing || line->err != ATH_OK)
        return;
    send_line(connection, ath_buf_slice(line));
}

void
connection_send_or_lose(struct connection *connection, struct ath_slice line)
{
    if (connection->is_closing || connection->is_draining)
        return;
    if (backlog(connection) < LOSE_EVENTS_AT)
        send_line(connection, line);
    else
        consent_leave(connection); /* what it is not told it does not show to anybody */
}

void
connection_answer_error(struct connection *connection, struct batch *batch, const struct json *id,
                        ath_err err, const struct why *why)
{
    struct ath_buf line = {.max = CONNECTION_ANSWER_MAX};

    if (connection->tenant != NULL) /* else it was turned away */
        connection->tenant->counters.errors++;
    rpc_put_error(&line, id, err, why, NULL);
    if (line.err != ATH_OK)
        connection_close(connection); /* out of memory: rather no answer than half of one */
    else if (batch != NULL)
        batch_put(batch, connection, ath_buf_slice(&line));
    else
        connection_send(connection, &line);
    ath_buf_done(&line);
}

void
connection_refuse(struct connection *connection, ath_err err, const struct why *why)
{
    connection_stop_reading(connection);
    connection_answer_error(connection, NULL, NULL, err, why);
    connection_drain(connection);
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
    handle_lines(connection);
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
    if (err == ATH_OK && holds_too_much(connection))
        err = ATH_ERR_LIMIT_EXCEEDED;
    if (err != ATH_OK)
        connection_refuse(connection, err, NULL);
    else
        handle_lines(connection);
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
        if (backlog(connection) >= PAUSE_AT) {
            connection->is_paused = true;
            return;
        }
        if (calls >= CALLS_A_TURN || !has_turn(connection)) {
            wait_for_turn(connection);
            return;
        }
        if ((err = frame_reader_next(&connection->reader, &line)) != ATH_OK)
            break;
        calls += take_line(connection, line);
    }
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        refuse_long_line(connection);
    else if (err == ATH_ERR_NOT_FOUND && connection->is_ended)
        connection_stop_reading(connection);
}

/* After every change: start the next write, read or stop reading, drain. */
static void
handle_lines(struct connection *connection)
{
    connection->is_paused = false;
    if (!connection->is_writing && connection->writing.len > 0)
        start_write(connection);
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
    handle_lines(connection);
}
