/* What the parts of the audit log agree on about a line: {"index":N,"timestamp":"...",...} LF. */
#ifndef ATHD_AUDIT_LINE_H
#define ATHD_AUDIT_LINE_H

#include "base/buf.h"
#include "base/clock.h"

#define AUDIT_LINE_MAX 65535u /* bytes without the line feed: an entry of a tlog-tiles bundle */

/* The index of a line without its line feed; false: it does not begin as every record does. Looks
 * at the beginning only. */
bool audit_line_index(struct ath_slice line, uint64_t *ret_index);
/* Its timestamp; false: it has none where records have it. */
bool audit_line_time(struct ath_slice line, char ret_text[CLOCK_TEXT_SIZE]);
/* `at` (seconds since 1970) as records write it, to be compared with them byte by byte. */
void audit_time_text(int64_t at, char ret_text[CLOCK_TEXT_SIZE]);

#endif
