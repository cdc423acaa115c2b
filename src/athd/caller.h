/* Who is at the other end of a connection, as the kernel says; nothing here comes from the caller's
 * own words. Counted: a request outlives its connection. */
#ifndef ATHD_CALLER_H
#define ATHD_CALLER_H

#include <sys/types.h>

#include <stdint.h>

#include "base/json.h"

#define CALLER_UNIT_SIZE 128

struct caller {
    unsigned references;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    char exe[256];               /* "" : unknown */
    char unit[CALLER_UNIT_SIZE]; /* systemd's service or scope; "" : none, or unknown */
    uint64_t start_ticks; /* when the process began, clock ticks after boot (proc(5), starttime):
                             with pid it names one process; 0: unknown */
    uint64_t identity;    /* fair queueing and limits are per identity; now: the uid and pid */
};

/* SO_PEERCRED of a connected socket, and what /proc says of that process now. ATH_ERR_IO,
 * ATH_ERR_NOMEM. */
ath_err caller_of_socket(int fd, struct caller **ret_caller) ATH_MUST_USE;
struct caller *caller_ref(struct caller *caller);
void caller_free(struct caller *caller);

/* For records: uid, pid, start_ticks, exe, unit; what is not known is left out. */
void caller_put(const struct caller *caller, struct json_maker *record, const char *name);

/* The service or scope in /proc/PID/cgroup (cgroups(7), "0::/path"): the innermost part of the path
 * that ends with .service or .scope, cut to size; "" if there is none. */
void caller_unit_of_cgroup(struct ath_slice cgroup, char ret_unit[CALLER_UNIT_SIZE]);
/* Field 22 of /proc/PID/stat, counted behind the program's name, which may hold anything; 0: not
 * such a line. */
uint64_t caller_start_of_stat(struct ath_slice stat);

#endif
