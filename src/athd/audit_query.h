/*
 * Records looked up on disk: a step at a time, for a thread that may block, so that nobody else
 * waits behind a long log and no more of it is in memory than the answer.
 */
#ifndef ATHD_AUDIT_QUERY_H
#define ATHD_AUDIT_QUERY_H

#include <sys/types.h>

#include "athd/audit_cursor.h"
#include "base/json.h"

#define AUDIT_QUERY_BYTES_MAX 196608u /* of the records of one answer */

/* What a record must have; NULL and false: anything. Borrowed. */
struct audit_filter {
    const char *event;
    const char *key;       /* a key's name, or its thumbprint */
    const char *handshake; /* b64u(T5), or the handshake_id that it has at this side */
    const char *trace_id;  /* 32 hexadecimal digits */
    const char *caller;    /* uid, executable (path or last name), unit or grant */
    bool has_owner;        /* only what this uid may see: its own, and athd's */
    uid_t owner;
    bool has_since, has_until;
    int64_t since, until; /* seconds since 1970; until is not included */
};

struct audit_query {
    struct audit_cursor cursor;
    struct audit_filter filter;
    char since[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE];
    int64_t limit;
    struct ath_buf needles[4]; /* what a line must hold to be worth decoding */
    size_t needle_count;
    size_t bytes;              /* of the records found */
    uint64_t scanned;          /* bytes, of all steps */
    struct json_maker records; /* array */
    int64_t count;
    uint64_t next; /* index of the last record that was looked at, with is_partial */
    bool is_begun, is_done, is_partial;
};

/* May a uid of an athd that serves several see the record? Its own and what is nobody's. */
bool audit_query_is_visible(const struct json *record, uid_t uid);

/* first: index of the first record wanted. dir and filter's texts are borrowed. ATH_ERR_NOMEM;
 * audit_query_done is always fine. */
ath_err audit_query_init(struct audit_query *query, const char *dir, const struct audit_span *span,
                         const struct audit_filter *filter, uint64_t first,
                         int64_t limit) ATH_MUST_USE;
/* One step, until is_done. ATH_ERR_IO, ATH_ERR_PARSE (the log is damaged), ATH_ERR_NOMEM. */
ath_err audit_query_step(struct audit_query *query, struct why *why) ATH_MUST_USE;
void audit_query_done(struct audit_query *query);

#endif
