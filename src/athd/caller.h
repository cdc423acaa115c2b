/*
 * Who is at the other end of a connection, as the kernel says; nothing here comes from the caller's
 * own words. Counted: a request outlives its connection.
 *
 * uid, gid and groups are those of connect(2) and hold whoever uses the connection. What is said of
 * the process (exe, unit, ...) is what /proc said when the connection was accepted, and only if a
 * pidfd proved that it was said of the process that connected: else it is unknown, never guessed.
 */
#ifndef ATHD_CALLER_H
#define ATHD_CALLER_H

#include <sys/types.h>

#include <stdint.h>

#include "athd/caller_kernel.h"
#include "base/json.h"
#include "base/name.h"

struct grant;

#define CALLER_UNIT_SIZE 128
#define CALLER_EXE_SIZE 256

enum caller_namespace {
    CALLER_UNSEEN, /* in a PID namespace that athd cannot look into, or it has gone: pid 0 */
    CALLER_SAME,
    CALLER_OTHER, /* one below athd's, as a container's is */
};

struct caller {
    unsigned references;
    pid_t pid; /* 0: unseen */
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary ones; owned */
    size_t group_count;

    bool is_proven; /* the rest was said of the process that connected */
    int pidfd;      /* while is_proven; owned */
    enum caller_namespace name_space;
    uint64_t start_ticks;      /* when the process began, clock ticks after boot (proc(5)): with pid
                                  it names one process; 0: unknown */
    char exe[CALLER_EXE_SIZE]; /* the program's path, made harmless; "": unknown */
    bool exe_is_here; /* athd finds that very file at that path: not so after an update, and where
                         the process has other mounts and can call any file anything */
    struct caller_file exe_file;     /* where exe is known */
    char verity[CALLER_VERITY_SIZE]; /* of the program; "": none, or unknown */
    char unit[CALLER_UNIT_SIZE];     /* systemd's service or scope; "": none, or unknown */
    char slice[CALLER_UNIT_SIZE];    /* the innermost slice that holds the unit; "": as above */
    bool unit_is_users; /* a user's own manager made it, under whatever name the user chose */

    char grant[NAME_MAX_LEN + 1]; /* the grant whose socket it came through; "": the owner's */
    struct grant *through;        /* the same; counted, NULL: the owner's */
    uint64_t identity; /* whose handshakes and sessions it has, and whom limits count: the uid and
                          pid, or the grant; at the owner's socket of an athd that serves several
                          uids the uid alone */
    uint64_t lane;     /* fair queueing is between lanes: the identity; of a grant within a grant the
                          outermost; where athd serves several uids each has two, one for all of
                          its grants */
};

/* SO_PEERCRED of a connected socket, and what /proc says of that process now. ATH_ERR_IO,
 * ATH_ERR_NOMEM. */
ath_err caller_of_socket(int fd, struct caller **ret_caller) ATH_MUST_USE;
/* It came through this grant's socket. */
void caller_set_grant(struct caller *caller, struct grant *grant);
/* May the caller know of what belongs to this identity? At the owner's socket of everything, at a
 * grant's of what came through that very grant. */
bool caller_sees(const struct caller *caller, uint64_t identity);
struct caller *caller_ref(struct caller *caller);
void caller_free(struct caller *caller);

/* Does the process that connected still live, with the program it had? If not, somebody else may
 * use its connection, and nothing that was said of the process holds. Two system calls. */
bool caller_is_still(const struct caller *caller);

/* Is `ancestor` among those that the caller's process comes from, as far as these live? A process
 * that has cut itself loose (its parent ended) comes from nobody. */
bool caller_descends(const struct caller *caller, const struct caller *ancestor);

/* For records: uid, pid, start_ticks, exe, verity, unit, slice, namespace, grant; what is not known
 * or usual is left out. */
void caller_put(const struct caller *caller, struct json_maker *record, const char *name);
/* For agent.hello: all of it. */
void caller_put_all(const struct caller *caller, struct json_maker *result, const char *name);

/* caller_proc.c: texts of proc(5) */

struct caller_unit {
    char unit[CALLER_UNIT_SIZE], slice[CALLER_UNIT_SIZE]; /* made harmless; "": none */
    bool is_users;
};

/* The unit in /proc/PID/cgroup (cgroups(7), "0::/path") as systemd reads it: the first service or
 * scope behind the slices, in user@UID.service that of the user's manager. What a service makes of
 * the groups below it is its own affair, and names nothing. */
void caller_unit_of_cgroup(struct ath_slice cgroup, struct caller_unit *ret_unit);
/* Field 22 of /proc/PID/stat, counted behind the program's name, which may hold anything; 0: not
 * such a line. */
uint64_t caller_start_of_stat(struct ath_slice stat);
/* Field 4, its parent; 0: none, or not such a line. */
pid_t caller_parent_of_stat(struct ath_slice stat);
/* NSpid in /proc/PID/status: one number for each namespace from that of /proc inwards. */
enum caller_namespace caller_namespace_of_status(struct ath_slice status);

#endif
