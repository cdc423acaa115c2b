/*
 * `ath`: one table of commands. A command names its method and says how options become params and
 * how the result is shown; parsing, --help and the call are derived from that. What needs more than
 * one call has a function of its own.
 */
#ifndef TOOLS_ATH_CMD_H
#define TOOLS_ATH_CMD_H

#include <stdio.h>

#include "ath/client.h"
#include "base/json.h"

enum cmd_kind {
    CMD_TEXT,
    CMD_INT,
    CMD_DURATION,   /* seconds: 300, 5m, 2h, 30d */
    CMD_TIME,       /* Unix seconds, 2027-01-31, 2027-01-31T10:00:00Z, +30d from now, -2h before */
    CMD_TRUE,       /* a switch */
    CMD_BOOL,       /* yes or no */
    CMD_LIST,       /* an array of strings; may be repeated, spaces separate */
    CMD_CONTENT,    /* the text itself, @FILE, or - for standard input */
    CMD_SECRET,     /* @FILE or -; never the text: argv is there for everybody to read */
    CMD_BYTES,      /* the same, any bytes, sent as base64url */
    CMD_JSON,       /* JSON, as CMD_CONTENT */
    CMD_PUBLIC_KEY, /* PEM text or a JWK object, as CMD_CONTENT */
    CMD_SERVER,     /* did:… or an origin: {"did":…} or {"origin":…} */
    CMD_MAP,        /* KEY=VALUE; may be repeated */
    CMD_MAP_LIST,   /* KEY=VALUE, adding to an array; may be repeated */
    CMD_WORDS,      /* a command to run: this word and all behind it, as they are */
};

struct cmd_option {
    const char *flag;  /* "--ttl"; NULL: it has no name but a place */
    const char *value; /* what the help calls its value; NULL: a switch */
    enum cmd_kind kind;
    const char *param; /* member of params ("a.b": of a member); NULL: for the command's code */
    bool required;
    const char *fallback; /* taken where it is not given */
    const char *help;
};

enum cmd_show {
    CMD_SHOW_FIELDS, /* a line a member; `fields`: these, in this order */
    CMD_SHOW_TABLE,  /* `member` is an array of objects; `fields` are the columns */
    CMD_SHOW_RAW,    /* the string `member`, and nothing else */
    CMD_SHOW_BYTES,  /* the bytes that `member` stands for */
    CMD_SHOW_DONE,   /* nothing came back: say `member`, a sentence */
};

struct cmd;

/* What was said on the command line. */
struct cmd_context {
    const struct cmd *command;
    const char *socket; /* NULL: where libath looks */
    const char *trace;
    const char *field; /* NULL: the whole result */
    int timeout_ms;
    bool json, quiet, colour;
    struct json *params; /* for the method */
    struct json *extra;  /* values of options without a param, by flag ("--user") */
    char **words;        /* of CMD_WORDS, ending in NULL; borrowed from argv */
};

typedef int cmd_run_fn(struct cmd_context *context); /* the exit status */
typedef void cmd_show_fn(const struct cmd_context *context, const struct json *result);

struct cmd {
    const char *noun;
    const char *verb; /* NULL: the noun alone is the command */
    const char *method;
    const char *summary;
    const struct cmd_option *options; /* ends with an empty one */
    enum cmd_show show;
    const char *member;
    const char *fields;     /* separated by spaces; NULL: all */
    cmd_show_fn *show_with; /* instead of `show` */
    cmd_run_fn *run;        /* instead of calling the method */
    const char *about;      /* more, for --help; NULL: nothing */
    const char *examples;   /* lines */
    const char *either[2];  /* flags of which exactly one is given; NULL: no such rule */
};

/* The table, in the order of the help; ends with an empty command. */
extern const struct cmd *const cmd_groups[];

extern const struct cmd cmd_agent_group[], cmd_key_group[], cmd_attest_group[],
    cmd_credential_group[], cmd_service_group[], cmd_handshake_group[], cmd_session_group[],
    cmd_peer_group[], cmd_grant_group[], cmd_consent_group[], cmd_policy_group[], cmd_lock_group[],
    cmd_audit_group[];

/* ---- ath_cmd_options.c ---- */

/* Reads the words behind the command's name. Prints what is wrong and returns ATH_ERR_USAGE (or
 * what reading a file met). *ret_help: --help was among them. */
ath_err cmd_options_read(struct cmd_context *context, int argc, char **argv,
                         bool *ret_help) ATH_MUST_USE;
/* Is it one of the flags that every command has? Takes its value from *index. */
bool cmd_global_flag(struct cmd_context *context, int argc, char **argv, int *index,
                     ath_err *ret_err);

/* ---- ath_cmd_input.c ---- */

/* The content an option's value stands for, at most 1 MiB. Prints what is wrong. */
ath_err cmd_input_read(const char *flag, const char *value, bool literal_allowed,
                       struct ath_buf *out) ATH_MUST_USE;
/* CMD_DURATION and CMD_TIME; false: not understood. */
bool cmd_input_duration(const char *text, int64_t *ret_seconds);
bool cmd_input_time(const char *text, int64_t now, int64_t *ret_seconds);

/* ---- ath_cmd_help.c ---- */

void cmd_help_all(void);
bool cmd_help_noun(const char *noun); /* false: there is no such noun */
void cmd_help_command(const struct cmd *command);
/* "key create" */
const char *cmd_name(const struct cmd *command, char *buffer, size_t size);

/* ---- ath_cmd_print.c: all text from elsewhere is made harmless for a terminal ---- */

void cmd_print_fields(const struct json *object, const char *fields);
void cmd_print_table(const struct cmd_context *context, const struct json *rows,
                     const char *fields);
/* One value as a person reads it; the name decides (expires_at is a time, ttl a duration). */
void cmd_print_value(const char *name, const struct json *value, struct ath_buf *out);
void cmd_print_duration(int64_t seconds, struct ath_buf *out);
void cmd_print_text(FILE *stream, const char *text); /* harmless, without a line end */
/* The result as the flags and the command's table want it; the exit status. */
int cmd_print_result(const struct cmd_context *context, const char *result);
int cmd_print_field(const char *path, const struct json *result); /* --field */

/* ---- ath_cmd_terminal.c: as it came, but where standard output is a terminal without what would
 * steer it ---- */

void cmd_print_json(const char *json); /* and a line end; harmful characters as JSON escapes */
void cmd_print_raw(const char *text);  /* ends in one line feed; NULL: nothing */
void cmd_print_part(const char *text); /* without a line end of its own; NULL: nothing */

/* ---- ath_cmd_call.c: calling, and saying what failed ---- */

/* A connected client (socket NULL: of the context's); NULL after saying why not, with *ret_status.
 */
struct ath_client *cmd_connect(const struct cmd_context *context, const char *socket,
                               int *ret_status);
/* Says what the client's last call failed with, and returns the exit status for it. */
int cmd_fail(const struct cmd_context *context, const struct ath_client *client, ath_err err);
/* Calls with params (borrowed; NULL: {}); says what failed. The caller frees *ret_result. */
ath_err cmd_call(const struct cmd_context *context, struct ath_client *client, const char *method,
                 const struct json *params, struct json **ret_result) ATH_MUST_USE;
/* An answer's text as a tree; NULL after saying that it is none. */
struct json *cmd_parse(const char *text);
int cmd_error(const char *fmt, ...) ATH_PRINTF(1, 2); /* prints, returns 64 */
int cmd_run_method(struct cmd_context *context);      /* what a command without `run` does */

/* ---- ath_cmd_key_delete.c ---- */

int cmd_run_key_delete(struct cmd_context *context);
void cmd_note(const struct cmd_context *context, const char *fmt, ...) ATH_PRINTF(2, 3);

/* ---- commands with code of their own ---- */

cmd_run_fn cmd_run_call, cmd_run_events, cmd_run_status, cmd_run_doctor, cmd_run_handshake,
    cmd_run_receive;

#endif
