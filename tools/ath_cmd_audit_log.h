/* What `ath audit show`, `follow` and `trace` share: records asked of athd, and as a person reads
 * them. */
#ifndef TOOLS_ATH_CMD_AUDIT_LOG_H
#define TOOLS_ATH_CMD_AUDIT_LOG_H

#include "ath_cmd_audit.h"

/* Each record that matches, in order; false: enough. */
typedef bool cmd_audit_record_fn(void *ctx, const struct json *record);

/* Asks audit.query for all records behind index `after` (-1: all) that match `filter` (its params,
 * borrowed; NULL: all), a page at a time. Says what failed. *ret_last is the last index looked at
 * (may be NULL). */
ath_err cmd_audit_each(const struct cmd_context *context, struct ath_client *client,
                       const struct json *filter, int64_t after, cmd_audit_record_fn *each,
                       void *ctx, int64_t *ret_last) ATH_MUST_USE;

/* A record on one line: index, time, event, what it says, who called. With --json as it is. */
void cmd_audit_print_line(const struct cmd_context *context, const struct json *record);
/* What a record says beside its place, time, event and caller: "key=agent scopes=mail:read". */
void cmd_audit_put_members(const struct json *record, const char *const *left_out,
                           struct ath_buf *out);

#endif
