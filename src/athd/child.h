/* A process of ours: helper or prompter. Whoever is killed, it is not left behind: the kernel kills
 * it with athd (PR_SET_PDEATHSIG), and it inherits no descriptor but those it is given. */
#ifndef ATHD_CHILD_H
#define ATHD_CHILD_H

#include <stdbool.h>

#include <uv.h>

#include "ath/err.h"

struct child;

struct child_params {
    const char *program;      /* with a slash: a path; else looked for in PATH */
    char *const *arguments;   /* argv, ended by NULL */
    char *const *environment; /* ended by NULL */
    int input, output;        /* its standard input and output, borrowed; -1: /dev/null */
    bool own_group;           /* and all its descendants get the signals of child_kill */
};

/* It has ended and is no zombie any more. The child is freed. */
typedef void child_ended_fn(void *ctx);

/* Forks. A program that cannot be run ends at once, with status 127. ATH_ERR_NOMEM, ATH_ERR_IO (no
 * more processes); then ended is not called. */
ath_err child_start(uv_loop_t *loop, const struct child_params *params, child_ended_fn *ended,
                    void *ctx, struct child **ret_child) ATH_MUST_USE;
void child_kill(struct child *child, int signal_number);
long child_pid(const struct child *child);

#endif
