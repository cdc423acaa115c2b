/* What the commands of `ath audit` share. They read the log's files; athd need not run. */
#ifndef TOOLS_ATH_CMD_AUDIT_H
#define TOOLS_ATH_CMD_AUDIT_H

#include "ath_cmd.h"
#include "protocol/audit_reader.h"

/* The log's directory: --state-dir's or the default one's audit/, or --state-dir itself where that
 * is a log; on the heap. NULL after saying what is wrong. */
char *cmd_audit_dir(const struct cmd_context *context);

/* Says "DIR: why" and gives the exit status. */
int cmd_audit_fail(const char *dir, ath_err err, const struct why *why);

/* Writes text to the file that `flag` names, or to standard output where it is not given; false
 * after saying why not. */
bool cmd_audit_write(const struct cmd_context *context, const char *flag, struct ath_slice text);

/* A checkpoint that athd, if it runs, makes now; false: there is none, and it has been said why
 * where athd runs. */
bool cmd_audit_fresh_checkpoint(const struct cmd_context *context, struct ath_buf *note);

/* ---- one record in another form, appended; ATH_ERR_PARSE: it is no record of ours ---- */

ath_err cmd_audit_put_journal(struct ath_slice line, struct ath_buf *out) ATH_MUST_USE;
ath_err cmd_audit_put_otel(struct ath_slice line, struct ath_buf *out) ATH_MUST_USE;
/* Microseconds since 1970 of a timestamp of CLOCK_TEXT_SIZE - 1 characters. */
int64_t cmd_audit_microseconds(struct ath_slice timestamp);

/* A whole static log (C2SP tlog-tiles) in directory `output`, which must not be there yet; the exit
 * status. */
int cmd_audit_export_tiles(const struct cmd_context *context, const char *dir, const char *output);

cmd_run_fn cmd_run_audit_show, cmd_run_audit_follow, cmd_run_audit_trace;
cmd_run_fn cmd_run_audit_verify, cmd_run_audit_prove, cmd_run_audit_consistency,
    cmd_run_audit_export;

#endif
