/* The socket under a client: connecting with an explanation, lines out and in with a deadline. */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include "base/buf.h"

/* athd's answers end well below this: it cuts a connection off at 1 MiB unread. */
#define CONNECTION_LINE_MAX (2u * 1024u * 1024u)
/* What may come while a long call is being sent: the answers to all calls in flight. */
#define CONNECTION_UNREAD_MAX (64u * 1024u * 1024u)

struct connection {
    int fd;            /* -1: closed */
    struct ath_buf in; /* what came and is not yet a whole line */
    size_t searched;   /* bytes of `in` that hold no line feed */
    size_t taken;      /* bytes of `in` that the last line given out had */
};

/* Why there is no connection; cause is one of ath_client_connect's words. */
struct connection_failure {
    const char *cause;
    char text[512];
};

/* Never ends. */
#define CONNECTION_FOREVER UINT64_MAX

void connection_init(struct connection *connection);
void connection_close(struct connection *connection); /* wipes what was read; closed is fine */

/* ATH_ERR_UNREACHABLE with *ret_failure set. */
ath_err connection_open(struct connection *connection, const char *path,
                        struct connection_failure *ret_failure) ATH_MUST_USE;

/* Writes the whole line (which ends in its line feed), reading meanwhile, so that neither side can
 * wait for the other for ever. deadline_ms is of clock_monotonic_ms. ATH_ERR_UNREACHABLE with
 * *ret_failure set, ATH_ERR_NOMEM. Where athd has closed: ATH_OK, what it said last is still to be
 * read, and connection_read tells the end. */
ath_err connection_write(struct connection *connection, struct ath_slice line, uint64_t deadline_ms,
                         struct connection_failure *ret_failure) ATH_MUST_USE;

/* The next line without its line end, valid until the next call. Errors as connection_write. */
ath_err connection_read(struct connection *connection, uint64_t deadline_ms,
                        struct ath_slice *ret_line,
                        struct connection_failure *ret_failure) ATH_MUST_USE;

/* Reads once what is there, none is fine. ATH_ERR_UNREACHABLE with *ret_failure set (also where the
 * connection has ended), ATH_ERR_NOMEM. */
ath_err connection_fill(struct connection *connection,
                        struct connection_failure *ret_failure) ATH_MUST_USE;
/* A whole line of what was read, as connection_read gives it; false: there is none. */
bool connection_next_line(struct connection *connection, struct ath_slice *ret_line);

/* $ATH_AUTH_SOCK, $XDG_RUNTIME_DIR/ath/agent.sock, /run/ath/agent.sock: the first that is there,
 * else the first that could be. On the heap; NULL when out of memory. */
char *connection_default_path(void);

#endif
