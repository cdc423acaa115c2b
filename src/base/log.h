/* The daemon's log: one line an event on stderr, "event=... key=value ...". Not the audit log. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "ath/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
bool log_level_parse(const char *text, enum log_level *ret_level); /* error warning info debug */
void log_set_name(const char *program);                            /* borrowed: a string literal */
void log_set_fd(int fd); /* instead of stderr; borrowed. Before there are threads. */

/* A line's text is made harmless (control characters become '?') and cut at 1,024 bytes. Of what
 * the values bring, `"` becomes `\"`, and in quotes of the format's `\` becomes `\\`. The format is
 * shorter than a line. */
void log_write(enum log_level level, const char *fmt, ...) ATH_PRINTF(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
