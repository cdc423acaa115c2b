/*
 * The loop's side of audit_tiler: lets it follow the log in libuv's thread pool, a moment behind,
 * and tells who waits for a certain size that it is there. A record never waits for it, and its
 * failures stop none: they are said, and tried again.
 */
#ifndef ATHD_AUDIT_FOLLOWER_H
#define ATHD_AUDIT_FOLLOWER_H

#include <sys/queue.h>

#include "athd/audit_log.h"
#include "athd/audit_tiler.h"

struct audit_follower;

/* Somebody who waits for the tree of a size; the storage is theirs until done. */
struct audit_reach {
    TAILQ_ENTRY(audit_reach) entry;
    uint64_t size; /* at most audit_log_size */
    bool whole;    /* exactly this size, all tiles on disk: of one at a time, never below head */
    /* head is valid with ATH_OK; else why says what failed. From the loop, never from inside. */
    void (*done)(void *ctx, ath_err err, const struct audit_head *head, const struct why *why);
    void *ctx;
    bool is_due; /* private */
};

/* newest: as audit_tiler_new. Begins a moment later. ATH_ERR_NOMEM. */
ath_err audit_follower_new(struct athd *athd, const struct audit_head *newest,
                           struct audit_follower **ret_follower) ATH_MUST_USE;
void audit_follower_reach(struct audit_follower *follower, struct audit_reach *reach);
/* It will not be called; fine if it was. */
void audit_follower_forget(struct audit_follower *follower, struct audit_reach *reach);
/* Why it does not get on; NULL: it does. */
const char *audit_follower_failure(const struct audit_follower *follower);

/* The records do not give the root of the newest checkpoint. Told between its runs only, as in
 * `done`. */
bool audit_follower_is_inconsistent(const struct audit_follower *follower);

/* Ends what it does, calls done; those who still wait are told ATH_ERR_IO. */
void audit_follower_close(struct audit_follower *follower, void (*done)(void *ctx), void *ctx);
void audit_follower_free(struct audit_follower *follower);

#endif
