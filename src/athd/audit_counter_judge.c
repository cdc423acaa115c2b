#include "athd/audit_counter_private.h"

#include <string.h>

void
audit_counter_judge(const struct audit_counter *counter, struct audit_counter_state *state)
{
    const struct checkpoint *newest = &counter->newest, *pending = &counter->pending;
    bool is_of_pending = counter->has_pending && pending->counter_index == counter->index;
    const char *own = public_key_jkt(audit_key_public(counter->key));
    bool is_of_newest = counter->has_newest && newest->has_counter &&
                        newest->counter_index == counter->index && !counter->is_lost;

    state->found = counter->value;
    if (counter->has_newest && strcmp(newest->jkt, own) != 0 && !audit_key_is_fresh(counter->key)) {
        state->is_rolled_back = true;
        state->expected = newest->counter;
        why_set(&state->why, ATH_ERR_INVALID_EVIDENCE,
                "the newest checkpoint is signed by the key %s, which is not the one athd uses",
                newest->jkt);
        return;
    }
    if (is_of_pending && counter->value == pending->counter && counter->pending_fits &&
        strcmp(pending->jkt, own) == 0) {
        state->is_pending = true;
        return;
    }
    if (is_of_newest && counter->value == newest->counter)
        return;
    if (is_of_newest) {
        state->is_rolled_back = true;
        state->expected = newest->counter;
        why_set(
            &state->why, ATH_ERR_INVALID_EVIDENCE,
            "the TPM's counter is at %llu, the newest checkpoint at %llu: the audit log was put "
            "back to what it was, or its counter was stepped by somebody else",
            (unsigned long long)counter->value, (unsigned long long)newest->counter);
    } else if (counter->is_lost || (counter->has_newest && newest->has_counter)) {
        state->is_rolled_back = true;
        state->expected = counter->is_lost ? counter->lost_value : newest->counter;
        why_set(&state->why, ATH_ERR_INVALID_EVIDENCE,
                "the counter of the newest checkpoint is not there any more: whether the audit log "
                "was put back to what it was cannot be told");
    } else if (is_of_pending && counter->value + 1 != pending->counter) {
        state->is_rolled_back = true;
        state->expected = pending->counter;
        why_set(&state->why, ATH_ERR_INVALID_EVIDENCE,
                "the TPM's counter is at %llu, the checkpoint that was begun at %llu",
                (unsigned long long)counter->value, (unsigned long long)pending->counter);
    } else if (!counter->has_newest && !is_of_pending && counter->value != counter->made_value) {
        state->is_rolled_back = true;
        state->expected = counter->made_value;
        why_set(
            &state->why, ATH_ERR_INVALID_EVIDENCE,
            "the TPM's counter was stepped to %llu, and there is no checkpoint: they were taken "
            "away",
            (unsigned long long)counter->value);
    }
}
