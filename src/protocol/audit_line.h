/* One record of the audit log: a line of JSON (docs/audit.md, "Records"). */
#ifndef PROTOCOL_AUDIT_LINE_H
#define PROTOCOL_AUDIT_LINE_H

#include "base/clock.h"
#include "base/json.h"

#define AUDIT_LINE_MAX 65535u /* bytes without the line feed: what a tlog-tiles entry holds */
#define AUDIT_LINE_MAX_DEPTH 32u
#define AUDIT_LINE_MAX_MEMBERS 256u

/* For json_parse of a line that is to be looked into. */
extern const struct json_limits audit_line_limits;

struct audit_line {
    uint64_t index;
    struct ath_slice timestamp; /* CLOCK_TEXT_SIZE - 1 characters */
    bool is_retention;          /* event "audit_retention": records before kept_from are removed */
    uint64_t kept_from;
    bool is_rollback; /* event "audit_rollback": athd found the log put back to an earlier state */
};

/* Only how the line begins: {"index":N,"timestamp":"...", and whether it is about retention
 * or roll-back. * ATH_ERR_PARSE (why says what is missing), ATH_ERR_LIMIT_EXCEEDED: longer than
 * AUDIT_LINE_MAX. */
ath_err audit_line_begin(struct ath_slice line, struct why *why,
                         struct audit_line *ret_line) ATH_MUST_USE;

/* The whole line, without its line feed: audit_line_begin, then strict JSON (base/json.h). Makes no
 * tree: about a microsecond. ATH_ERR_PARSE, ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM. */
ath_err audit_line_check(struct ath_slice line, struct why *why,
                         struct audit_line *ret_line) ATH_MUST_USE;

#endif
