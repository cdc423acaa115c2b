/*
 * The counter as audit_counter.c (the hardware is asked, and steps it), audit_counter_file.c (what
 * is on disk) and audit_counter_judge.c (what its value says of the log) share it.
 */
#ifndef ATHD_AUDIT_COUNTER_PRIVATE_H
#define ATHD_AUDIT_COUNTER_PRIVATE_H

#include "athd/audit_counter.h"
#include "athd/deferred.h"

/* in AUDIT_KEY_DIR */
#define AUDIT_COUNTER_NAME "counter"
#define AUDIT_COUNTER_PENDING_NAME "checkpoint.pending"
#define AUDIT_COUNTER_PUBLIC_MAX 512u /* bytes of TPM2B_NV_PUBLIC, and of the file */

struct audit_counter {
    struct athd *athd;
    struct audit_key *key;           /* borrowed */
    struct audit_follower *follower; /* borrowed */
    char *counter_path, *pending_path;
    struct ath_buf blob; /* TPM2B_NV_PUBLIC; empty: none */
    uint32_t index;      /* of it */
    bool is_known;       /* value is the counter's; else there is none */
    uint64_t value;
    uint64_t made_value;            /* when it was made */
    bool has_pending, pending_fits; /* the log has the root it says at its size */
    bool is_pending_reached;        /* whether it fits is known */
    bool is_waiting;                /* for that */
    struct checkpoint pending;
    struct ath_buf pending_text;
    struct audit_reach reach; /* of the pending size */
    /* under way */
    struct checkpoint newest;
    bool has_newest;
    uint64_t lost_value; /* of a counter that is gone */
    bool is_lost, is_closing;
    struct ath_buf evidence;
    struct deferred deferred;
    audit_counter_settled_fn *settled;
    audit_counter_stepped_fn *stepped;
    void *ctx;
    ath_err err;
    struct why why;
};

/* audit_counter_file.c: blocking (start-up). What is damaged is noted and not used: ATH_OK.
 * ATH_ERR_NOMEM. */
ath_err audit_counter_read_files(struct audit_counter *counter, struct why *why) ATH_MUST_USE;
/* The index in a TPM2B_NV_PUBLIC; false: it is none. */
bool audit_counter_read_index(struct ath_slice blob, uint32_t *ret_index) ATH_MUST_USE;
/* Its file is removed, if there is one. */
void audit_counter_forget_pending(struct audit_counter *counter);

/* audit_counter_judge.c: what the value says, with `why` where it is not what it must be. */
void audit_counter_judge(const struct audit_counter *counter, struct audit_counter_state *state);

#endif
