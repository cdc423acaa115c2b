#include "base/log.h"

#include <assert.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/utf8.h"

#define LINE_SIZE 1024

static enum log_level log_level = LOG_LEVEL_INFO;
static const char *log_name = NULL;
static int log_fd = STDERR_FILENO;
static atomic_uint lost; /* lines that nobody read in time */

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void
log_set_level(enum log_level level)
{
    log_level = level;
}

bool
log_level_parse(const char *text, enum log_level *ret_level)
{
    size_t i;

    for (i = 0; text != NULL && i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void
log_set_name(const char *program)
{
    log_name = program;
}

void
log_set_fd(int fd)
{
    log_fd = fd;
}

/* A terminal that was stopped, a pipe that nobody reads: whoever waits for those serves nobody. A
 * pipe that can be written to at all takes PIPE_BUF bytes (pipe(7)), which is more than a line. */
static bool
would_block(void)
{
    return fd_poll_now(log_fd, POLLOUT) == 0;
}

/* One write, so that lines of several processes on one stderr do not mix; when it is gone there
 * is nobody left to tell. */
static void
write_line(enum log_level level, const char *text)
{
    char line[LINE_SIZE + 64];
    int len = snprintf(line, sizeof(line), "%.32s%s%s: %s\n", log_name == NULL ? "" : log_name,
                       log_name == NULL ? "" : ": ", level_names[level], text);

    if (len > 0 && write(log_fd, line, (size_t)len) < 0)
        return;
}

static void
say_lost(unsigned count)
{
    char text[64];

    if (snprintf(text, sizeof(text), "event=log reason=\"%u lines were lost\"", count) > 0)
        write_line(LOG_LEVEL_WARNING, text);
}

/* No check of the format by the compiler: it has checked those of log_write's callers. */
static int (*const print)(char *text, size_t size, const char *fmt, va_list args) = vsnprintf;

/* What the values bring is escaped, so that none of them ends a reason="…" or begins another
 * member: the text is made twice, from a format with quotes and from one without, and a quote is
 * the format's own where they differ. */
static bool
print_escaped(char ret_text[LINE_SIZE], const char *fmt, va_list args)
{
    char bare_fmt[LINE_SIZE], text[LINE_SIZE], bare[LINE_SIZE];
    bool is_quoted = false, is_good;
    size_t in, out = 0;
    va_list again;

    assert(strlen(fmt) < sizeof(bare_fmt));
    for (in = 0; fmt[in] != '\0'; in++)
        bare_fmt[in] = (char)(fmt[in] == '"' ? '\'' : fmt[in]);
    bare_fmt[in] = '\0';
    va_copy(again, args);
    is_good = print(text, sizeof(text), fmt, args) >= 0 &&
              print(bare, sizeof(bare), bare_fmt, again) >= 0;
    va_end(again);
    for (in = 0; is_good && text[in] != '\0' && out < LINE_SIZE - 2; in++) {
        if (text[in] != bare[in])
            is_quoted = !is_quoted;
        else if (text[in] == '"' || (text[in] == '\\' && is_quoted))
            ret_text[out++] = '\\';
        ret_text[out++] = text[in];
    }
    ret_text[out] = '\0';
    return is_good;
}

void
log_write(enum log_level level, const char *fmt, ...)
{
    char text[LINE_SIZE];
    unsigned lost_count;
    va_list args;
    bool is_good;

    if (level > log_level)
        return;
    va_start(args, fmt);
    is_good = print_escaped(text, fmt, args);
    va_end(args);
    if (!is_good)
        return;
    utf8_make_harmless(text);
    if (would_block()) {
        atomic_fetch_add(&lost, 1);
        return;
    }
    if ((lost_count = atomic_exchange(&lost, 0)) > 0)
        say_lost(lost_count);
    write_line(level, text);
}
