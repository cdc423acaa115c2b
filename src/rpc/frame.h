/* A stream of bytes into lines: one message a line, ended by LF, a CR before it tolerated. */
#ifndef RPC_FRAME_H
#define RPC_FRAME_H

#include "base/buf.h"

/* Zero-initialise, end with frame_reader_done. Its storage is given back whenever it is empty: an
 * idle connection costs none. */
struct frame_reader {
    struct ath_buf buf;
    size_t begin;   /* of the line that has not been taken yet */
    size_t scanned; /* bytes of it known to hold no LF */
    bool spent;     /* after a line that was too long */
};

/* Adds what was read, at most RPC_READ_CHUNK bytes; lines taken before are dropped, and their
 * slices with them. All lines must have been taken since the last call. ATH_ERR_NOMEM,
 * ATH_ERR_LIMIT_EXCEEDED (more than that). */
ath_err frame_reader_feed(struct frame_reader *reader, struct ath_slice bytes) ATH_MUST_USE;

/* The next line, without its end, valid until the next feed; empty lines are passed over.
 * ATH_ERR_NOT_FOUND: no whole line yet. ATH_ERR_LIMIT_EXCEEDED: the line is longer than
 * RPC_LINE_MAX; nothing that follows can be read, so the caller is answered and cut off. */
ath_err frame_reader_next(struct frame_reader *reader, struct ath_slice *ret_line) ATH_MUST_USE;

/* Part of a line is here (frame_reader_next has said ATH_ERR_NOT_FOUND): the rest has to come in
 * RPC_LINE_TIMEOUT_MS. */
bool frame_reader_is_mid_line(const struct frame_reader *reader);

void frame_reader_done(struct frame_reader *reader);

#endif
