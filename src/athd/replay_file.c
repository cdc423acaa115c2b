#include "athd/replay_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base64url.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"

#define MINUTE 60
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define SUFFIX ".log"
#define FILE_MAX (256u * 1024u * 1024u)
#define LINE_MAX_LEN 48u

int64_t
replay_file_span_end(int64_t expires_at, int64_t now)
{
    int64_t ahead = expires_at - now, span;

    if (ahead <= HOUR) /* nearly all: who floods with these must not make a file too long to read */
        span = 5 * MINUTE;
    else if (ahead <= DAY)
        span = HOUR;
    else if (ahead <= 32 * DAY)
        span = DAY;
    else if (ahead <= 1024 * DAY)
        span = 32 * DAY;
    else
        return 0; /* "until-0": never removed */
    return (expires_at + span - 1) / span * span;
}

static char *
path_of(const char *dir, int64_t span_end)
{
    char name[40];

    (void)snprintf(name, sizeof(name), "until-%" PRId64 SUFFIX, span_end);
    return file_path(dir, name);
}

/* ---- writing ---- */

static ath_err
sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ath_err err = fd >= 0 && fsync(fd) == 0 ? ATH_OK : ATH_ERR_IO;

    fd_close(&fd);
    return err;
}

static ath_err
append(int fd, struct ath_slice text)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return ATH_ERR_IO;
    if (fd_write_all(fd, text) == ATH_OK && fdatasync(fd) == 0)
        return ATH_OK;
    if (ftruncate(fd, st.st_size) != 0) /* else the next line would be torn, too */
        log_error("event=replay_truncate errno=%d", errno);
    return ATH_ERR_IO;
}

ath_err
replay_file_append(const char *dir, int64_t span_end, const struct replay_use *uses, size_t count)
{
    struct ath_buf text = {.max = count * LINE_MAX_LEN};
    char *path = path_of(dir, span_end);
    bool is_new;
    int fd = -1;
    ath_err err = ATH_ERR_NOMEM;

    for (size_t i = 0; i < count; i++) {
        base64url_put(&text, ath_slice_of(uses[i].id, REPLAY_ID_LEN));
        ath_buf_printf(&text, " %" PRId64 "\n", uses[i].expires_at);
    }
    if (path == NULL || (err = text.err) != ATH_OK)
        goto out;
    is_new = access(path, F_OK) != 0;
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    err = fd < 0 ? ATH_ERR_IO : append(fd, ath_buf_slice(&text));
    if (err == ATH_OK && is_new)
        err = sync_dir(dir);
out:
    fd_close(&fd);
    free(path);
    ath_buf_done(&text);
    return err;
}

/* ---- reading ---- */

struct loading {
    const char *dir;
    int64_t now;
    const struct replay_reader *reader; /* NULL: files are only removed */
};

static bool
span_end_of(const char *name, int64_t *ret_span_end)
{
    char *end;
    long long value;

    if (strncmp(name, "until-", 6) != 0)
        return false;
    errno = 0;
    value = strtoll(name + 6, &end, 10);
    *ret_span_end = value;
    return errno == 0 && end != name + 6 && strcmp(end, SUFFIX) == 0;
}

static bool
line_decode(struct ath_slice line, struct replay_use *ret_use)
{
    const size_t id_len = BASE64URL_LEN(REPLAY_ID_LEN);
    char digits[LINE_MAX_LEN];
    char *end;

    if (line.len <= id_len + 1 || line.len - id_len > sizeof(digits) || line.data[id_len] != ' ')
        return false;
    if (base64url_decode_exact(ath_slice_of(line.data, id_len), ret_use->id, REPLAY_ID_LEN) !=
        ATH_OK)
        return false;
    memcpy(digits, line.data + id_len + 1, line.len - id_len - 1);
    digits[line.len - id_len - 1] = '\0';
    errno = 0;
    ret_use->expires_at = strtoll(digits, &end, 10);
    return errno == 0 && *end == '\0' && digits[0] >= '0' && digits[0] <= '9';
}

/* What stays of a torn line would be the beginning of the next one. */
static void
cut_torn_line(const struct replay_reader *reader, const char *name, const char *path, size_t end)
{
    struct why why;
    ath_err err;

    log_warning("event=replay_torn_line file=%s", path);
    if (truncate(path, (off_t)end) == 0)
        return;
    err = why_set(&why, ATH_ERR_IO, "its torn last line cannot be cut off: %s", strerror(errno));
    reader->damaged(reader->ctx, name, err, &why);
}

static ath_err
load_text(const struct loading *loading, const char *name, const char *path, struct ath_slice text)
{
    const struct replay_reader *reader = loading->reader;
    size_t begin = 0, damaged = 0;
    struct replay_use use;
    const uint8_t *end;
    struct why why;
    ath_err err;

    while ((end = memchr(text.data + begin, '\n', text.len - begin)) != NULL) {
        size_t at = (size_t)(end - text.data);

        if (!line_decode(ath_slice_of(text.data + begin, at - begin), &use))
            damaged++;
        else if (use.expires_at > loading->now && (err = reader->each(reader->ctx, &use)) != ATH_OK)
            return err;
        begin = at + 1;
        if (begin == text.len)
            break;
    }
    if (damaged > 0) {
        err = why_set(&why, ATH_ERR_PARSE, "%zu lines cannot be read", damaged);
        reader->damaged(reader->ctx, name, err, &why);
    }
    if (begin < text.len)
        cut_torn_line(reader, name, path, begin);
    return ATH_OK;
}

static ath_err
read_file(const struct loading *loading, const char *name, const char *path)
{
    struct ath_buf text = {.max = FILE_MAX};
    struct why why = {""};
    ath_err err = file_read_own(path, &text, &why);

    if (err == ATH_OK && text.len > 0)
        err = load_text(loading, name, path, ath_buf_slice(&text));
    else if (err != ATH_OK && err != ATH_ERR_NOMEM) {
        loading->reader->damaged(loading->reader->ctx, name, err, &why);
        err = ATH_OK;
    }
    ath_buf_done(&text);
    return err;
}

static ath_err
load_file(void *ctx, const char *name)
{
    const struct loading *loading = ctx;
    int64_t span_end;
    char *path = file_path(loading->dir, name);
    ath_err err = path == NULL ? ATH_ERR_NOMEM : ATH_OK;

    if (err != ATH_OK || !span_end_of(name, &span_end))
        goto out;
    if (span_end != 0 && span_end <= loading->now) {
        (void)unlink(path);
        goto out;
    }
    if (loading->reader != NULL)
        err = read_file(loading, name, path);
out:
    free(path);
    return err;
}

ath_err
replay_file_load(const char *dir, int64_t now, const struct replay_reader *reader, struct why *why)
{
    struct loading loading = {dir, now, reader};

    return file_each(dir, SUFFIX, load_file, &loading, why);
}

void
replay_file_remove_ended(const char *dir, int64_t now)
{
    struct loading loading = {dir, now, NULL};

    (void)!file_each(dir, SUFFIX, load_file, &loading, NULL);
}
