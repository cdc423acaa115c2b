/* `ath grant` and `ath run`; private to tools/ath_cmd_grant.c and tools/ath_cmd_run*.c. */
#ifndef TOOLS_ATH_CMD_RUN_H
#define TOOLS_ATH_CMD_RUN_H

#include <sys/types.h>

#include "ath_cmd.h"

/* What a grant can be limited by: the same for `ath grant create` and `ath run`. */
#define RUN_LIMIT(flag, value, kind, param, help)                                                  \
    {                                                                                              \
        flag, value, kind, param, false, NULL, help                                                \
    }
#define RUN_LIMITS                                                                                 \
    RUN_LIMIT("--key", "NAME", CMD_LIST, "keys", "a key it may use"),                              \
        RUN_LIMIT("--method", "METHOD", CMD_LIST, "methods",                                       \
                  "what it may call: a method, or a group as in policies (group:use)"),            \
        RUN_LIMIT("--audience", "URI", CMD_LIST, "audiences",                                      \
                  "whom its keys may sign for: a URL and what is below, https://*.a.example"),     \
        RUN_LIMIT("--peer", "DID", CMD_LIST, "peers",                                              \
                  "whom it may have handshakes with; did:web:* are all that begin so"),            \
        RUN_LIMIT("--scope", "SCOPE", CMD_LIST, "scopes",                                          \
                  "what it may ask for; * stands for any text"),                                   \
        RUN_LIMIT("--ttl", "SECONDS", CMD_DURATION, "ttl", "how long it lives at most: 30m, 8h"),  \
        RUN_LIMIT("--max-uses", "N", CMD_INT, "max_uses", "how many signatures at most")

cmd_run_fn cmd_run_run, cmd_run_grant_show;

/* The entry of this name in grant.list's answer, a part of it; NULL: there is none. */
const struct json *run_find_grant(const struct json *list, const char *name);

/* ---- ath_cmd_run_child.c: COMMAND's process, up to the moment it becomes COMMAND ---- */

#define RUN_UNIT_SIZE 128

/* A process that waits to be told what to run. */
struct run_child {
    pid_t pid;
    int fd;                   /* what it is told through; closed untold, it ends by itself */
    char unit[RUN_UNIT_SIZE]; /* the systemd scope it is in; "": none */
};

/* Does a systemd user manager listen here, and is there a systemd-run to ask it with? */
bool run_scope_is_possible(void);

/*
 * Forks it, in a systemd scope of its own where that is possible; where it turns out not to be,
 * that is said. socket: the one that ath itself uses: no variable that leads there is left in the
 * child's environment. ATH_ERR_IO, ATH_ERR_NOMEM.
 */
ath_err run_child_start(const struct cmd_context *context, const char *name, const char *socket,
                        struct run_child *ret_child) ATH_MUST_USE;

/* Has it become the command `words` (ending in NULL), with ATH_AUTH_SOCK=socket. ATH_ERR_IO. */
ath_err run_child_go(struct run_child *child, const char *socket, char **words) ATH_MUST_USE;

/* Ends one that was not let go, and waits for its end. */
void run_child_drop(struct run_child *child);

/* Does this text of /proc/PID/cgroup (cgroups(7), version 2) say that the process is in the unit?
 * athd finds the callers' unit there. */
bool run_is_in_unit(const char *cgroup, const char *unit);

/* ---- ath_cmd_run_stage.c: the process that is told what to run, and becomes it ---- */

#define RUN_STAGE_FD 3                       /* what it is told through */
#define RUN_MESSAGE_MAX (8u * 1024u * 1024u) /* words: more than the kernel takes (execve(2)) */
/* The shell's: POSIX.1-2017, XCU 2.8.2. */
#define RUN_CANNOT 126
#define RUN_NOT_FOUND 127

/* Would this variable ("NAME=value") lead to the socket? */
bool run_leads_to(const char *variable, const char *socket);

/* Takes those out of this process's environment. */
void run_clean_environment(const char *socket);

/* Is there such a file in a directory of PATH that access(2) allows to be used so? */
bool run_is_in_path(const char *program, int mode);

/* Waits to be told, and becomes that. Where it cannot: says why, and gives the exit status. */
int run_stage(void);

/* `ath` with this as its only word is the process above, started by systemd-run; not for people.
 * Gives the exit status. */
#define RUN_STAGE_WORD "--as-child-of-ath-run"
int run_stage_main(void);

/* ---- ath_cmd_run_wait.c: while COMMAND runs ---- */

/* Signals from now on wait for run_wait. To be called before COMMAND is let go. */
void run_wait_begin(void);

/*
 * Waits until COMMAND ends, reaping what it orphaned. Signals that were sent to ath are passed on;
 * those of the terminal COMMAND has got already. When COMMAND stops, ath stops, and both go on
 * together. Gives the exit status; *ret_interrupted: it was SIGINT of the terminal that ended it.
 */
int run_wait(pid_t pid, bool *ret_interrupted);

/* ---- ath_cmd_run_left.c: what COMMAND left running ---- */

/* The children that ath has before COMMAND is there: none, unless a shell became ath. */
void run_left_begin(void);

/* Ends all other descendants: SIGTERM, and SIGKILL after 2 s. Gives how many were told to end;
 * *ret_remain: how many did not (another uid's). */
size_t run_left_end(size_t *ret_remain);

#endif
