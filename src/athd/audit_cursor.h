/* Reads records from the segments, from any index on, in a thread that may block, while others are
 * appended. Holds one buffer, however long the log is. */
#ifndef ATHD_AUDIT_CURSOR_H
#define ATHD_AUDIT_CURSOR_H

#include "athd/audit_segments.h"

struct audit_cursor {
    const char *dir; /* borrowed */
    struct audit_span span;
    uint32_t number; /* the segment that is read */
    int fd;
    uint64_t index; /* of the record that comes next */
    off_t at;       /* in the segment: where the buffer was read from */
    uint8_t *buffer;
    size_t begin, len; /* what of it has not been given yet */
};

/* ATH_ERR_NOMEM. audit_cursor_done is always fine. */
ath_err audit_cursor_init(struct audit_cursor *cursor, const char *dir,
                          const struct audit_span *span) ATH_MUST_USE;
/* More records have come, or segments gone. */
void audit_cursor_set_span(struct audit_cursor *cursor, const struct audit_span *span);

/* Goes to record `index`. Takes reads in proportion to the logarithm of the log. ATH_ERR_NOT_FOUND:
 * it is before the first segment that is still there, or not written yet; ATH_ERR_IO;
 * ATH_ERR_PARSE: the segments are not as they were written (why says which). */
ath_err audit_cursor_seek(struct audit_cursor *cursor, uint64_t index,
                          struct why *why) ATH_MUST_USE;
/* The next record, without its line feed; valid until the next call. ATH_ERR_NOT_FOUND at the end;
 * else as seek. */
ath_err audit_cursor_next(struct audit_cursor *cursor, struct why *why,
                          struct ath_slice *ret_line) ATH_MUST_USE;
void audit_cursor_done(struct audit_cursor *cursor);

/* Index of the first record of segment `number`. ATH_ERR_NOT_FOUND: it has none. */
ath_err audit_cursor_first_index(const char *dir, uint32_t number, struct why *why,
                                 uint64_t *ret_index) ATH_MUST_USE;

#endif
