/*
 * Ties checkpoints to a counter in the TPM that only goes up, so that a log (or a whole state
 * directory) that was put back to what it was shows. In audit_key/: `counter` (which one it is) and
 * `checkpoint.pending`. The order, each step durable before the next:
 *
 *   pending text with value c + 1 ─▶ step, certified over that text ─▶ signature ─▶ note ─▶ no
 * pending
 *
 * so that after a kill anywhere the counter is either that of the newest checkpoint, or that of a
 * pending one which fits the log and is then completed. Anything else is a roll-back.
 * Hardware without a counter (PKCS#11) ties nothing, and checkpoints say so.
 */
#ifndef ATHD_AUDIT_COUNTER_H
#define ATHD_AUDIT_COUNTER_H

#include "athd/audit_follower.h"
#include "athd/audit_key.h"
#include "protocol/checkpoint.h"

struct audit_counter;

/* What the counter says of the log, once asked. */
struct audit_counter_state {
    bool is_pending; /* `pending` is to be signed and written now, with this evidence */
    struct ath_slice pending_text, evidence; /* valid during the completion */
    bool is_rolled_back;                     /* why says how; expected and found are its values */
    uint64_t expected, found;
    struct why why;
};

typedef void audit_counter_settled_fn(void *ctx, ath_err err,
                                      const struct audit_counter_state *state,
                                      const struct why *why);
typedef void audit_counter_stepped_fn(void *ctx, ath_err err, struct ath_slice evidence,
                                      const struct why *why);

/* Reads both files; blocking (start-up). key and follower are borrowed; newest may be NULL. What is
 * damaged is noted and not used. ATH_ERR_IO with why, ATH_ERR_NOMEM. */
ath_err audit_counter_open(struct athd *athd, struct audit_key *key,
                           struct audit_follower *follower, const struct checkpoint *newest,
                           struct why *why, struct audit_counter **ret_counter) ATH_MUST_USE;
/* No completion comes any more but those of files and hardware under way. */
void audit_counter_close(struct audit_counter *counter);
void audit_counter_free(struct audit_counter *counter);

/*
 * Asks the hardware (makes a counter where there is none yet) and compares with the newest
 * checkpoint (NULL: none). The key must be ready. done comes once, from the loop; state with
 * ATH_OK. ATH_ERR_HSM_*: try again later; also where the newest checkpoint has a counter and the
 * hardware can make none. One at a time.
 */
void audit_counter_settle(struct audit_counter *counter, const struct checkpoint *newest,
                          audit_counter_settled_fn *done, void *ctx);

/* Puts the next value, or that there is none. After audit_counter_settle. */
void audit_counter_put_next(const struct audit_counter *counter, struct checkpoint *checkpoint);
/* Writes the pending text and steps; evidence is empty where there is no counter. done from the
 * loop. After an error, and for ATH_ERR_INVALID_EVIDENCE (somebody else stepped it too), settle
 * again. */
void audit_counter_step(struct audit_counter *counter, struct ath_slice text,
                        audit_counter_stepped_fn *done, void *ctx);
/* The note is on disk. */
void audit_counter_commit(struct audit_counter *counter);
/* TPM2B_NV_PUBLIC, for the note; empty: none. */
struct ath_slice audit_counter_public(const struct audit_counter *counter);

#endif
