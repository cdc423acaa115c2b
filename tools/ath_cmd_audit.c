/* `ath audit`: the table of its commands, and where the log is. */
#include "ath_cmd_audit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define STATE_DIR_OPTION                                                                           \
    {                                                                                              \
        "--state-dir", "DIR", CMD_TEXT, NULL, false, NULL,                                         \
            "athd's state directory, or a copy of the audit directory in it "                      \
            "($XDG_STATE_HOME/ath, ~/.local/state/ath)"                                            \
    }

#define FILTER_OPTIONS                                                                             \
    {"--key", "KEY", CMD_TEXT, "key", false, NULL, "a key's name or thumbprint"},                  \
        {"--event",                                                                                \
         "NAME",                                                                                   \
         CMD_TEXT,                                                                                 \
         "event",                                                                                  \
         false,                                                                                    \
         NULL,                                                                                     \
         "an event, as docs/audit-events.md lists them"},                                          \
        {"--caller", "WHO", CMD_TEXT, "caller", false, NULL, "a uid, program or systemd unit"},    \
    {                                                                                              \
        "--handshake", "NAME", CMD_TEXT, "handshake", false, NULL,                                 \
            "M6's handshake, b64u(T5), or a handshake_id"                                          \
    }

static const struct cmd_option show_options[] = {
    FILTER_OPTIONS,
    {"--since", "TIME", CMD_TIME, "since", false, NULL, "not before: 2027-01-31T10:00:00Z, -2h"},
    {"--until", "TIME", CMD_TIME, "until", false, NULL, "before"},
    {"--limit", "N", CMD_INT, NULL, false, NULL,
     "only the last N (50 where nothing says which records, else all)"},
    {0},
};

static const struct cmd_option follow_options[] = {FILTER_OPTIONS, {0}};

static const struct cmd_option trace_options[] = {
    {NULL, "TRACE-ID|HANDSHAKE", CMD_TEXT, NULL, true, NULL,
     "a W3C trace-id (32 hexadecimal digits) or traceparent, or M6's handshake, b64u(T5)"},
    {0},
};

static const struct cmd_option no_options[] = {{0}};

static const struct cmd_option verify_options[] = {
    STATE_DIR_OPTION,
    {"--key", "FILE|JKT", CMD_LIST, NULL, false, NULL,
     "the audit key that may have signed it: a JWK or PEM file, or a thumbprint you noted"},
    {"--from", "FILE", CMD_TEXT, NULL, false, NULL,
     "an older checkpoint, kept elsewhere, that the log must continue"},
    {"--offline", NULL, CMD_TRUE, NULL, false, NULL,
     "do not ask athd, where it runs, for a checkpoint of now"},
    {0},
};

static const struct cmd_option prove_options[] = {
    {NULL, "INDEX", CMD_INT, NULL, true, NULL, "which record"},
    STATE_DIR_OPTION,
    {"--size", "N", CMD_INT, NULL, false, NULL,
     "against the checkpoint of N records (the newest one)"},
    {"--output", "FILE", CMD_TEXT, NULL, false, NULL, "where to write it (standard output)"},
    {0},
};

static const struct cmd_option consistency_options[] = {
    {NULL, "FROM", CMD_INT, NULL, true, NULL, "the size of the older checkpoint"},
    {NULL, "TO", CMD_INT, NULL, false, NULL, "the size of the newer one (the newest)"},
    STATE_DIR_OPTION,
    {"--output", "FILE", CMD_TEXT, NULL, false, NULL, "where to write it (standard output)"},
    {0},
};

static const struct cmd_option export_options[] = {
    {"--format", "jsonl|journald|otel|tlog-tiles", CMD_TEXT, NULL, true, NULL,
     "as athd wrote them, systemd's journal export format, OTLP/JSON, or a static log with tiles"},
    STATE_DIR_OPTION,
    {"--from", "INDEX", CMD_INT, NULL, false, NULL, "only from this record on (not tlog-tiles)"},
    {"--output", "PATH", CMD_TEXT, NULL, false, NULL,
     "the file to write (standard output); for tlog-tiles the directory to make"},
    {0},
};

const struct cmd cmd_audit_group[] = {
    {.noun = "audit",
     .verb = "show",
     .method = "audit.query",
     .summary = "Print records of the audit log, the oldest first",
     .options = show_options,
     .run = cmd_run_audit_show,
     .about = "A line a record: index, time (UTC), event, what it says, who called. --trace "
              "TRACEPARENT: only\n"
              "those of that trace-id. With --json each is as it stands in the log.",
     .examples = "  ath audit show\n"
                 "  ath audit show --event access_denied --since -1d\n"
                 "  ath audit show --key travel --json | jq .sha256\n"},
    {.noun = "audit",
     .verb = "follow",
     .method = "audit.query",
     .summary = "Print records as they are written, until ended",
     .options = follow_options,
     .run = cmd_run_audit_follow,
     .examples = "  ath audit follow\n  ath audit follow --event policy_denied --json\n"},
    {.noun = "audit",
     .verb = "trace",
     .method = "audit.query",
     .summary = "Tell what became of one action, as this side saw it",
     .options = trace_options,
     .run = cmd_run_audit_trace,
     .about = "The user's, the agent's and the application's athd know the same handshake by the "
              "same names:\n"
              "the trace-id that its caller gave, and the hash that access_granted calls "
              "`handshake`.",
     .examples = "  ath audit trace 4bf92f3577b34da6a3ce929d0e0e4736\n"},
    {.noun = "audit",
     .verb = "checkpoint",
     .method = "audit.checkpoint",
     .summary = "Sign the audit log as it is now, and print the checkpoint",
     .options = no_options,
     .show = CMD_SHOW_RAW,
     .member = "checkpoint",
     .about = "Keep it elsewhere: `ath audit verify --from FILE` shows whether the log still "
              "continues it.",
     .examples = "  ath audit checkpoint > checkpoint.note\n"},
    {.noun = "audit",
     .verb = "verify",
     .summary = "Check every record, tile and checkpoint of the audit log",
     .options = verify_options,
     .run = cmd_run_audit_verify,
     .about = "It reads the files; athd need not run. Exit status 1, and the first record or file "
              "that is\n"
              "wrong, if the log is not what the audit key signed. What was written since the "
              "newest checkpoint\n"
              "is not covered yet; it says how much that is. Without --state-dir and --offline an "
              "athd that runs\n"
              "makes a checkpoint first, with the TPM's counter of now.",
     .examples = "  ath audit verify\n"
                 "  ath audit verify --key 8Ux2cVfT1Hj9l0mYp0dVQ9sYv0oN1vYJ3d1aXg4Tq0c --from "
                 "checkpoint.note\n"},
    {.noun = "audit",
     .verb = "prove",
     .summary = "Write the proof that a record stands in the audit log",
     .options = prove_options,
     .run = cmd_run_audit_prove,
     .about = "Whoever has the audit key's thumbprint can check it without the log and without "
              "athd, for\n"
              "instance with audit-verify.py, which comes with this program's documentation.",
     .examples = "  ath audit prove 4711 --output proof.json\n"
                 "  python3 audit-verify.py proof.json "
                 "8Ux2cVfT1Hj9l0mYp0dVQ9sYv0oN1vYJ3d1aXg4Tq0c\n"},
    {.noun = "audit",
     .verb = "consistency",
     .summary = "Write the proof that one checkpoint continues another",
     .options = consistency_options,
     .run = cmd_run_audit_consistency,
     .examples = "  ath audit consistency 1000 2000 --output proof.json\n"},
    {.noun = "audit",
     .verb = "export",
     .summary = "Write the audit log's records in a form that other programs read",
     .options = export_options,
     .run = cmd_run_audit_export,
     .about = "It does not check them: see ath audit verify.",
     .examples =
         "  ath audit export --format journald | systemd-journal-remote -o audit.journal -\n"
         "  ath audit export --format tlog-tiles --output audit-log\n"},
    {0},
};

/* ---- where the log is ---- */

static char *
default_state_dir(void)
{
    const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    struct ath_buf path = {0};
    char *copy;

    if (base != NULL && base[0] == '/')
        ath_buf_printf(&path, "%s/ath", base);
    else
        ath_buf_printf(&path, "%s/.local/state/ath", home != NULL ? home : "");
    copy = ath_strdup(ath_buf_text(&path));
    ath_buf_done(&path);
    return copy;
}

/* Is there a file or directory `name` in it? */
static bool
has(const char *dir, const char *name)
{
    char *path = file_path(dir, name);
    bool is_there = path != NULL && access(path, F_OK) == 0;

    free(path);
    return is_there;
}

static void
say_no_log(const char *state, int error)
{
    if (error == ENOENT || error == ENOTDIR)
        cmd_error("there is no audit log in %s; --state-dir says where it is", state);
    else
        cmd_error("%s cannot be read: %s; the log is for athd's user only (ath audit export makes "
                  "copies for others)",
                  state, strerror(error));
}

char *
cmd_audit_dir(const struct cmd_context *context)
{
    const char *given = json_get_string(context->extra, "--state-dir");
    char *state = given != NULL ? ath_strdup(given) : default_state_dir(), *dir = NULL;

    if (state == NULL) {
        cmd_error("%s", ath_err_sentence(ATH_ERR_NOMEM));
        return NULL;
    }
    if (!has(state, "audit") && (has(state, "checkpoint") || has(state, "00000001.jsonl")))
        return state;
    if (!has(state, "audit"))
        say_no_log(state, errno);
    else if ((dir = file_path(state, "audit")) == NULL)
        cmd_error("%s", ath_err_sentence(ATH_ERR_NOMEM));
    free(state);
    return dir;
}

int
cmd_audit_fail(const char *dir, ath_err err, const struct why *why)
{
    cmd_error("%s: %s", dir, why_text(why, err));
    return ath_err_exit_status(err);
}

bool
cmd_audit_write(const struct cmd_context *context, const char *flag, struct ath_slice text)
{
    const char *path = json_get_string(context->extra, flag);
    struct why why = {""};
    ath_err err;

    if (path == NULL || strcmp(path, "-") == 0)
        err = fwrite(text.data, 1, text.len, stdout) == text.len ? ATH_OK : ATH_ERR_IO;
    else
        err = file_replace(path, text, &why);
    if (err != ATH_OK)
        cmd_error("%s", why_text(&why, err));
    return err == ATH_OK;
}
