#include "protocol/audit_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"

#define CHUNK (1024u * 1024u)
#define FIRST_STEP 4096u /* read at once where only a line is wanted; doubles */
#define MAX_SEGMENTS 1000000u

struct audit_reader {
    char *dir;
    uint32_t *numbers; /* ascending */
    size_t count, cap;
    size_t current;  /* index in numbers of the one that is open */
    int fd;          /* -1: none is */
    uint64_t offset; /* in the file, of begin */
    uint8_t *chunk;
    size_t begin, end; /* what is read and not given */
    size_t step;       /* bytes to read at once */
};

void
audit_segment_name(uint32_t number, char ret_name[AUDIT_SEGMENT_NAME_SIZE])
{
    snprintf(ret_name, AUDIT_SEGMENT_NAME_SIZE, "%08u.jsonl", number % 100000000u);
}

ath_err
audit_segment_parse(const char *name, uint32_t *ret_number)
{
    char same[AUDIT_SEGMENT_NAME_SIZE];
    uint32_t number = 0;

    for (const char *at = name; at < name + 8; at++) {
        if (*at < '0' || *at > '9')
            return ATH_ERR_PARSE;
        number = number * 10 + (uint32_t)(*at - '0');
    }
    audit_segment_name(number, same);
    if (number == 0 || strcmp(name, same) != 0)
        return ATH_ERR_PARSE;
    *ret_number = number;
    return ATH_OK;
}

/* ---- which segments there are ---- */

static ath_err
add_segment(void *ctx, const char *name)
{
    struct audit_reader *reader = ctx;
    uint32_t number;

    if (audit_segment_parse(name, &number) != ATH_OK)
        return ATH_OK;
    if (reader->count == reader->cap) {
        size_t cap = reader->cap == 0 ? 16 : 2 * reader->cap;
        uint32_t *numbers;

        if (reader->count >= MAX_SEGMENTS)
            return ATH_ERR_LIMIT_EXCEEDED;
        if ((numbers = realloc(reader->numbers, cap * sizeof(*numbers))) == NULL)
            return ATH_ERR_NOMEM;
        reader->numbers = numbers;
        reader->cap = cap;
    }
    reader->numbers[reader->count++] = number;
    return ATH_OK;
}

static int
compare_numbers(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

ath_err
audit_reader_refresh(struct audit_reader *reader, struct why *why)
{
    uint32_t open = reader->fd >= 0 ? reader->numbers[reader->current] : 0;
    ath_err err;

    reader->count = 0;
    if ((err = file_each(reader->dir, ".jsonl", add_segment, reader, why)) != ATH_OK) {
        fd_close(&reader->fd);
        reader->count = 0;
        return err;
    }
    if (reader->count != 0)
        qsort(reader->numbers, reader->count, sizeof(*reader->numbers), compare_numbers);
    reader->current = 0;
    while (reader->current + 1 < reader->count && reader->numbers[reader->current] < open)
        reader->current++;
    if (open != 0 && (reader->count == 0 || reader->numbers[reader->current] != open)) {
        fd_close(&reader->fd); /* removed meanwhile: what comes behind it is next */
        reader->begin = reader->end = 0;
        reader->offset = 0;
    }
    return ATH_OK;
}

ath_err
audit_reader_open(const char *dir, struct why *why, struct audit_reader **ret_reader)
{
    struct audit_reader *reader = calloc(1, sizeof(*reader));
    ath_err err = ATH_ERR_NOMEM;

    if (reader == NULL)
        return ATH_ERR_NOMEM;
    reader->fd = -1;
    if ((reader->dir = ath_strdup(dir)) == NULL || (reader->chunk = malloc(CHUNK)) == NULL)
        goto out;
    if ((err = audit_reader_refresh(reader, why)) != ATH_OK)
        goto out;
    *ret_reader = reader;
    reader = NULL;
out:
    audit_reader_free(reader);
    return err;
}

void
audit_reader_free(struct audit_reader *reader)
{
    if (reader == NULL)
        return;
    fd_close(&reader->fd);
    free(reader->dir);
    free(reader->numbers);
    free(reader->chunk);
    free(reader);
}

size_t
audit_reader_segments(const struct audit_reader *reader, const uint32_t **ret_numbers)
{
    *ret_numbers = reader->numbers;
    return reader->count;
}

/* ---- lines ---- */

static ath_err
open_segment(struct audit_reader *reader, size_t current, struct why *why)
{
    char name[AUDIT_SEGMENT_NAME_SIZE];
    ath_err err = ATH_OK;
    char *path;

    fd_close(&reader->fd);
    reader->begin = reader->end = 0;
    reader->offset = 0;
    reader->step = FIRST_STEP;
    reader->current = current;
    audit_segment_name(reader->numbers[current], name);
    if ((path = file_path(reader->dir, name)) == NULL)
        return ATH_ERR_NOMEM;
    if ((reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) < 0)
        err = why_set(why, ATH_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    free(path);
    return err;
}

/* Reads more behind what is there. ATH_ERR_NOT_FOUND: end of file. */
static ath_err
fill(struct audit_reader *reader, struct why *why)
{
    size_t room;
    ssize_t n;

    if (reader->begin != 0) {
        memmove(reader->chunk, reader->chunk + reader->begin, reader->end - reader->begin);
        reader->end -= reader->begin;
        reader->begin = 0;
    }
    room = CHUNK - reader->end < reader->step ? CHUNK - reader->end : reader->step;
    do
        n = read(reader->fd, reader->chunk + reader->end, room);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return why_set(why, ATH_ERR_IO, "cannot read %08u.jsonl: %s",
                       reader->numbers[reader->current], strerror(errno));
    reader->end += (size_t)n;
    reader->step = reader->step < CHUNK / 2 ? 2 * reader->step : CHUNK;
    return n == 0 ? ATH_ERR_NOT_FOUND : ATH_OK;
}

/* A whole line of the open segment. ATH_ERR_NOT_FOUND: no line feed follows. */
static ath_err
next_line(struct audit_reader *reader, struct why *why, struct audit_record *ret_record)
{
    size_t looked_at = 0;
    const uint8_t *end;
    ath_err err;

    for (;;) {
        const uint8_t *begin = reader->chunk + reader->begin;
        size_t len = reader->end - reader->begin;

        ret_record->segment = reader->numbers[reader->current];
        ret_record->offset = reader->offset;
        end = memchr(begin + looked_at, '\n', len - looked_at);
        if (end != NULL ? (size_t)(end - begin) > AUDIT_LINE_MAX : len > AUDIT_LINE_MAX)
            return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "the line is longer than %u bytes",
                           AUDIT_LINE_MAX);
        if (end != NULL) {
            ret_record->line = ath_slice_of(begin, (size_t)(end - begin));
            reader->begin += ret_record->line.len + 1;
            reader->offset += ret_record->line.len + 1;
            return ATH_OK;
        }
        looked_at = len;
        if ((err = fill(reader, why)) != ATH_OK)
            return err;
    }
}

ath_err
audit_reader_next(struct audit_reader *reader, struct why *why, struct audit_record *ret_record)
{
    ath_err err;

    *ret_record = (struct audit_record){0};
    for (;;) {
        if (reader->count == 0)
            return ATH_ERR_NOT_FOUND;
        if (reader->fd < 0 && (err = open_segment(reader, reader->current, why)) != ATH_OK)
            return err;
        err = next_line(reader, why, ret_record);
        if (err != ATH_ERR_NOT_FOUND || reader->current + 1 == reader->count)
            return err;
        if (reader->begin != reader->end)
            return why_set(why, ATH_ERR_PARSE, "the last line has no line feed");
        if ((err = open_segment(reader, reader->current + 1, why)) != ATH_OK)
            return err;
    }
}

size_t
audit_reader_torn(const struct audit_reader *reader, uint32_t *ret_segment, uint64_t *ret_offset)
{
    *ret_segment = reader->count != 0 ? reader->numbers[reader->current] : 0;
    *ret_offset = reader->offset;
    return reader->end - reader->begin;
}

/* ---- finding one ---- */

static ath_err
stand_at(struct audit_reader *reader, uint64_t offset, struct why *why)
{
    if (lseek(reader->fd, (off_t)offset, SEEK_SET) < 0)
        return why_set(why, ATH_ERR_IO, "cannot seek: %s", strerror(errno));
    reader->begin = reader->end = 0;
    reader->offset = offset;
    reader->step = FIRST_STEP;
    return ATH_OK;
}

/* The first line that begins at or behind offset: its index and where it begins.
 * ATH_ERR_NOT_FOUND: none does. */
static ath_err
line_behind(struct audit_reader *reader, uint64_t offset, struct why *why, uint64_t *ret_index,
            uint64_t *ret_offset)
{
    struct audit_record record = {0};
    struct audit_line line;
    ath_err err;

    if ((err = stand_at(reader, offset == 0 ? 0 : offset - 1, why)) != ATH_OK)
        return err;
    if (offset != 0 && (err = next_line(reader, why, &record)) != ATH_OK)
        return err;
    if ((err = next_line(reader, why, &record)) != ATH_OK)
        return err;
    if ((err = audit_line_begin(record.line, why, &line)) != ATH_OK)
        return err;
    *ret_index = line.index;
    *ret_offset = record.offset;
    return ATH_OK;
}

/* The last segment whose first record is not behind index. */
static ath_err
seek_segment(struct audit_reader *reader, uint64_t index, struct why *why)
{
    size_t low = 0, high = reader->count;
    uint64_t first, offset;
    ath_err err;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if ((err = open_segment(reader, middle, why)) != ATH_OK)
            return err;
        err = line_behind(reader, 0, why, &first, &offset);
        if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
            return err;
        if (err == ATH_ERR_NOT_FOUND || first > index)
            high = middle;
        else
            low = middle;
    }
    return open_segment(reader, low, why);
}

/* Within the open segment: offset low begins a line that is not behind index. */
static ath_err
seek_line(struct audit_reader *reader, uint64_t index, struct why *why)
{
    off_t size = lseek(reader->fd, 0, SEEK_END);
    uint64_t low = 0, high = size > 0 ? (uint64_t)size : 0, found = 0, offset = 0;
    ath_err err = line_behind(reader, 0, why, &found, &offset);

    if (err != ATH_OK)
        return err;
    if (found > index)
        return ATH_ERR_NOT_FOUND;
    while (found != index) {
        uint64_t middle = low + (high - low) / 2, at_middle = 0, begin = 0;

        if (middle == low)
            return ATH_ERR_NOT_FOUND;
        err = line_behind(reader, middle, why, &at_middle, &begin);
        if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
            return err;
        if (err == ATH_ERR_NOT_FOUND || at_middle > index) {
            high = middle;
        } else {
            low = middle;
            found = at_middle;
            offset = begin;
        }
    }
    return stand_at(reader, offset, why);
}

ath_err
audit_reader_seek(struct audit_reader *reader, uint64_t index, struct why *why)
{
    ath_err err = ATH_ERR_NOT_FOUND;

    if (reader->count != 0 && (err = seek_segment(reader, index, why)) == ATH_OK)
        err = seek_line(reader, index, why);
    if (err == ATH_ERR_NOT_FOUND)
        err = why_set(why, err, "the log has no record %llu (not yet, or no more)",
                      (unsigned long long)index);
    return err;
}
