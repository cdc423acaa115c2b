/* The records of an audit log, one after the other, from its segments (docs/audit.md). Blocks; for
 * tools. Goes on while athd writes: what is not a whole line yet is not given. */
#ifndef PROTOCOL_AUDIT_READER_H
#define PROTOCOL_AUDIT_READER_H

#include "protocol/audit_line.h"

#define AUDIT_SEGMENT_NAME_SIZE 15 /* "00000001.jsonl" and the NUL */

struct audit_reader;

struct audit_record {
    struct ath_slice line; /* without its line feed; until the next call with this reader */
    uint32_t segment;      /* the number of its file */
    uint64_t offset;       /* of its first byte in that file */
};

/* dir: the log's ("audit" in a state directory); copied. Stands before the first record.
 * ATH_ERR_NOT_FOUND: no such directory; ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err audit_reader_open(const char *dir, struct why *why,
                          struct audit_reader **ret_reader) ATH_MUST_USE;
void audit_reader_free(struct audit_reader *reader); /* NULL is fine */

/* The next whole line; its content is not looked at. ATH_ERR_NOT_FOUND: there is none (yet: it may
 * be called again); ATH_ERR_PARSE (why, and ret_record's place): a segment that is followed by
 * another does not end with a line feed; ATH_ERR_LIMIT_EXCEEDED (the same): a line that is too
 * long; ATH_ERR_IO. */
ath_err audit_reader_next(struct audit_reader *reader, struct why *why,
                          struct audit_record *ret_record) ATH_MUST_USE;

/* Stands before record `index` afterwards; bisects, so that it reads little. ATH_ERR_NOT_FOUND:
 * it is not there (not yet or no more; why says it); ATH_ERR_PARSE: a line that is none is in the
 * way; ATH_ERR_IO. */
ath_err audit_reader_seek(struct audit_reader *reader, uint64_t index,
                          struct why *why) ATH_MUST_USE;

/* Looks for segments that were begun since; for who follows the log. ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err audit_reader_refresh(struct audit_reader *reader, struct why *why) ATH_MUST_USE;

/* At the end: bytes behind the last line feed, where they begin, and in which segment (0: there is
 * none). */
size_t audit_reader_torn(const struct audit_reader *reader, uint32_t *ret_segment,
                         uint64_t *ret_offset);

/* Numbers of the segments, ascending; they live as long as the reader is not refreshed. */
size_t audit_reader_segments(const struct audit_reader *reader, const uint32_t **ret_numbers);

void audit_segment_name(uint32_t number, char ret_name[AUDIT_SEGMENT_NAME_SIZE]);
/* ATH_ERR_PARSE for anything but 8 digits, not all zero, and ".jsonl". */
ath_err audit_segment_parse(const char *name, uint32_t *ret_number) ATH_MUST_USE;

#endif
