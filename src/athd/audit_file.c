#include "athd/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/audit_line.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "protocol/audit_reader.h"

#define DAMAGED_SUFFIX ".damaged"
#define TAIL_MAX (2u * 1024u * 1024u) /* more than one group of records */

static const struct json_limits record_limits = {TAIL_MAX, 32, 4096, JSON_INTEGERS};

static ath_err
fail(struct why *why, const char *what, const char *path)
{
    return why_set(why, ATH_ERR_IO, "%s %s: %s", what, path, strerror(errno));
}

/* ---- opening ---- */

static ath_err
read_tail(const struct audit_file *file, off_t begin, struct ath_buf *tail, struct why *why)
{
    size_t len = (size_t)(file->size - begin), done = 0;
    uint8_t *room = ath_buf_reserve(tail, len);

    if (room == NULL)
        return tail->err;
    while (done < len) {
        ssize_t n = pread(file->fd, room + done, len - done, begin + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(why, "cannot read", file->path);
        done += (size_t)n;
    }
    tail->len = len;
    return ATH_OK;
}

static bool
parse_index(struct ath_slice line, uint64_t *ret_index)
{
    struct json *record = NULL;
    int64_t index;
    bool good;

    if (json_parse(line, &record_limits, NULL, &record) != ATH_OK)
        return false;
    good = json_get_int(record, "index", &index) && index >= 0;
    if (good)
        *ret_index = (uint64_t)index;
    json_free(record);
    return good;
}

/* Where the last good record of the tail ends (behind its line feed), 0 if there is none; its
 * index. */
static size_t
last_record(struct ath_slice tail, uint64_t *ret_index)
{
    size_t end = tail.len, begin;

    while (end > 0) {
        if (tail.data[end - 1] != '\n') { /* cut off */
            end--;
            continue;
        }
        for (begin = end - 1; begin > 0 && tail.data[begin - 1] != '\n'; begin--)
            ;
        if (parse_index(ath_slice_of(tail.data + begin, end - 1 - begin), ret_index))
            return end;
        end = begin;
    }
    return 0;
}

/* Is this the record that must stand here? One below `covered` is not looked into: a checkpoint
 * tells of it. */
static bool
is_record(struct ath_slice line, uint64_t expected, uint64_t covered, uint64_t *ret_index)
{
    if (!audit_line_index(line, ret_index) ||
        (expected != AUDIT_INDEX_UNKNOWN && *ret_index != expected))
        return false;
    return *ret_index < covered || json_check_object(line, &record_limits, NULL) == ATH_OK;
}

/*
 * Power that fails while a group is written may leave its later blocks and not its first ones: a
 * hole with whole lines behind it. Nobody was answered for any of them, since all of a group is
 * synced before. Where the lines are not one record after the other, the log ends; but never
 * within what a checkpoint covers, which was synced: what is wrong there, somebody has done.
 * `expected`: the index of the first one, or AUDIT_INDEX_UNKNOWN.
 */
static size_t
first_hole(struct ath_slice lines, uint64_t expected, uint64_t covered, uint64_t *ret_next_index)
{
    size_t at = 0;

    while (at < lines.len) {
        const uint8_t *end = memchr(lines.data + at, '\n', lines.len - at);
        size_t len = end == NULL ? lines.len - at : (size_t)(end - lines.data) - at;
        uint64_t index;

        if (is_record(ath_slice_of(lines.data + at, len), expected, covered, &index)) {
            expected = index + 1;
        } else if (expected != AUDIT_INDEX_UNKNOWN && expected >= covered) {
            *ret_next_index = expected;
            return at;
        } else {
            expected = AUDIT_INDEX_UNKNOWN; /* what is told from here on is verify's */
        }
        at += len + 1;
    }
    return lines.len;
}

/* A beginning of a line, as a write that was cut off leaves it. */
static bool
is_cut_off_line(struct ath_slice rest)
{
    return rest.len > 0 && rest.data[0] == '{' && memchr(rest.data, '\n', rest.len) == NULL &&
           memchr(rest.data, '\0', rest.len) == NULL;
}

static ath_err
keep_damaged(const struct audit_file *file, struct ath_slice rest, struct why *why)
{
    struct ath_buf path = {0};
    ath_err err;

    ath_buf_printf(&path, "%s" DAMAGED_SUFFIX, file->path);
    err = ath_buf_text(&path) == NULL ? ATH_ERR_NOMEM
                                      : file_replace((const char *)path.data, rest, why);
    if (err == ATH_OK)
        log_warning(
            "event=audit reason=\"%zu bytes at the end of the log are no record; kept in %s\"",
            rest.len, (const char *)path.data);
    ath_buf_done(&path);
    return err;
}

/* When the segment was begun, for its age. One whose first line is no record has no age. */
static void
read_first_time(struct audit_file *file)
{
    uint8_t head[128];
    ssize_t n = pread(file->fd, head, sizeof(head), 0);

    if (n <= 0 || !audit_line_time(ath_slice_of(head, (size_t)n), file->first_time))
        file->first_time[0] = '\0';
}

static ath_err
cut(struct audit_file *file, struct ath_slice rest, struct why *why)
{
    ath_err err;

    if (rest.len == 0)
        return ATH_OK;
    file->torn = rest.len;
    file->is_torn_kept = !is_cut_off_line(rest);
    if (file->is_torn_kept && (err = keep_damaged(file, rest, why)) != ATH_OK)
        return err;
    if (ftruncate(file->fd, file->size) != 0 || fsync(file->fd) != 0)
        return fail(why, "cannot cut off the torn end of", file->path);
    return ATH_OK;
}

/* Finds the place behind the last good record: what follows it is *ret_rest of `tail`.
 * file->next_index is what the first record of the file must be, or AUDIT_INDEX_UNKNOWN.
 * ATH_ERR_NOT_FOUND: there is no record. */
static ath_err
find_end(struct audit_file *file, uint64_t covered, struct ath_buf *tail, struct why *why,
         struct ath_slice *ret_rest)
{
    off_t begin = file->size > (off_t)TAIL_MAX ? file->size - (off_t)TAIL_MAX : 0;
    uint64_t index = 0, expected = begin == 0 ? file->next_index : AUDIT_INDEX_UNKNOWN;
    size_t end, hole;
    ath_err err;

    if ((err = read_tail(file, begin, tail, why)) != ATH_OK)
        return err;
    end = last_record(ath_buf_slice(tail), &index);
    if (end == 0 && begin > 0)
        return why_set(why, ATH_ERR_IO, "%s: its last %u bytes hold no record; move it away",
                       file->path, TAIL_MAX);
    index++;
    hole = first_hole(ath_slice_of(tail->data, end), expected, covered, &index);
    file->size = begin + (off_t)hole;
    *ret_rest = ath_slice_of(tail->data + hole, tail->len - hole);
    if (hole == 0 && begin == 0)
        return ATH_ERR_NOT_FOUND;
    file->next_index = index;
    return ATH_OK;
}

static ath_err
open_fd(struct audit_file *file, int flags, struct why *why)
{
    struct stat st;

    file->fd = open(file->path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (file->fd < 0 || fstat(file->fd, &st) != 0)
        return fail(why, "cannot open", file->path);
    if (!S_ISREG(st.st_mode))
        return why_set(why, ATH_ERR_IO, "%s is not a regular file", file->path);
    file->size = st.st_size;
    return ATH_OK;
}

/* A new file's name is on disk before the first record is said to be. */
static ath_err
sync_dir(const char *dir, struct why *why)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ath_err err = ATH_OK;

    if (fd < 0)
        return fail(why, "cannot open", dir);
    if (fsync(fd) != 0)
        err = fail(why, "cannot sync", dir);
    fd_close(&fd);
    return err;
}

static ath_err
init(struct audit_file *file, const char *dir, uint32_t number)
{
    char name[AUDIT_SEGMENT_NAME_SIZE];

    *file = (struct audit_file){.fd = -1};
    audit_segment_name(number, name);
    file->path = file_path(dir, name);
    return file->path == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

ath_err
audit_file_open(struct audit_file *file, const char *dir, uint32_t number, uint64_t next_index,
                uint64_t covered, struct why *why)
{
    struct ath_buf tail = {.max = TAIL_MAX + 1};
    struct ath_slice rest = {0};
    ath_err err;

    if ((err = init(file, dir, number)) != ATH_OK ||
        (err = open_fd(file, O_RDWR | O_CREAT, why)) != ATH_OK ||
        (err = sync_dir(dir, why)) != ATH_OK)
        goto out;
    file->next_index = next_index;
    err = find_end(file, covered, &tail, why, &rest);
    if (err == ATH_ERR_NOT_FOUND && next_index == AUDIT_INDEX_UNKNOWN)
        file->next_index = 0;
    if (err == ATH_OK || err == ATH_ERR_NOT_FOUND)
        err = cut(file, rest, why);
    if (err == ATH_OK)
        read_first_time(file);
out:
    if (err != ATH_OK)
        audit_file_close(file);
    ath_buf_done(&tail);
    return err;
}

ath_err
audit_file_end(const char *dir, uint32_t number, struct why *why, uint64_t *ret_next_index)
{
    struct ath_buf tail = {.max = TAIL_MAX + 1};
    struct audit_file file;
    struct ath_slice rest;
    ath_err err;

    if ((err = init(&file, dir, number)) == ATH_OK &&
        (err = open_fd(&file, O_RDONLY, why)) == ATH_OK) {
        file.next_index = AUDIT_INDEX_UNKNOWN;
        err = find_end(&file, UINT64_MAX, &tail, why, &rest);
    }
    if (err == ATH_OK)
        *ret_next_index = file.next_index;
    audit_file_close(&file);
    ath_buf_done(&tail);
    return err;
}

/* ---- appending ---- */

static bool
write_at(int fd, struct ath_slice bytes, off_t at)
{
    while (bytes.len > 0) {
        ssize_t n = pwrite(fd, bytes.data, bytes.len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = ath_slice_of(bytes.data + n, bytes.len - (size_t)n);
        at += n;
    }
    return true;
}

ath_err
audit_file_append(struct audit_file *file, struct ath_slice lines, uint64_t count)
{
    struct stat st;

    if (lines.len == 0)
        return why_set(&file->why, ATH_ERR_IO, "out of memory");
    if (fstat(file->fd, &st) != 0)
        return fail(&file->why, "cannot look at", file->path);
    if (st.st_nlink == 0)
        return why_set(&file->why, ATH_ERR_IO, "%s was removed by somebody else", file->path);
    if (st.st_size < file->size)
        return why_set(&file->why, ATH_ERR_IO, "%s was cut by somebody else", file->path);
    /* what a failed append left must not come between the lines */
    if (st.st_size > file->size && ftruncate(file->fd, file->size) != 0)
        return fail(&file->why, "cannot mend", file->path);
    if (!write_at(file->fd, lines, file->size) || fdatasync(file->fd) != 0) {
        ath_err err = fail(&file->why, "cannot write", file->path);

        file->needs_mending = true;
        if (ftruncate(file->fd, file->size) != 0)
            log_debug("event=audit reason=\"a torn end stays until the next record\"");
        return err;
    }
    if (file->size == 0)
        (void)audit_line_time(lines, file->first_time);
    file->needs_mending = false; /* the sync was of the file's length, too */
    file->size += (off_t)lines.len;
    file->next_index += count;
    return ATH_OK;
}

ath_err
audit_file_mend(struct audit_file *file)
{
    if (!file->needs_mending)
        return ATH_OK;
    if (ftruncate(file->fd, file->size) != 0 || fsync(file->fd) != 0)
        return fail(&file->why, "cannot mend", file->path);
    file->needs_mending = false;
    return ATH_OK;
}

void
audit_file_close(struct audit_file *file)
{
    fd_close(&file->fd);
    free(file->path);
    file->path = NULL;
}
