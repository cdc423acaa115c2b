#include "athd/audit_counter.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_counter_private.h"
#include "athd/store.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "crypto/random.h"

#define DEADLINE_MS 30000u

/* ---- ends ---- */

static void
settled(struct audit_counter *counter, ath_err err, const struct audit_counter_state *state,
        const struct why *why)
{
    audit_counter_settled_fn *done = counter->settled;

    counter->settled = NULL;
    if (done != NULL)
        done(counter->ctx, err, state, why);
}

static void
stepped(struct audit_counter *counter, ath_err err, struct ath_slice evidence,
        const struct why *why)
{
    audit_counter_stepped_fn *done = counter->stepped;

    counter->stepped = NULL;
    if (done != NULL)
        done(counter->ctx, err, evidence, why);
}

static void
run_failed(void *ctx)
{
    struct audit_counter *counter = ctx;

    if (counter->settled != NULL)
        settled(counter, counter->err, &(struct audit_counter_state){0}, &counter->why);
    else
        stepped(counter, counter->err, ath_slice_of(NULL, 0), &counter->why);
}

/* Not from inside the call that failed. */
static void
end_later(struct audit_counter *counter, ath_err err, const struct why *why)
{
    counter->err = err;
    counter->why = why == NULL ? (struct why){{0}} : *why;
    deferred_add(&counter->athd->deferred, &counter->deferred, run_failed, counter);
}

/* ---- settling ---- */

static void ask(struct audit_counter *counter);

static void
conclude(struct audit_counter *counter)
{
    struct audit_counter_state state = {0};

    counter->is_known = true;
    audit_counter_judge(counter, &state);
    counter->is_lost = false;
    if (state.is_pending) {
        state.pending_text = ath_buf_slice(&counter->pending_text);
        state.evidence = ath_buf_slice(&counter->evidence);
    } else {
        audit_counter_forget_pending(counter);
    }
    settled(counter, ATH_OK, &state, NULL);
}

static void
on_blob_written(void *ctx, ath_err err, const struct why *why)
{
    struct audit_counter *counter = ctx;

    if (err == ATH_OK)
        conclude(counter);
    else
        settled(counter, err, NULL, why);
}

/* A counter was made: which one is on disk before anything stands on it. */
static void
keep_blob(struct audit_counter *counter, struct ath_slice blob)
{
    struct ath_buf copy = {.max = AUDIT_COUNTER_PUBLIC_MAX};

    ath_buf_put_slice(&counter->blob, blob);
    counter->made_value = counter->value;
    ath_buf_put_slice(&copy, blob);
    bytes_put_u64(&copy, counter->made_value);
    if (counter->blob.err != ATH_OK || copy.err != ATH_OK ||
        !audit_counter_read_index(ath_buf_slice(&counter->blob), &counter->index)) {
        ath_buf_clear(&counter->blob);
        ath_buf_done(&copy);
        settled(counter, ATH_ERR_HSM_ERROR, NULL, NULL);
        return;
    }
    store_replace(counter->athd, counter->counter_path, &copy, on_blob_written, counter);
}

static bool
may_pass(ath_err err)
{
    return err == ATH_ERR_HSM_UNAVAILABLE || err == ATH_ERR_HSM_BUSY || err == ATH_ERR_NOMEM;
}

/* Our counter is gone: another TPM, or one that was cleared. The next question makes a new one. */
static void
lose(struct audit_counter *counter)
{
    counter->is_lost = true;
    counter->lost_value = counter->has_newest ? counter->newest.counter : 0;
    ath_buf_clear(&counter->blob);
    ask(counter);
}

static void
on_asked(void *ctx, const struct hsm_outcome *outcome)
{
    struct audit_counter *counter = ctx;
    bool is_new = counter->blob.len == 0;

    if (outcome->err == ATH_ERR_INVALID_PARAMS && !is_new) {
        lose(counter);
        return;
    }
    if (outcome->err != ATH_OK) {
        /* none can be made here: then checkpoints say so, unless they had one */
        if (is_new && !may_pass(outcome->err) && !counter->is_lost &&
            !(counter->has_newest && counter->newest.has_counter)) {
            log_warning("event=audit reason=\"no counter, so roll-back of the whole log does not "
                        "show: %s\"",
                        why_text(&outcome->why, outcome->err));
            settled(counter, ATH_OK, &(struct audit_counter_state){0}, NULL);
        } else {
            settled(counter, outcome->err, NULL, &outcome->why);
        }
        return;
    }
    counter->value = outcome->counter;
    ath_buf_clear(&counter->evidence);
    ath_buf_put_slice(&counter->evidence, outcome->evidence);
    if (counter->evidence.err != ATH_OK)
        settled(counter, counter->evidence.err, NULL, NULL);
    else if (is_new)
        keep_blob(counter, outcome->blob);
    else
        conclude(counter);
}

static ath_err
submit(struct audit_counter *counter, uint32_t steps, const uint8_t nonce[SHA256_LEN],
       hsm_done_fn *done)
{
    struct hsm_job_params params = {.priority = HSM_PRIORITY_NORMAL,
                                    .deadline_ms = clock_monotonic_ms() + DEADLINE_MS,
                                    .done = done,
                                    .ctx = counter};

    return hsm_pool_counter(counter->athd->hsms, audit_key_ref(counter->key),
                            ath_buf_slice(&counter->blob), steps, nonce, &params, NULL);
}

static void
ask(struct audit_counter *counter)
{
    uint8_t nonce[SHA256_LEN];
    ath_err err = counter->has_pending
                      ? checkpoint_nonce(ath_buf_slice(&counter->pending_text), nonce)
                      : random_bytes(nonce, sizeof(nonce));

    if (err == ATH_OK)
        err = submit(counter, 0, nonce, on_asked);
    if (err != ATH_OK)
        end_later(counter, err, NULL);
}

/* The follower passes the size once only, so this is asked when it begins. */
static void
on_pending_reached(void *ctx, ath_err err, const struct audit_head *head, const struct why *why)
{
    struct audit_counter *counter = ctx;

    (void)why; /* the follower says it, and begins anew */
    if (err != ATH_OK && !counter->is_closing) {
        audit_follower_reach(counter->follower, &counter->reach);
        return;
    }
    counter->is_pending_reached = true;
    counter->pending_fits =
        err == ATH_OK && memcmp(head->root, counter->pending.root, SHA256_LEN) == 0;
    if (counter->is_waiting)
        ask(counter);
    counter->is_waiting = false;
}

void
audit_counter_settle(struct audit_counter *counter, const struct checkpoint *newest,
                     audit_counter_settled_fn *done, void *ctx)
{
    counter->settled = done;
    counter->ctx = ctx;
    counter->is_known = false;
    if ((counter->has_newest = newest != NULL))
        counter->newest = *newest;
    if (!hsm_pool_has_counter(counter->athd->hsms, audit_key_hsm(counter->key))) {
        audit_counter_forget_pending(counter);
        ath_buf_clear(&counter->blob);
        end_later(counter, ATH_OK, NULL);
    } else if (counter->has_pending && !counter->is_pending_reached) {
        counter->is_waiting = true;
    } else {
        ask(counter);
    }
}

/* ---- stepping ---- */

void
audit_counter_put_next(const struct audit_counter *counter, struct checkpoint *checkpoint)
{
    checkpoint->has_counter = counter->is_known;
    checkpoint->counter_index = counter->is_known ? counter->index : 0;
    checkpoint->counter = counter->is_known ? counter->value + 1 : 0;
}

static void
on_stepped(void *ctx, const struct hsm_outcome *outcome)
{
    struct audit_counter *counter = ctx;
    struct why why = outcome->why;
    ath_err err = outcome->err;

    if (err == ATH_OK) {
        counter->value = outcome->counter;
        if (outcome->counter != counter->pending.counter)
            err = why_set(&why, ATH_ERR_INVALID_EVIDENCE,
                          "somebody else stepped the audit log's counter too");
    }
    stepped(counter, err, err == ATH_OK ? outcome->evidence : ath_slice_of(NULL, 0), &why);
}

static void
on_pending_written(void *ctx, ath_err err, const struct why *why)
{
    struct audit_counter *counter = ctx;
    uint8_t nonce[SHA256_LEN];

    if (err == ATH_OK)
        err = checkpoint_nonce(ath_buf_slice(&counter->pending_text), nonce);
    if (err == ATH_OK)
        err = submit(counter, 1, nonce, on_stepped);
    if (err != ATH_OK)
        stepped(counter, err, ath_slice_of(NULL, 0), why);
}

void
audit_counter_step(struct audit_counter *counter, struct ath_slice text,
                   audit_counter_stepped_fn *done, void *ctx)
{
    struct ath_buf copy = {.max = CHECKPOINT_MAX_TEXT};
    struct why why = {{0}};
    ath_err err;

    counter->stepped = done;
    counter->ctx = ctx;
    if (!counter->is_known) {
        end_later(counter, ATH_OK, NULL);
        return;
    }
    ath_buf_clear(&counter->pending_text);
    ath_buf_put_slice(&counter->pending_text, text);
    ath_buf_put_slice(&copy, text);
    err = counter->pending_text.err != ATH_OK
              ? counter->pending_text.err
              : checkpoint_decode_text(text, &why, &counter->pending);
    if (err != ATH_OK) {
        ath_buf_done(&copy);
        end_later(counter, err, &why);
        return;
    }
    counter->has_pending = counter->pending_fits = counter->is_pending_reached = true;
    store_replace(counter->athd, counter->pending_path, &copy, on_pending_written, counter);
}

void
audit_counter_commit(struct audit_counter *counter)
{
    audit_counter_forget_pending(counter);
}

struct ath_slice
audit_counter_public(const struct audit_counter *counter)
{
    return counter->is_known ? ath_buf_slice(&counter->blob) : ath_slice_of(NULL, 0);
}

/* ---- life ---- */

ath_err
audit_counter_open(struct athd *athd, struct audit_key *key, struct audit_follower *follower,
                   const struct checkpoint *newest, struct why *why,
                   struct audit_counter **ret_counter)
{
    struct audit_counter *counter = calloc(1, sizeof(*counter));
    char *dir = file_path(athd->config->state_dir, AUDIT_KEY_DIR);
    ath_err err = ATH_ERR_NOMEM;

    if (counter == NULL || dir == NULL)
        goto out;
    counter->athd = athd;
    counter->key = key;
    counter->follower = follower;
    counter->blob.max = AUDIT_COUNTER_PUBLIC_MAX;
    counter->pending_text.max = CHECKPOINT_MAX_TEXT;
    counter->evidence.max = HSM_WIRE_MAX_EVIDENCE;
    if ((counter->counter_path = file_path(dir, AUDIT_COUNTER_NAME)) == NULL ||
        (counter->pending_path = file_path(dir, AUDIT_COUNTER_PENDING_NAME)) == NULL)
        goto out;
    if ((err = audit_counter_read_files(counter, why)) != ATH_OK)
        goto out;
    if (newest != NULL && counter->pending.size < newest->size)
        audit_counter_forget_pending(counter); /* the kill came between the note and its removal */
    counter->is_pending_reached = counter->pending.size > audit_log_size(athd->audit);
    if (counter->has_pending && !counter->is_pending_reached) {
        counter->reach = (struct audit_reach){.size = counter->pending.size,
                                              .whole = true,
                                              .done = on_pending_reached,
                                              .ctx = counter};
        audit_follower_reach(follower, &counter->reach);
    }
    *ret_counter = counter;
    counter = NULL;
out:
    audit_counter_free(counter);
    free(dir);
    return err;
}

void
audit_counter_close(struct audit_counter *counter)
{
    counter->is_closing = true;
    deferred_remove(&counter->athd->deferred, &counter->deferred);
}

void
audit_counter_free(struct audit_counter *counter)
{
    if (counter == NULL)
        return;
    ath_buf_done(&counter->blob);
    ath_buf_done(&counter->pending_text);
    ath_buf_done(&counter->evidence);
    free(counter->counter_path);
    free(counter->pending_path);
    free(counter);
}
