#include "rpc/frame.h"

#include <string.h>

#include "rpc/rpc_limits.h"

/* Drops the lines that were taken; storage too when nothing is left. */
static void
drop_taken(struct frame_reader *reader)
{
    ath_buf_consume(&reader->buf, reader->begin);
    reader->begin = 0;
    if (reader->buf.len == 0)
        ath_buf_done(&reader->buf);
}

ath_err
frame_reader_feed(struct frame_reader *reader, struct ath_slice bytes)
{
    drop_taken(reader);
    /* an unfinished line with its CR, and what is new behind it */
    reader->buf.max = RPC_LINE_MAX + 1 + RPC_READ_CHUNK;
    ath_buf_put_slice(&reader->buf, bytes);
    return reader->buf.err;
}

/* The line [begin, end) without the CR before its LF. */
static struct ath_slice
take_line(struct frame_reader *reader, size_t end)
{
    const uint8_t *line = reader->buf.data + reader->begin;
    size_t len = end - reader->begin;

    reader->begin = end + 1;
    reader->scanned = 0;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    return ath_slice_of(line, len);
}

/* Where the next LF is; SIZE_MAX if there is none. */
static size_t
find_end(struct frame_reader *reader)
{
    size_t from = reader->begin + reader->scanned;
    const uint8_t *found = NULL;

    if (from < reader->buf.len)
        found = memchr(reader->buf.data + from, '\n', reader->buf.len - from);
    return found == NULL ? SIZE_MAX : (size_t)(found - reader->buf.data);
}

static ath_err
fail_too_long(struct frame_reader *reader)
{
    reader->spent = true;
    ath_buf_done(&reader->buf);
    reader->begin = reader->scanned = 0;
    return ATH_ERR_LIMIT_EXCEEDED;
}

ath_err
frame_reader_next(struct frame_reader *reader, struct ath_slice *ret_line)
{
    struct ath_slice line = {NULL, 0};
    size_t end;

    if (reader->spent)
        return ATH_ERR_LIMIT_EXCEEDED;
    while (line.len == 0 && (end = find_end(reader)) != SIZE_MAX)
        line = take_line(reader, end);
    if (line.len == 0) {
        reader->scanned = reader->buf.len - reader->begin;
        if (reader->scanned > RPC_LINE_MAX + 1)
            return fail_too_long(reader);
        if (reader->scanned == 0)
            drop_taken(reader);
        return ATH_ERR_NOT_FOUND;
    }
    if (line.len > RPC_LINE_MAX)
        return fail_too_long(reader);
    *ret_line = line;
    return ATH_OK;
}

bool
frame_reader_is_mid_line(const struct frame_reader *reader)
{
    return reader->buf.len > reader->begin;
}

void
frame_reader_done(struct frame_reader *reader)
{
    ath_buf_done(&reader->buf);
    *reader = (struct frame_reader){0};
}
