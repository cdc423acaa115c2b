/* Who is at the other end of a connection, as the kernel says; nothing here comes from the caller's
 * own words. Counted: a request outlives its connection. */
#ifndef ATHD_CALLER_H
#define ATHD_CALLER_H

#include <sys/types.h>

#include <stdint.h>

#include "ath/err.h"

struct caller {
    unsigned references;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    char exe[256];     /* "" : unknown */
    uint64_t identity; /* fair queueing and limits are per identity; now: the uid and pid */
};

/* SO_PEERCRED of a connected socket. ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err caller_of_socket(int fd, struct caller **ret_caller) ATH_MUST_USE;
struct caller *caller_ref(struct caller *caller);
void caller_free(struct caller *caller);

#endif
