#include "athd/connection_private.h"

#include "athd/athd.h"
#include "athd/batch.h"
#include "athd/consent.h"
#include "athd/listener.h"
#include "rpc/rpc_limits.h"

#define LOSE_EVENTS_AT 262144u /* unread bytes from which on events are lost */

int
connection_try_write(struct connection *connection)
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
    connection_handle_lines(connection);
}

void
connection_start_write(struct connection *connection)
{
    uv_buf_t buf = uv_buf_init((char *)connection->writing.data, (unsigned)connection->writing.len);

    connection->write.data = connection;
    connection->is_writing = true;
    if (uv_write(&connection->write, (uv_stream_t *)&connection->pipe, &buf, 1, on_written) != 0) {
        connection->is_writing = false;
        connection_close(connection);
    }
}

size_t
connection_backlog(const struct connection *connection)
{
    return connection->out.len + connection->writing.len;
}

size_t
connection_held(const struct connection *connection)
{
    return connection->reader.buf.len + connection->batched + connection_backlog(connection);
}

bool
connection_holds_too_much(const struct connection *connection)
{
    return connection_held(connection) >= CONNECTION_PAUSE_AT &&
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
    if (!connection->is_closing && connection_holds_too_much(connection))
        cut_off(connection);
}

/* What the socket does not take at once waits. */
static void
write_out(struct connection *connection)
{
    if (connection->is_closing || connection->is_writing)
        return;
    if (connection_try_write(connection) < 0) {
        connection_close(connection);
    } else if (connection->out.len > 0) {
        connection->writing = connection->out; /* ownership moves */
        connection->out = (struct ath_buf){0};
        connection_start_write(connection);
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

    if (connection_backlog(connection) >= RPC_WRITE_BACKLOG_MAX ||
        connection_holds_too_much(connection)) {
        cut_off(connection);
        return;
    }
    out->max = CONNECTION_ANSWER_MAX + RPC_WRITE_BACKLOG_MAX;
    ath_buf_put_slice(out, line);
    if (out->err != ATH_OK)
        connection_close(connection);
    else if (out->len >= CONNECTION_PAUSE_AT)
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
    if (connection_backlog(connection) < LOSE_EVENTS_AT)
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
