#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"

#define LINE_SIZE 1024

static enum log_level log_level = LOG_LEVEL_INFO;
static const char *log_name = NULL;

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
log_write(enum log_level level, const char *fmt, ...)
{
    char text[LINE_SIZE], line[LINE_SIZE + 64];
    va_list args;
    int len;

    if (level > log_level)
        return;
    va_start(args, fmt);
    len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (len < 0)
        return;
    utf8_make_harmless(text);
    len = snprintf(line, sizeof(line), "%.32s%s%s: %s\n", log_name == NULL ? "" : log_name,
                   log_name == NULL ? "" : ": ", level_names[level], text);
    /* one write, so that lines of several processes on one stderr do not mix; when stderr is gone
     * there is nobody left to tell */
    if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
        return;
}
