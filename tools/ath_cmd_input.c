/* What an option's value stands for. */
#include "ath_cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONTENT_MAX (1024u * 1024u)

static ath_err
read_all(int fd, struct ath_buf *out)
{
    for (;;) {
        uint8_t *room = ath_buf_reserve(out, 16384);
        ssize_t n;

        if (room == NULL)
            return out->err;
        n = read(fd, room, 16384);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ATH_ERR_IO;
        if (n == 0)
            return ATH_OK;
        out->len += (size_t)n;
    }
}

static bool
is_directory(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static ath_err
read_file(const char *flag, const char *path, struct ath_buf *out)
{
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    ath_err err;

    if (fd < 0) {
        cmd_error("%s: cannot read %s: %s", flag, path, strerror(errno));
        return ATH_ERR_USAGE;
    }
    if (is_directory(fd)) {
        cmd_error("%s: cannot read %s: it is a directory", flag, path);
        close(fd);
        return ATH_ERR_USAGE;
    }
    if (fd == STDIN_FILENO && isatty(fd))
        fprintf(stderr, "(reading %s from the terminal; end with ctrl-D)\n", flag);
    err = read_all(fd, out);
    if (err != ATH_OK)
        cmd_error("%s: cannot read %s: %s", flag, path,
                  err == ATH_ERR_LIMIT_EXCEEDED ? "it is longer than 1 MiB"
                                                : ath_err_sentence(err));
    if (fd != STDIN_FILENO)
        close(fd);
    return err == ATH_OK ? ATH_OK : ATH_ERR_USAGE;
}

ath_err
cmd_input_read(const char *flag, const char *value, bool literal_allowed, struct ath_buf *out)
{
    out->max = CONTENT_MAX;
    if (strcmp(value, "-") == 0)
        return read_file(flag, "-", out);
    if (value[0] == '@')
        return read_file(flag, value + 1, out);
    if (!literal_allowed) {
        cmd_error("%s takes @FILE, or - for standard input: what stands on a command line, every "
                  "process can read",
                  flag);
        return ATH_ERR_USAGE;
    }
    /* no PEM text, token or JSON is the name of a file */
    if (value[0] != '\0' && access(value, F_OK) == 0) {
        cmd_error("%s: %s is a file; its content is taken with @%s", flag, value, value);
        return ATH_ERR_USAGE;
    }
    ath_buf_put_string(out, value);
    return out->err;
}

static int64_t
unit_seconds(const char *unit)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
    size_t i;

    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(unit, units[i].unit) == 0)
            return units[i].seconds;
    }
    return 0;
}

bool
cmd_input_duration(const char *text, int64_t *ret_seconds)
{
    char *end = NULL;
    long long number;
    int64_t unit;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    number = strtoll(text, &end, 10);
    unit = unit_seconds(end);
    if (errno != 0 || unit == 0 || number > INT64_C(4000000000) / unit)
        return false;
    *ret_seconds = number * unit;
    return true;
}

bool
cmd_input_time(const char *text, int64_t now, int64_t *ret_seconds)
{
    struct tm moment = {0};
    const char *end;
    int64_t from_now;

    if (text[0] == '+' || text[0] == '-') {
        if (!cmd_input_duration(text + 1, &from_now))
            return false;
        *ret_seconds = text[0] == '+' ? now + from_now : now - from_now;
        return true;
    }
    end = strptime(text, "%Y-%m-%d", &moment);
    if (end == NULL)
        return cmd_input_duration(text, ret_seconds) && strspn(text, "0123456789") == strlen(text);
    if (*end == 'T' && (end = strptime(end, "T%H:%M:%SZ", &moment)) == NULL)
        return false;
    if (*end != '\0')
        return false;
    *ret_seconds = (int64_t)timegm(&moment);
    return true;
}
