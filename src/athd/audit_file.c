#include "athd/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

#define FILE_NAME "00000001.jsonl"
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
    if (ath_buf_text(&path) == NULL)
        return ATH_ERR_NOMEM;
    err = file_replace((const char *)path.data, rest, why);
    log_warning("event=audit reason=\"%zu bytes at the end of the log are no record; kept in %s\"",
                rest.len, (const char *)path.data);
    ath_buf_done(&path);
    return err;
}

/* Finds the place behind the last good record and cuts off what follows. */
static ath_err
find_end(struct audit_file *file, struct why *why)
{
    off_t begin = file->size > (off_t)TAIL_MAX ? file->size - (off_t)TAIL_MAX : 0;
    struct ath_buf tail = {.max = TAIL_MAX + 1};
    struct ath_slice rest;
    uint64_t index = 0;
    size_t end;
    ath_err err;

    if ((err = read_tail(file, begin, &tail, why)) != ATH_OK)
        goto out;
    end = last_record(ath_buf_slice(&tail), &index);
    if (end == 0 && begin > 0) {
        err = why_set(why, ATH_ERR_IO, "%s: its last %u bytes hold no record; move it away",
                      file->path, TAIL_MAX);
        goto out;
    }
    file->next_index = end == 0 ? 0 : index + 1;
    rest = ath_slice_of(tail.data + end, tail.len - end);
    if (rest.len > 0 && !is_cut_off_line(rest) && (err = keep_damaged(file, rest, why)) != ATH_OK)
        goto out;
    if (rest.len > 0 && (ftruncate(file->fd, begin + (off_t)end) != 0 || fsync(file->fd) != 0))
        err = fail(why, "cannot cut off the torn end of", file->path);
    file->size = begin + (off_t)end;
out:
    ath_buf_done(&tail);
    return err;
}

static ath_err
open_file(struct audit_file *file, const char *dir, struct why *why)
{
    struct stat st;
    int dir_fd;

    file->fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (file->fd < 0 || fstat(file->fd, &st) != 0)
        return fail(why, "cannot open", file->path);
    if (!S_ISREG(st.st_mode))
        return why_set(why, ATH_ERR_IO, "%s is not a regular file", file->path);
    file->size = st.st_size;
    /* a new file's name is on disk before the first record is said to be */
    if ((dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return fail(why, "cannot open", dir);
    if (fsync(dir_fd) != 0) {
        fd_close(&dir_fd);
        return fail(why, "cannot sync", dir);
    }
    fd_close(&dir_fd);
    return ATH_OK;
}

ath_err
audit_file_open(struct audit_file *file, const char *dir, struct why *why)
{
    ath_err err;

    *file = (struct audit_file){.fd = -1};
    if ((err = file_make_private_dir(dir, why)) != ATH_OK)
        return err;
    if ((file->path = file_path(dir, FILE_NAME)) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = open_file(file, dir, why)) == ATH_OK)
        err = find_end(file, why);
    if (err != ATH_OK)
        audit_file_close(file);
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
    if (st.st_size < file->size)
        return why_set(&file->why, ATH_ERR_IO, "%s was cut by somebody else", file->path);
    /* what a failed append left must not come between the lines */
    if (st.st_size > file->size && ftruncate(file->fd, file->size) != 0)
        return fail(&file->why, "cannot mend", file->path);
    if (!write_at(file->fd, lines, file->size) || fdatasync(file->fd) != 0) {
        ath_err err = fail(&file->why, "cannot write", file->path);

        if (ftruncate(file->fd, file->size) != 0)
            log_debug("event=audit reason=\"a torn end stays until the next record\"");
        return err;
    }
    file->size += (off_t)lines.len;
    file->next_index += count;
    return ATH_OK;
}

void
audit_file_close(struct audit_file *file)
{
    fd_close(&file->fd);
    free(file->path);
    file->path = NULL;
}
