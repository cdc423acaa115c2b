/*
 * The process whose life bounds a grant. Held by a pidfd: a number that is given to another process
 * is nobody. Over a restart of athd it is known by number, start and boot, which name one process
 * (proc(5), starttime; random(4), boot_id).
 */
#ifndef ATHD_GRANT_PROCESS_H
#define ATHD_GRANT_PROCESS_H

#include <sys/types.h>

#include <uv.h>

#include "base/why.h"

#define GRANT_BOOT_ID_SIZE 37

struct grant_process_id {
    pid_t pid;
    uint64_t start_ticks;
    char boot_id[GRANT_BOOT_ID_SIZE];
};

struct grant_process;

/* The process that has this number now, if it is this uid's (its real one). ATH_ERR_INVALID_PARAMS
 * (why): there is none, or it is somebody else's; ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err grant_process_find(pid_t pid, uid_t uid, struct why *why,
                           struct grant_process **ret_process) ATH_MUST_USE;
/* The very process that was written down. ATH_ERR_NOT_FOUND: it has ended. Errors as above. */
ath_err grant_process_find_again(const struct grant_process_id *id, uid_t uid, struct why *why,
                                 struct grant_process **ret_process) ATH_MUST_USE;
/* Closes; a watch is over. NULL is fine. The memory goes when the loop has closed the handle. */
void grant_process_free(struct grant_process *process);

const struct grant_process_id *grant_process_id(const struct grant_process *process);
/* Calls ended(ctx), once and from the loop, when it has ended (also if it has already). ATH_ERR_IO,
 * ATH_ERR_NOMEM. */
ath_err grant_process_watch(struct grant_process *process, uv_loop_t *loop,
                            void (*ended)(void *ctx), void *ctx) ATH_MUST_USE;

#endif
