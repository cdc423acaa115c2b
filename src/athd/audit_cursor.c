#include "athd/audit_cursor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "athd/audit_line.h"
#include "base/fd.h"
#include "base/file.h"
#include "protocol/audit_reader.h"

/* A whole line, from wherever one begins to read. */
#define BUFFER_SIZE (2u * (AUDIT_LINE_MAX + 1))
#define NEAR BUFFER_SIZE /* so close lines are read one by one */

static ath_err
damaged(const struct audit_cursor *cursor, struct why *why)
{
    return why_set(why, ATH_ERR_PARSE,
                   "segment %08lu of the audit log is damaged at record %llu; ath audit verify",
                   (unsigned long)cursor->number, (unsigned long long)cursor->index);
}

static ath_err
open_segment(const char *dir, uint32_t number, struct why *why, int *ret_fd)
{
    char name[AUDIT_SEGMENT_NAME_SIZE];
    char *path;
    int fd;

    audit_segment_name(number, name);
    if ((path = file_path(dir, name)) == NULL)
        return ATH_ERR_NOMEM;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(path);
    if (fd < 0)
        return why_set(why, errno == ENOENT ? ATH_ERR_NOT_FOUND : ATH_ERR_IO,
                       "cannot open segment %s of the audit log: %s", name, strerror(errno));
    *ret_fd = fd;
    return ATH_OK;
}

/* Fills the buffer from `at` on, as far as the segment goes. */
static ath_err
read_at(struct audit_cursor *cursor, off_t at, struct why *why)
{
    ssize_t n;

    cursor->at = at;
    cursor->begin = cursor->len = 0;
    while (cursor->len < BUFFER_SIZE) {
        n = pread(cursor->fd, cursor->buffer + cursor->len, BUFFER_SIZE - cursor->len,
                  at + (off_t)cursor->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return why_set(why, ATH_ERR_IO, "cannot read segment %08lu of the audit log: %s",
                           (unsigned long)cursor->number, strerror(errno));
        if (n == 0)
            break;
        cursor->len += (size_t)n;
    }
    return ATH_OK;
}

/* The line at the buffer's beginning, or false. */
static bool
peek_line(const struct audit_cursor *cursor, struct ath_slice *ret_line)
{
    const uint8_t *begin = cursor->buffer + cursor->begin;
    const uint8_t *end =
        cursor->len == cursor->begin ? NULL : memchr(begin, '\n', cursor->len - cursor->begin);

    if (end == NULL)
        return false;
    *ret_line = ath_slice_of(begin, (size_t)(end - begin));
    return true;
}

static ath_err
move_to_segment(struct audit_cursor *cursor, uint32_t number, struct why *why)
{
    int fd;
    ath_err err = open_segment(cursor->dir, number, why, &fd);

    if (err != ATH_OK)
        return err;
    fd_close(&cursor->fd);
    cursor->fd = fd;
    cursor->number = number;
    return read_at(cursor, 0, why);
}

ath_err
audit_cursor_init(struct audit_cursor *cursor, const char *dir, const struct audit_span *span)
{
    *cursor = (struct audit_cursor){.dir = dir, .span = *span, .fd = -1};
    cursor->buffer = malloc(BUFFER_SIZE);
    return cursor->buffer == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

void
audit_cursor_set_span(struct audit_cursor *cursor, const struct audit_span *span)
{
    cursor->span = *span;
}

/* ---- one after the other ---- */

ath_err
audit_cursor_next(struct audit_cursor *cursor, struct why *why, struct ath_slice *ret_line)
{
    struct ath_slice line;
    uint64_t index;
    ath_err err;

    if (cursor->index >= cursor->span.size)
        return ATH_ERR_NOT_FOUND;
    while (!peek_line(cursor, &line)) {
        off_t rest = cursor->at + (off_t)cursor->begin;

        /* a buffer that holds no line from its beginning on: the end of the segment, or damage */
        if ((err = read_at(cursor, rest, why)) != ATH_OK)
            return err;
        if (peek_line(cursor, &line))
            break;
        if (cursor->len != 0 || cursor->number >= cursor->span.last)
            return damaged(cursor, why);
        if ((err = move_to_segment(cursor, cursor->number + 1, why)) != ATH_OK)
            return err == ATH_ERR_NOT_FOUND ? damaged(cursor, why) : err;
    }
    if (line.len > AUDIT_LINE_MAX || !audit_line_index(line, &index) || index != cursor->index)
        return damaged(cursor, why);
    cursor->begin += line.len + 1;
    cursor->index++;
    *ret_line = line;
    return ATH_OK;
}

/* ---- anywhere ---- */

ath_err
audit_cursor_first_index(const char *dir, uint32_t number, struct why *why, uint64_t *ret_index)
{
    uint8_t head[64];
    ssize_t n;
    int fd;
    ath_err err = open_segment(dir, number, why, &fd);

    if (err != ATH_OK)
        return err;
    n = pread(fd, head, sizeof(head), 0);
    fd_close(&fd);
    if (n == 0)
        return ATH_ERR_NOT_FOUND;
    if (n < 0 || !audit_line_index(ath_slice_of(head, (size_t)n), ret_index))
        return why_set(why, ATH_ERR_PARSE, "segment %08lu of the audit log begins with no record",
                       (unsigned long)number);
    return ATH_OK;
}

/* The segment that holds the record, by the first indexes of segments. */
static ath_err
find_segment(const struct audit_cursor *cursor, uint64_t index, struct why *why,
             uint32_t *ret_number)
{
    uint32_t low = cursor->span.first, high = cursor->span.last;
    uint64_t first;
    ath_err err;

    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;

        err = audit_cursor_first_index(cursor->dir, middle, why, &first);
        if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
            return err;
        if (err == ATH_ERR_NOT_FOUND || first > index)
            high = middle - 1;
        else
            low = middle;
    }
    *ret_number = low;
    return ATH_OK;
}

/* Moves to the first line that begins behind `at`. False: none does in what the buffer holds. */
static bool
skip_to_line(struct audit_cursor *cursor)
{
    const uint8_t *end = cursor->len == 0 ? NULL : memchr(cursor->buffer, '\n', cursor->len);

    if (end == NULL)
        return false;
    cursor->begin = (size_t)(end - cursor->buffer) + 1;
    return true;
}

/* Narrows [low, high) of the segment, where a line begins at low, until it is short. */
static ath_err
narrow(struct audit_cursor *cursor, uint64_t index, off_t high, struct why *why, off_t *ret_low)
{
    struct ath_slice line;
    off_t low = 0;
    uint64_t found;
    ath_err err;

    while (high - low > (off_t)NEAR) {
        off_t middle = low + (high - low) / 2;

        if ((err = read_at(cursor, middle, why)) != ATH_OK)
            return err;
        if (!skip_to_line(cursor) || !peek_line(cursor, &line)) {
            high = middle; /* the last line is one that is being written, or damage: read on */
            continue;
        }
        if (!audit_line_index(line, &found))
            return damaged(cursor, why);
        if (found > index)
            high = middle;
        else
            low = cursor->at + (off_t)cursor->begin;
    }
    *ret_low = low;
    return ATH_OK;
}

static ath_err
seek_in_segment(struct audit_cursor *cursor, uint64_t index, struct why *why)
{
    off_t size = lseek(cursor->fd, 0, SEEK_END), low = 0;
    struct ath_slice line;
    uint64_t found;
    ath_err err;

    if (size < 0)
        return why_set(why, ATH_ERR_IO, "cannot look at the audit log: %s", strerror(errno));
    if ((err = narrow(cursor, index, size, why, &low)) != ATH_OK ||
        (err = read_at(cursor, low, why)) != ATH_OK)
        return err;
    if (!peek_line(cursor, &line) || !audit_line_index(line, &found))
        return damaged(cursor, why);
    if (found > index)
        return ATH_ERR_NOT_FOUND;
    for (cursor->index = found; cursor->index < index;)
        if ((err = audit_cursor_next(cursor, why, &line)) != ATH_OK)
            return err;
    return ATH_OK;
}

ath_err
audit_cursor_seek(struct audit_cursor *cursor, uint64_t index, struct why *why)
{
    uint32_t number;
    ath_err err;

    if (index >= cursor->span.size)
        return ATH_ERR_NOT_FOUND;
    cursor->index = index;
    if ((err = find_segment(cursor, index, why, &number)) != ATH_OK ||
        (err = move_to_segment(cursor, number, why)) != ATH_OK)
        return err;
    return seek_in_segment(cursor, index, why);
}

void
audit_cursor_done(struct audit_cursor *cursor)
{
    fd_close(&cursor->fd);
    free(cursor->buffer);
    cursor->buffer = NULL;
}
