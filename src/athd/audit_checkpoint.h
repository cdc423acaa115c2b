/*
 * Checkpoints of the log (docs/audit.md): at the configured interval when there are new records,
 * after 65,536 of them, right after the start, at a clean stop, and on demand; many who ask at once
 * get one. Signed with the audit key by a path of its own: no caller, no consent, and no record of
 * the signature, since a record behind each checkpoint would want a checkpoint of its own; the
 * checkpoint is the record. What goes to the key is decoded first: a checkpoint's text that names
 * this key, and nothing else.
 */
#ifndef ATHD_AUDIT_CHECKPOINT_H
#define ATHD_AUDIT_CHECKPOINT_H

#include "athd/audit_follower.h"
#include "protocol/checkpoint.h"

struct audit_checkpoints;

/* Somebody who waits for a checkpoint; the storage is theirs until done. */
struct audit_checkpoint_wait {
    TAILQ_ENTRY(audit_checkpoint_wait) entry;
    uint64_t size; /* it must cover: audit_log_size of now */
    /* From the loop, never from inside; note (the whole file) is valid during the call. */
    void (*done)(void *ctx, ath_err err, struct ath_slice note, const struct why *why);
    void *ctx;
    bool is_due; /* private */
};

/* Reads what is there; blocking (start-up). ATH_ERR_IO with why, ATH_ERR_NOMEM. */
ath_err audit_checkpoints_open(struct athd *athd, struct why *why,
                               struct audit_checkpoints **ret_checkpoints) ATH_MUST_USE;
/* Makes the key ready, then the first checkpoint. After hsm_pool_new. */
void audit_checkpoints_start(struct audit_checkpoints *checkpoints);
/* The interval may be another one now. */
void audit_checkpoints_reload(struct audit_checkpoints *checkpoints);

void audit_checkpoints_want(struct audit_checkpoints *checkpoints,
                            struct audit_checkpoint_wait *wait);
void audit_checkpoints_forget(struct audit_checkpoints *checkpoints,
                              struct audit_checkpoint_wait *wait);

struct audit_follower *audit_checkpoints_follower(const struct audit_checkpoints *checkpoints);
/* NULL: there is none yet. */
const struct checkpoint *audit_checkpoints_newest(const struct audit_checkpoints *checkpoints);
/* Why there is no newer one; NULL: nothing is in the way. */
const char *audit_checkpoints_failure(const struct audit_checkpoints *checkpoints);
/* Puts last_checkpoint, key, state and message into agent.status' `audit`. */
void audit_checkpoints_put_status(const struct audit_checkpoints *checkpoints,
                                  struct json_maker *audit);

/* One last checkpoint, if there is something new and all is there for it; done(ctx) when it is
 * written or failed. */
void audit_checkpoints_finish(struct audit_checkpoints *checkpoints, void (*done)(void *ctx),
                              void *ctx);
/* Ends its handles; done(ctx) when they are closed. */
void audit_checkpoints_close(struct audit_checkpoints *checkpoints, void (*done)(void *ctx),
                             void *ctx);
void audit_checkpoints_free(struct audit_checkpoints *checkpoints);

#endif
