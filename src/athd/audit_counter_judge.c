#include "athd/audit_counter_private.h"

#include <string.h>

/* What of the counter's story a checkpoint is from. */
struct story {
    bool is_of_newest, is_of_pending; /* this counter is the one that the checkpoint names */
};

static struct story
story_of(const struct audit_counter *counter)
{
    const struct checkpoint *newest = &counter->newest, *pending = &counter->pending;

    return (struct story){
        .is_of_newest = counter->has_newest && newest->has_counter &&
                        newest->counter_index == counter->index && !counter->is_lost,
        .is_of_pending = counter->has_pending && pending->counter_index == counter->index,
    };
}

static struct why *
roll_back(struct audit_counter_state *state, uint64_t expected)
{
    state->is_rolled_back = true;
    state->expected = expected;
    return &state->why;
}

/* Neither the newest checkpoint nor the one that was begun is at the counter's value. */
static void
judge_difference(const struct audit_counter *counter, const struct story *story,
                 struct audit_counter_state *state)
{
    const struct checkpoint *newest = &counter->newest, *pending = &counter->pending;
    const unsigned long long value = counter->value;

    if (story->is_of_newest)
        why_set(roll_back(state, newest->counter), ATH_ERR_INVALID_EVIDENCE,
                "the TPM's counter is at %llu, the newest checkpoint at %llu: the audit log was "
                "put back to what it was, or its counter was stepped by somebody else",
                value, (unsigned long long)newest->counter);
    else if (counter->is_lost || (counter->has_newest && newest->has_counter))
        why_set(roll_back(state, counter->is_lost ? counter->lost_value : newest->counter),
                ATH_ERR_INVALID_EVIDENCE,
                "the counter of the newest checkpoint is not there any more: whether the audit log "
                "was put back to what it was cannot be told");
    else if (story->is_of_pending && counter->value + 1 != pending->counter)
        why_set(roll_back(state, pending->counter), ATH_ERR_INVALID_EVIDENCE,
                "the TPM's counter is at %llu, the checkpoint that was begun at %llu", value,
                (unsigned long long)pending->counter);
    else if (!counter->has_newest && !story->is_of_pending && counter->value != counter->made_value)
        why_set(roll_back(state, counter->made_value), ATH_ERR_INVALID_EVIDENCE,
                "the TPM's counter was stepped to %llu, and there is no checkpoint: they were "
                "taken away",
                value);
}

void
audit_counter_judge(const struct audit_counter *counter, struct audit_counter_state *state)
{
    const struct checkpoint *newest = &counter->newest, *pending = &counter->pending;
    const char *own = public_key_jkt(audit_key_public(counter->key));
    const struct story story = story_of(counter);

    state->found = counter->value;
    if (counter->has_newest && strcmp(newest->jkt, own) != 0 && !audit_key_is_fresh(counter->key))
        why_set(roll_back(state, newest->counter), ATH_ERR_INVALID_EVIDENCE,
                "the newest checkpoint is signed by the key %s, which is not the one athd uses",
                newest->jkt);
    else if (story.is_of_pending && counter->pending_fits &&
             counter->value == pending->counter && strcmp(pending->jkt, own) == 0)
        state->is_pending = true;
    else if (!story.is_of_newest || counter->value != newest->counter)
        judge_difference(counter, &story, state);
}
