#include "athd/audit_checkpoint_round.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_newest.h"
#include "base/clock.h"
#include "base/file.h"

#define RECORDS_MAX 65536u /* without a checkpoint: what a start may have to hash again */
#define RETRY_MS 2000u
#define RETRY_MAX_MS 300000u
#define DEADLINE_MS 30000u
#define SIGN_FAILURES_MAX 3 /* then the hardware is asked whether it still knows the key */

/* ---- those who wait ---- */

static bool
covers(const struct audit_checkpoints *checkpoints, uint64_t size)
{
    return checkpoints->newest_counts && checkpoints->newest.size >= size;
}

/* Whoever is told may want another one, or forget one. */
static void
tell_all(struct audit_checkpoints *checkpoints, ath_err err, const struct why *why)
{
    struct audit_checkpoint_wait *wait;

    TAILQ_FOREACH (wait, &checkpoints->waiting, entry)
        wait->is_due = err != ATH_OK || covers(checkpoints, wait->size);
    do {
        TAILQ_FOREACH (wait, &checkpoints->waiting, entry)
            if (wait->is_due)
                break;
        if (wait != NULL) {
            TAILQ_REMOVE(&checkpoints->waiting, wait, entry);
            wait->done(wait->ctx, err, ath_buf_slice(&checkpoints->newest_note), why);
        }
    } while (wait != NULL);
}

void
audit_round_finish(struct audit_checkpoints *checkpoints)
{
    void (*finished)(void *) = checkpoints->finished;

    checkpoints->finished = NULL;
    if (finished != NULL)
        finished(checkpoints->finished_ctx);
}

/* ---- failures ---- */

static void
on_retry(uv_timer_t *timer)
{
    audit_round_begin(timer->data);
}

/* Whatever failed: what the counter says is asked anew, since a step may or may not have been made.
 */
static void
fail(struct audit_checkpoints *checkpoints, ath_err err, const struct why *why)
{
    why_set(&checkpoints->why, err, "%s", why_text(why, err));
    if (checkpoints->retry_ms == 0)
        log_warning("event=checkpoint err=%s reason=\"%s\"; it is tried again", ath_err_reason(err),
                    checkpoints->why.text);
    checkpoints->step = STEP_UNSETTLED;
    checkpoints->is_wanted = true; /* what wanted it still does: the next try is for that */
    checkpoints->retry_ms = checkpoints->retry_ms == 0                 ? RETRY_MS
                            : checkpoints->retry_ms * 2 < RETRY_MAX_MS ? checkpoints->retry_ms * 2
                                                                       : RETRY_MAX_MS;
    if (!checkpoints->is_closing)
        uv_timer_start(&checkpoints->retry, on_retry, checkpoints->retry_ms, 0);
    tell_all(checkpoints, err, &checkpoints->why);
    audit_round_finish(checkpoints);
}

/* ---- writing ---- */

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct audit_checkpoints *checkpoints = ctx;

    if (err != ATH_OK) {
        fail(checkpoints, err, why);
        return;
    }
    checkpoints->newest = checkpoints->next;
    checkpoints->has_newest = checkpoints->newest_counts = true;
    ath_buf_done(&checkpoints->newest_note);
    checkpoints->newest_note = checkpoints->note; /* ownership moves */
    checkpoints->note = (struct ath_buf){.max = CHECKPOINT_MAX_LEN};
    audit_counter_commit(checkpoints->counter);
    audit_retention_covered(checkpoints->retention, checkpoints->newest.size);
    checkpoints->retry_ms = 0;
    checkpoints->sign_failures = 0;
    checkpoints->step = STEP_IDLE;
    log_info("event=checkpoint size=%llu", (unsigned long long)checkpoints->newest.size);
    tell_all(checkpoints, ATH_OK, NULL);
    audit_round_begin(checkpoints);
}

/* Nothing is written that a verifier would refuse. */
static ath_err
check_note(const struct audit_checkpoints *checkpoints, struct why *why)
{
    struct checkpoint_note note;
    ath_err err = checkpoint_decode(ath_buf_slice(&checkpoints->note), why, &note);

    return err != ATH_OK ? err : checkpoint_verify(&note, audit_key_public(checkpoints->key), why);
}

static void
write_note(struct audit_checkpoints *checkpoints, struct ath_slice signature)
{
    struct ath_buf one = {.max = CHECKPOINT_MAX_LEN}, other = {.max = CHECKPOINT_MAX_LEN};
    char name[CHECKPOINT_NAME_LEN + 1];
    char *path;
    struct why why = {{0}};
    ath_err err;

    checkpoint_name(checkpoints->next.size, name);
    path = file_path(checkpoints->dir, name);
    ath_buf_clear(&checkpoints->note);
    err = path == NULL
              ? ATH_ERR_NOMEM
              : checkpoint_put_note(ath_buf_slice(&checkpoints->text),
                                    audit_key_public(checkpoints->key), signature,
                                    audit_counter_public(checkpoints->counter),
                                    ath_buf_slice(&checkpoints->evidence), &checkpoints->note);
    if (err == ATH_OK)
        err = check_note(checkpoints, &why);
    if (err != ATH_OK) {
        free(path);
        fail(checkpoints, err, &why);
        return;
    }
    checkpoints->step = STEP_WRITING;
    ath_buf_put_slice(&one, ath_buf_slice(&checkpoints->note));
    ath_buf_put_slice(&other, ath_buf_slice(&checkpoints->note));
    store_replace_two(checkpoints->athd, path, &one, checkpoints->newest_path, &other, on_written,
                      checkpoints);
    free(path);
}

/* ---- signing ---- */

static void
on_signed(void *ctx, const struct hsm_outcome *outcome)
{
    struct audit_checkpoints *checkpoints = ctx;

    if (outcome->err == ATH_OK) {
        write_note(checkpoints, outcome->signature);
        return;
    }
    fail(checkpoints, outcome->err, &outcome->why);
    if (!checkpoints->is_closing && ++checkpoints->sign_failures >= SIGN_FAILURES_MAX) {
        checkpoints->sign_failures = 0;
        audit_key_check(checkpoints->key);
    }
}

/* The audit key's gate, as purpose_check is that of the others. */
static ath_err
check_text(const struct audit_checkpoints *checkpoints, struct why *why)
{
    struct checkpoint decoded;
    ath_err err = checkpoint_decode_text(ath_buf_slice(&checkpoints->text), why, &decoded);

    if (err == ATH_OK &&
        strcmp(decoded.jkt, public_key_jkt(audit_key_public(checkpoints->key))) != 0)
        err = why_set(why, ATH_ERR_POLICY_DENIED, "the checkpoint is another key's");
    return err;
}

static void
sign(struct audit_checkpoints *checkpoints)
{
    struct hsm_job_params params = {.priority = HSM_PRIORITY_NORMAL,
                                    .deadline_ms = clock_monotonic_ms() + DEADLINE_MS,
                                    .done = on_signed,
                                    .ctx = checkpoints};
    struct why why = {{0}};
    ath_err err = audit_key_is_ready(checkpoints->key) ? check_text(checkpoints, &why)
                                                       : ATH_ERR_HSM_UNAVAILABLE;

    checkpoints->step = STEP_SIGNING;
    if (err == ATH_OK)
        err = hsm_pool_sign(checkpoints->athd->hsms, audit_key_ref(checkpoints->key),
                            ath_buf_slice(&checkpoints->text), &params, NULL);
    if (err != ATH_OK)
        fail(checkpoints, err, &why);
}

static void
on_counted(void *ctx, ath_err err, struct ath_slice evidence, const struct why *why)
{
    struct audit_checkpoints *checkpoints = ctx;

    ath_buf_clear(&checkpoints->evidence);
    ath_buf_put_slice(&checkpoints->evidence, evidence);
    if (err == ATH_OK)
        err = checkpoints->evidence.err;
    if (err == ATH_OK)
        sign(checkpoints);
    else
        fail(checkpoints, err, why);
}

void
audit_round_note_damage(struct audit_checkpoints *checkpoints, uint64_t expected, uint64_t found,
                        const struct why *why)
{
    struct json_maker record;

    damage_note(&checkpoints->athd->damage, audit_log_dir(checkpoints->athd->audit),
                AUDIT_NEWEST_NAME, ATH_ERR_INVALID_EVIDENCE, why);
    audit_record_begin(&record, "audit_rollback", NULL);
    json_put_int(&record, "expected", (int64_t)expected);
    json_put_int(&record, "found", (int64_t)found);
    json_put_string(&record, "message", why->text);
    audit_append(checkpoints->athd->audit, &record, NULL, NULL);
}

static void
note_change(struct audit_checkpoints *checkpoints)
{
    struct why why;

    if (checkpoints->is_change_noted || !audit_follower_is_inconsistent(checkpoints->follower))
        return;
    checkpoints->is_change_noted = true;
    why_set(&why, ATH_ERR_INVALID_EVIDENCE,
            "the records do not give the root of the newest checkpoint: the log was changed; ath "
            "audit verify names the place");
    audit_round_note_damage(checkpoints, checkpoints->newest.size, checkpoints->newest.size, &why);
}

static void
on_reached(void *ctx, ath_err err, const struct audit_head *head, const struct why *why)
{
    struct audit_checkpoints *checkpoints = ctx;
    struct checkpoint *next = &checkpoints->next;

    if (err == ATH_OK && !audit_key_is_ready(checkpoints->key))
        err = ATH_ERR_HSM_UNAVAILABLE;
    if (err != ATH_OK) {
        fail(checkpoints, err, why);
        return;
    }
    note_change(checkpoints);
    *next = (struct checkpoint){.size = head->size};
    strcpy(next->jkt, public_key_jkt(audit_key_public(checkpoints->key)));
    memcpy(next->root, head->root, SHA256_LEN);
    clock_now_text(next->time);
    next->has_previous = covers(checkpoints, 0) && checkpoints->newest.size < next->size;
    next->previous = next->has_previous ? checkpoints->newest.size : 0;
    audit_counter_put_next(checkpoints->counter, next);
    ath_buf_clear(&checkpoints->text);
    checkpoint_put_text(next, &checkpoints->text);
    checkpoints->step = STEP_COUNTING;
    if (checkpoints->text.err != ATH_OK)
        fail(checkpoints, checkpoints->text.err, NULL);
    else
        audit_counter_step(checkpoints->counter, ath_buf_slice(&checkpoints->text), on_counted,
                           checkpoints);
}

/* ---- what the counter says ---- */

/* A checkpoint that a kill left half made is made whole: same text, same counter. */
static void
complete(struct audit_checkpoints *checkpoints, const struct audit_counter_state *state)
{
    struct why why = {{0}};
    ath_err err;

    ath_buf_clear(&checkpoints->text);
    ath_buf_clear(&checkpoints->evidence);
    ath_buf_put_slice(&checkpoints->text, state->pending_text);
    ath_buf_put_slice(&checkpoints->evidence, state->evidence);
    err = checkpoints->evidence.err != ATH_OK
              ? checkpoints->evidence.err
              : checkpoint_decode_text(state->pending_text, &why, &checkpoints->next);
    if (err == ATH_OK)
        sign(checkpoints);
    else
        fail(checkpoints, err, &why);
}

static void
on_settled(void *ctx, ath_err err, const struct audit_counter_state *state, const struct why *why)
{
    struct audit_checkpoints *checkpoints = ctx;

    if (err != ATH_OK) {
        fail(checkpoints, err, why);
        return;
    }
    if (state->is_rolled_back)
        audit_round_note_damage(checkpoints, state->expected, state->found, &state->why);
    if (state->is_pending) {
        complete(checkpoints, state);
        return;
    }
    checkpoints->step = STEP_IDLE;
    audit_round_begin(checkpoints);
}

/* ---- the beginning ---- */

bool
audit_round_is_due(const struct audit_checkpoints *checkpoints)
{
    uint64_t size = audit_log_size(checkpoints->athd->audit);

    if (size == 0 || (checkpoints->newest_counts && checkpoints->newest.size == size))
        return false;
    return !checkpoints->newest_counts || checkpoints->is_finishing || checkpoints->is_wanted ||
           audit_retention_wants_checkpoint(checkpoints->retention) ||
           !TAILQ_EMPTY(&checkpoints->waiting) || size - checkpoints->newest.size >= RECORDS_MAX;
}

void
audit_round_begin(struct audit_checkpoints *checkpoints)
{
    if (checkpoints->is_closing || !audit_key_is_ready(checkpoints->key))
        return;
    if (checkpoints->step == STEP_UNSETTLED) {
        checkpoints->step = STEP_SETTLING;
        audit_counter_settle(checkpoints->counter,
                             checkpoints->has_newest ? &checkpoints->newest : NULL, on_settled,
                             checkpoints);
        return;
    }
    if (checkpoints->step != STEP_IDLE)
        return;
    if (!audit_round_is_due(checkpoints)) {
        checkpoints->retry_ms = 0;
        tell_all(checkpoints, ATH_OK, NULL);
        audit_round_finish(checkpoints);
        return;
    }
    checkpoints->is_wanted = false;
    checkpoints->step = STEP_REACHING;
    checkpoints->reach = (struct audit_reach){.size = audit_log_size(checkpoints->athd->audit),
                                              .whole = true,
                                              .done = on_reached,
                                              .ctx = checkpoints};
    audit_follower_reach(checkpoints->follower, &checkpoints->reach);
}
