#include "client/connection.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"

#define READ_STEP 65536u
#define TOO_LONG "athd's answer is longer than any that it may send"

void
connection_init(struct connection *connection)
{
    *connection = (struct connection){.fd = -1, .in = {.max = CONNECTION_UNREAD_MAX}};
}

void
connection_close(struct connection *connection)
{
    fd_close(&connection->fd);
    ath_buf_done(&connection->in);
    connection_init(connection);
}

static ath_err
lost(struct connection_failure *failure, const char *cause, const char *text)
{
    failure->cause = cause;
    snprintf(failure->text, sizeof(failure->text), "%s", text);
    return ATH_ERR_UNREACHABLE;
}

static ath_err
lost_connection(int error, struct connection_failure *failure)
{
    lost(failure, "closed", "athd ended the connection; its log says why");
    if (error != 0 && error != EPIPE && error != ECONNRESET)
        snprintf(failure->text, sizeof(failure->text), "the connection to athd broke: %s",
                 strerror(error));
    return ATH_ERR_UNREACHABLE;
}

/* Milliseconds for poll(2); 0: the deadline has passed. */
static int
time_left(uint64_t deadline_ms)
{
    uint64_t now;

    if (deadline_ms == CONNECTION_FOREVER)
        return -1;
    now = clock_monotonic_ms();
    if (now >= deadline_ms)
        return 0;
    return deadline_ms - now > INT_MAX ? INT_MAX : (int)(deadline_ms - now);
}

static ath_err
wait_for(const struct connection *connection, short events, uint64_t deadline_ms, short *ret_events,
         struct connection_failure *failure)
{
    struct pollfd entry = {.fd = connection->fd, .events = events};
    int n;

    if (connection->fd < 0)
        return lost(failure, "closed", "not connected to athd");
    do {
        n = poll(&entry, 1, time_left(deadline_ms));
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return lost_connection(errno, failure);
    if (n == 0)
        return lost(failure, "timeout", "athd did not answer in time");
    *ret_events = entry.revents;
    return ATH_OK;
}

/* One read of what is there; none is fine. */
static ath_err
read_some(struct connection *connection, struct connection_failure *failure)
{
    uint8_t *room = ath_buf_reserve(&connection->in, READ_STEP);
    ssize_t n;

    if (room == NULL)
        return connection->in.err == ATH_ERR_NOMEM ? ATH_ERR_NOMEM
                                                   : lost(failure, "failed", TOO_LONG);
    n = recv(connection->fd, room, READ_STEP, MSG_DONTWAIT);
    if (n == 0)
        return lost_connection(0, failure);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return ATH_OK;
    if (n < 0)
        return lost_connection(errno, failure);
    connection->in.len += (size_t)n;
    return ATH_OK;
}

ath_err
connection_write(struct connection *connection, struct ath_slice line, uint64_t deadline_ms,
                 struct connection_failure *ret_failure)
{
    ath_err err;

    while (line.len > 0) {
        short events = 0;
        ssize_t n = connection->fd < 0
                        ? 0
                        : send(connection->fd, line.data, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0) {
            line = ath_slice_of(line.data + n, line.len - (size_t)n);
            continue;
        }
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return ATH_OK; /* who reads the answer finds why athd went, where it said so, or that */
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return lost_connection(errno, ret_failure);
        err = wait_for(connection, POLLOUT | POLLIN, deadline_ms, &events, ret_failure);
        if (err == ATH_OK && (events & POLLIN) != 0)
            err = read_some(connection, ret_failure);
        if (err != ATH_OK)
            return err;
    }
    return ATH_OK;
}

/* The line that is complete in `in`, if there is one. */
static bool
take_line(struct connection *connection, struct ath_slice *ret_line)
{
    struct ath_buf *in = &connection->in;
    const uint8_t *end;

    if (in->len == connection->searched)
        return false;
    end = memchr(in->data + connection->searched, '\n', in->len - connection->searched);
    connection->searched = in->len;
    if (end == NULL)
        return false;
    *ret_line = ath_slice_of(in->data, (size_t)(end - in->data));
    connection->taken = ret_line->len + 1;
    if (ret_line->len > 0 && ret_line->data[ret_line->len - 1] == '\r')
        ret_line->len--;
    return true;
}

bool
connection_next_line(struct connection *connection, struct ath_slice *ret_line)
{
    if (connection->taken > 0) {
        ath_buf_consume(&connection->in, connection->taken);
        connection->taken = 0;
        connection->searched = 0;
    }
    return take_line(connection, ret_line);
}

ath_err
connection_fill(struct connection *connection, struct connection_failure *ret_failure)
{
    if (connection->fd < 0)
        return lost(ret_failure, "closed", "not connected to athd");
    if (connection->in.len - connection->taken > CONNECTION_LINE_MAX)
        return lost(ret_failure, "failed", TOO_LONG);
    return read_some(connection, ret_failure);
}

ath_err
connection_read(struct connection *connection, uint64_t deadline_ms, struct ath_slice *ret_line,
                struct connection_failure *ret_failure)
{
    ath_err err;

    while (!connection_next_line(connection, ret_line)) {
        short events;

        if (connection->in.len > CONNECTION_LINE_MAX)
            return lost(ret_failure, "failed", TOO_LONG);
        err = wait_for(connection, POLLIN, deadline_ms, &events, ret_failure);
        if (err == ATH_OK)
            err = read_some(connection, ret_failure);
        if (err != ATH_OK)
            return err;
    }
    return ATH_OK;
}
