#include "policy/policy_diff.h"

#include <string.h>

/* Of an outer rule's condition and an inner one's: is the inner one as strict? No condition is the
 * widest one. */

static bool
covers_numbers(const struct policy_numbers *outer, const struct policy_numbers *inner)
{
    if (outer->count == 0)
        return true;
    for (size_t i = 0; i < inner->count; i++) {
        size_t at = 0;

        while (at < outer->count && outer->items[at] != inner->items[i])
            at++;
        if (at == outer->count)
            return false;
    }
    return inner->count > 0;
}

static bool
covers_text(const struct policy_texts *outer, const char *inner, bool by_path)
{
    for (size_t i = 0; i < outer->count; i++)
        if (policy_glob_covers(outer->items[i], inner, by_path))
            return true;
    return outer->count == 0;
}

static bool
covers_texts(const struct policy_texts *outer, const struct policy_texts *inner, bool by_path)
{
    if (outer->count == 0)
        return true;
    for (size_t i = 0; i < inner->count; i++)
        if (!covers_text(outer, inner->items[i], by_path))
            return false;
    return inner->count > 0;
}

static bool
covers_audience(const struct policy_audience *outer, size_t count,
                const struct policy_audience *inner)
{
    for (size_t i = 0; i < count; i++)
        if (policy_audience_covers(&outer[i], inner))
            return true;
    return false;
}

static bool
covers_audiences(const struct policy_audience *outer, size_t outer_count,
                 const struct policy_audience *inner, size_t inner_count)
{
    if (outer_count == 0)
        return true;
    for (size_t i = 0; i < inner_count; i++)
        if (!covers_audience(outer, outer_count, &inner[i]))
            return false;
    return inner_count > 0;
}

/* Audiences and peers may stand for one another in a decision: lists of both kinds are compared
 * only where they are the same kinds. */
static bool
covers_others(const struct policy_rule *outer, const struct policy_rule *inner)
{
    if (outer->audiences.count == 0 && outer->peers.count == 0)
        return true;
    if ((outer->audiences.count == 0) != (inner->audiences.count == 0) ||
        (outer->peers.count == 0) != (inner->peers.count == 0))
        return false;
    return covers_audiences(outer->audience_patterns, outer->audiences.count,
                            inner->audience_patterns, inner->audiences.count) &&
           covers_audiences(outer->peer_patterns, outer->peers.count, inner->peer_patterns,
                            inner->peers.count);
}

static bool
covers_who(const struct policy_rule *outer, const struct policy_rule *inner)
{
    bool is_by_unit = outer->units.count + outer->slices.count > 0;

    /* whose own units count depends on a uid in the rule */
    if (is_by_unit && (outer->uids.count == 0) != (inner->uids.count == 0))
        return false;
    return covers_numbers(&outer->uids, &inner->uids) &&
           covers_numbers(&outer->gids, &inner->gids) &&
           (outer->namespaces == 0 ||
            (inner->namespaces != 0 && (inner->namespaces & ~outer->namespaces) == 0)) &&
           covers_texts(&outer->grants, &inner->grants, false) &&
           covers_texts(&outer->units, &inner->units, false) &&
           covers_texts(&outer->slices, &inner->slices, false) &&
           covers_texts(&outer->exes, &inner->exes, true) &&
           covers_numbers(&outer->exe_inodes, &inner->exe_inodes) &&
           covers_texts(&outer->verities, &inner->verities, false);
}

static bool
covers_rate(const struct policy_rule *outer, const struct policy_rule *inner)
{
    return outer->rate == 0 || (inner->rate != 0 && inner->rate <= outer->rate &&
                                (uint64_t)inner->rate * outer->rate_s <=
                                    (uint64_t)outer->rate * inner->rate_s);
}

static bool
covers_limits(const struct policy_rule *outer, const struct policy_rule *inner)
{
    return covers_rate(outer, inner) &&
           (outer->max_ttl == 0 || (inner->max_ttl != 0 && inner->max_ttl <= outer->max_ttl)) &&
           (!outer->hours.is_given || policy_hours_cover(&outer->hours, &inner->hours));
}

/* For one key (NULL: any) of the inner rule. */
static bool
covers(const struct policy_rule *outer, const struct policy_rule *inner, const char *key)
{
    return covers_who(outer, inner) &&
           (outer->keys.count == 0 || (key != NULL && covers_text(&outer->keys, key, false))) &&
           covers_others(outer, inner) && covers_texts(&outer->scopes, &inner->scopes, false) &&
           covers_limits(outer, inner);
}

/* Is there nobody whom both are for? */
static bool
has_other_callers(const struct policy_rule *a, const struct policy_rule *b)
{
    for (size_t i = 0; i < a->uids.count; i++)
        for (size_t k = 0; k < b->uids.count; k++)
            if (a->uids.items[i] == b->uids.items[k])
                return false;
    return a->uids.count > 0 && b->uids.count > 0;
}

static bool
has_other_methods(const struct policy_rule *a, const struct policy_rule *b)
{
    for (size_t i = 0; i < POLICY_METHOD_WORDS; i++)
        if ((a->methods[i] & b->methods[i]) != 0)
            return false;
    return true;
}

static bool
has_other_keys(const struct policy_rule *a, const struct policy_rule *b)
{
    for (size_t i = 0; i < a->keys.count; i++)
        for (size_t k = 0; k < b->keys.count; k++)
            if (!policy_globs_are_apart(a->keys.items[i], b->keys.items[k]))
                return false;
    return a->keys.count > 0 && b->keys.count > 0;
}

static bool
is_apart(const struct policy_rule *a, const struct policy_rule *b, const char *key)
{
    bool is_apart_by_key = a->keys.count > 0 && key != NULL;

    for (size_t i = 0; i < a->keys.count && is_apart_by_key; i++)
        is_apart_by_key = policy_globs_are_apart(a->keys.items[i], key);
    if (is_apart_by_key)
        return true;
    return has_other_callers(a, b);
}

static bool
asks_as_much(const struct policy_rule *before, const struct policy_rule *after)
{
    if (after->consent != before->consent)
        return after->consent > before->consent && before->consent != POLICY_CONSENT_FIRST_AUDIENCE;
    return after->consent != POLICY_CONSENT_ONCE || after->consent_s <= before->consent_s;
}

/* A rate is counted for each rule by itself: two rules in the place of one allow twice as much. */
static bool
shares_rate(const struct policy_rule *before, const struct policy_rules *to,
            const struct policy_rule *rule)
{
    for (size_t i = 0; before->rate != 0 && i < to->count; i++) {
        const struct policy_rule *other = &to->rules[i];

        if (other != rule && !has_other_callers(other, rule) && !has_other_callers(other, before) &&
            !has_other_methods(other, before) && !has_other_keys(other, rule))
            return true;
    }
    return false;
}

/* NULL: nothing is gained; else why it may be. A rule that stands before the one that covers it,
 * and may have been the first to hold, must not have asked for more, nor have allowed less often.
 */
static const char *
find_gain(const struct policy_rules *from, const struct policy_rules *to,
          const struct policy_rule *rule, enum rpc_method_id method, const char *key)
{
    const char *gain = "no rule allowed it";

    for (size_t i = 0; i < from->of_method_count[method]; i++) {
        const struct policy_rule *before = &from->rules[from->of_method[method][i]];
        bool is_covering = covers(before, rule, key);

        if (!is_covering && is_apart(before, rule, key))
            continue;
        if (!is_covering && !covers_who(before, rule))
            gain = "no rule allowed it to all of these callers";
        else if (!is_covering)
            gain = "no rule allowed it with as little in its way";
        if (!asks_as_much(before, rule))
            return "the user was asked more often";
        if (!covers_rate(before, rule) || shares_rate(before, from, to, rule))
            return "it was allowed less often";
        if (is_covering)
            return NULL;
    }
    return gain;
}

static const char *
find_gain_of_keys(const struct policy_rules *from, const struct policy_rules *to,
                  const struct policy_rule *rule, enum rpc_method_id method)
{
    const char *gain = NULL;

    if (rule->keys.count == 0)
        return find_gain(from, to, rule, method, NULL);
    for (size_t i = 0; i < rule->keys.count && gain == NULL; i++)
        gain = find_gain(from, to, rule, method, rule->keys.items[i]);
    return gain;
}

bool
policy_diff(const struct policy_rules *from, const struct policy_rules *to, policy_gain_fn *gained,
            void *ctx)
{
    bool is_tighter = true;

    if (to->observe && !from->observe) {
        is_tighter = false;
        gained(ctx, NULL, "*", "observe: what the rules deny is allowed to the owner");
    }
    for (size_t i = 0; i < to->count; i++)
        for (size_t method = 0; method < RPC_METHOD_COUNT; method++) {
            const char *gain =
                policy_rule_has_method(&to->rules[i], (enum rpc_method_id)method)
                    ? find_gain_of_keys(from, to, &to->rules[i], (enum rpc_method_id)method)
                    : NULL;

            if (gain == NULL)
                continue;
            is_tighter = false;
            gained(ctx, &to->rules[i], method_at((enum rpc_method_id)method)->name, gain);
        }
    return is_tighter;
}
