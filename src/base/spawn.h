/* A program started by fork and exec: with no descriptor but those it is given, with no signal
 * ignored or blocked, and killed by the kernel when who started it dies (PR_SET_PDEATHSIG). */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "ath/err.h"

struct spawn_params {
    const char *program;      /* with a slash: a path; else looked for in PATH */
    char *const *arguments;   /* argv, ended by NULL */
    char *const *environment; /* ended by NULL */
    int input, output;        /* its standard input and output, borrowed; -1: /dev/null */
    bool own_group;           /* a session and a group of processes, both of its number */
};

/* It is the caller's to wait for. A program that cannot be run ends at once, with status 127, as a
 * shell's. ATH_ERR_IO: no more processes. */
ath_err spawn_program(const struct spawn_params *params, pid_t *ret_pid) ATH_MUST_USE;

#endif
