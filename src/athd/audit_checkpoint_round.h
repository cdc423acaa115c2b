/*
 * One checkpoint after the other: counter settled, tree reached, counter stepped, text signed, note
 * written. Whatever fails, the counter is settled anew before the next. Private to
 * audit_checkpoint.c and audit_checkpoint_round.c.
 */
#ifndef ATHD_AUDIT_CHECKPOINT_ROUND_H
#define ATHD_AUDIT_CHECKPOINT_ROUND_H

#include <uv.h>

#include "athd/audit_checkpoint.h"
#include "athd/audit_counter.h"
#include "athd/audit_key.h"
#include "athd/audit_retention.h"
#include "athd/deferred.h"

TAILQ_HEAD(wait_list, audit_checkpoint_wait);

enum step {
    STEP_UNSETTLED, /* what the counter says is not known */
    STEP_SETTLING,
    STEP_IDLE,
    STEP_REACHING,
    STEP_COUNTING,
    STEP_SIGNING,
    STEP_WRITING,
};

struct audit_checkpoints {
    struct athd *athd;
    struct audit_follower *follower;
    struct audit_key *key;
    struct audit_counter *counter;
    struct audit_retention *retention;
    char *newest_path, *dir;
    bool has_newest;
    bool
        newest_counts; /* the log is as long as it says; else it was cut, and a new one is wanted */
    struct checkpoint newest;
    struct ath_buf newest_note;
    enum step step;
    struct wait_list waiting;
    uv_timer_t interval, retry;
    uint64_t retry_ms; /* 0: the last try went well */
    unsigned sign_failures;
    struct why why; /* of the last failure */
    struct deferred deferred;
    /* the one that is being made */
    struct checkpoint next;
    struct ath_buf text, evidence, note;
    struct audit_reach reach;
    bool is_finishing, is_closing;
    bool is_wanted; /* the interval is over, or athd has just started */
    bool is_change_noted;
    bool is_started; /* the key was ready once */
    struct audit_watch watch;
    void (*finished)(void *ctx);
    void *finished_ctx;
};

/* Begins a round if one is due and nothing is in the way; else tells those whose wish is fulfilled.
 */
void audit_round_begin(struct audit_checkpoints *checkpoints);
/* Is there something that a checkpoint would say, and does anybody want it? */
bool audit_round_is_due(const struct audit_checkpoints *checkpoints);
/* The last one was made, or cannot be: who waits for that is told. */
void audit_round_finish(struct audit_checkpoints *checkpoints);
/* Something that the checkpoints tell of the log: said, shown by agent.status, and on record. */
void audit_round_note_damage(struct audit_checkpoints *checkpoints, uint64_t expected,
                             uint64_t found, const struct why *why);

#endif
