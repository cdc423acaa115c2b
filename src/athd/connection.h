/*
 * One caller's connection: lines in, lines out, and the limits of docs/api.md, "Transport". It
 * never buffers without bound: while a caller does not read its answers nothing more is read from
 * it, and at RPC_WRITE_BACKLOG_MAX unread bytes it is cut off. An idle connection owns no buffer.
 */
#ifndef ATHD_CONNECTION_H
#define ATHD_CONNECTION_H

#include <sys/queue.h>

#include <uv.h>

#include "athd/caller.h"
#include "athd/deferred.h"
#include "athd/request.h"
#include "rpc/frame.h"

#define CONNECTION_ANSWER_MAX (16u * 1024u * 1024u) /* one answer, or one batch of them */

struct connection {
    struct athd *athd; /* borrowed: outlives its connections */
    struct caller *caller;
    struct tenant *tenant; /* whose things it works with; borrowed */
    unsigned topics;       /* 1 << enum event_topic; set by events.subscribe */
    bool attends;          /* consent.attend; set by consent_attend and consent_leave */
    bool attends_pins;     /* with a pinentry for PINs; likewise */
    LIST_ENTRY(connection) attending;

    /* private to connection*.c, request.c (requests, in_flight) and listener*.c (entry) */
    LIST_HEAD(, request) requests;
    unsigned in_flight;
    size_t batched; /* bytes of answers in batches that are not complete */
    LIST_ENTRY(connection) entry;
    uv_pipe_t pipe;
    uv_write_t write;
    struct frame_reader reader;
    uint64_t read_at_ms;       /* when the last bytes came */
    struct deferred next_turn; /* waits: there are more lines in `reader` */
    bool waits_for_turn;       /* the same, in its tenant's list */
    TAILQ_ENTRY(connection) of_turn;
    struct deferred turn_end; /* waits: `out` is to be written */
    struct ath_buf out;       /* behind `writing` */
    struct ath_buf writing;
    bool is_writing;
    bool is_paused;   /* the caller does not read */
    bool is_ended;    /* the caller has said all it will say */
    bool is_draining; /* ended or refused: closes when all is answered and written */
    bool is_closing;
};

/* Accepts the connection that waits at `server`, the socket of `grant` (NULL: the owner's).
 * ATH_ERR_NOMEM, ATH_ERR_IO: it is closed. */
ath_err connection_accept(struct athd *athd, uv_stream_t *server, struct grant *grant,
                          struct connection **ret_connection) ATH_MUST_USE;
void connection_start(struct connection *connection);
/* One error line, then the end. */
void connection_refuse(struct connection *connection, ath_err err, const struct why *why);

/* Adds the line end and sends; the buffer is emptied, and its storage may be taken. */
void connection_send(struct connection *connection, struct ath_buf *line);
/* Sends unless the caller is slow to read; then the line is lost. */
void connection_send_or_lose(struct connection *connection, struct ath_slice line);
/* An error that no request exists for; id may be NULL. In a batch it goes there. */
void connection_answer_error(struct connection *connection, struct batch *batch,
                             const struct json *id, ath_err err, const struct why *why);

/* No more calls are read; the answers of those under way are still sent. */
void connection_stop_reading(struct connection *connection);
/* Now. Requests under way lose their connection and are cancelled. */
void connection_close(struct connection *connection);
/* May the request's connection be given away: is nothing else on it, said or to be said?
 * ATH_ERR_INVALID_REQUEST with why. */
ath_err connection_check_alone(const struct request *request, struct why *why) ATH_MUST_USE;
/* A copy of its descriptor, the caller's, for another process: what comes from now on is not for
 * athd. ATH_ERR_NOMEM: no more descriptors. */
ath_err connection_copy_fd(const struct connection *connection, int *ret_fd) ATH_MUST_USE;
/* Closes it if it has only been waiting for answers and all are sent. Called when one was. */
void connection_drain(struct connection *connection);
/* Has a line begun and not gone on for too long; has the caller of an ended connection gone for
 * good? Called by the listener now and then while connection_wants_sweep. */
void connection_sweep(struct connection *connection, uint64_t now_ms);
bool connection_wants_sweep(const struct connection *connection);
/* Answers in a batch that is not complete; where its uid has too many, the connection is cut. */
void connection_note_batched(struct connection *connection, size_t len);
/* Bytes of what was read and of what waits to be written. */
size_t connection_held(const struct connection *connection);

#endif
