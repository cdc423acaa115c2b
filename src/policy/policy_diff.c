#include "policy/policy_diff.h"

#include <stdlib.h>
#include <string.h>

#define NO_TWIN SIZE_MAX

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

bool
policy_text_is_covered(const char *inner, const struct policy_texts *outer, bool by_path)
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
        if (!policy_text_is_covered(inner->items[i], outer, by_path))
            return false;
    return inner->count > 0;
}

bool
policy_audience_is_covered(const struct policy_audience *inner, const struct policy_audience *outer,
                           size_t count)
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
        if (!policy_audience_is_covered(&inner[i], outer, outer_count))
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
    return outer->rate == 0 ||
           (inner->rate != 0 && inner->rate <= outer->rate &&
            (uint64_t)inner->rate * outer->rate_s <= (uint64_t)outer->rate * inner->rate_s);
}

static bool
covers_limits(const struct policy_rule *outer, const struct policy_rule *inner)
{
    return covers_rate(outer, inner) &&
           (outer->max_ttl == 0 || (inner->max_ttl != 0 && inner->max_ttl <= outer->max_ttl)) &&
           (!outer->hours.is_given || policy_hours_cover(&outer->hours, &inner->hours));
}

static bool
covers_but_keys(const struct policy_rule *outer, const struct policy_rule *inner)
{
    return covers_who(outer, inner) && covers_others(outer, inner) &&
           covers_texts(&outer->scopes, &inner->scopes, false) && covers_limits(outer, inner);
}

/* For one key (NULL: any) of the inner rule. */
static bool
covers(const struct policy_rule *outer, const struct policy_rule *inner, const char *key)
{
    return covers_but_keys(outer, inner) &&
           (outer->keys.count == 0 ||
            (key != NULL && policy_text_is_covered(key, &outer->keys, false)));
}

static bool
covers_all(const struct policy_rule *outer, const struct policy_rule *inner)
{
    return covers_but_keys(outer, inner) && covers_texts(&outer->keys, &inner->keys, false);
}

/* ---- is there nothing that both are for? ---- */

static bool
has_other_callers(const struct policy_rule *a, const struct policy_rule *b)
{
    for (size_t i = 0; i < a->uids.count; i++)
        for (size_t k = 0; k < b->uids.count; k++)
            if (a->uids.items[i] == b->uids.items[k])
                return false;
    return a->uids.count > 0 && b->uids.count > 0;
}

/* Where something is signed there is a key: calls about none fit rules for any. */
static bool
has_other_methods(const struct policy_rule *a, const struct policy_rule *b, bool *ret_all_sign)
{
    bool is_common = false;

    *ret_all_sign = true;
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        enum rpc_method_id method = (enum rpc_method_id)i;

        if (!policy_rule_has_method(a, method) || !policy_rule_has_method(b, method))
            continue;
        is_common = true;
        *ret_all_sign &= policy_method_signs(method);
    }
    return !is_common;
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
are_apart(const struct policy_rule *a, const struct policy_rule *b)
{
    bool all_sign;

    return has_other_callers(a, b) || has_other_methods(a, b, &all_sign) ||
           (all_sign && has_other_keys(a, b));
}

/* For one method, and one key of b (NULL: any). */
static bool
is_apart(const struct policy_rule *a, const struct policy_rule *b, enum rpc_method_id method,
         const char *key)
{
    bool is_apart_by_key = a->keys.count > 0 && key != NULL && policy_method_signs(method);

    for (size_t i = 0; i < a->keys.count && is_apart_by_key; i++)
        is_apart_by_key = policy_globs_are_apart(a->keys.items[i], key);
    return is_apart_by_key || has_other_callers(a, b);
}

/* ---- rules that stayed ---- */

struct comparison {
    const struct policy_rules *from, *to;
    size_t *twins; /* of from: which rule of `to` is the same one, but for its name; or NO_TWIN */
    size_t *stays; /* of to: which rule of `from` allowed all that this one does now; or NO_TWIN */
};

static bool
is_twin(const struct policy_rule *a, const struct policy_rule *b)
{
    return memcmp(a->methods, b->methods, sizeof(a->methods)) == 0 && a->consent == b->consent &&
           a->consent_s == b->consent_s && covers_all(a, b) && covers_all(b, a);
}

/* Nothing that rule `i` of `from` did not decide before comes to its twin now: what stood before
 * it, and may have decided that, still does. */
static bool
does_stay(const struct comparison *comparison, size_t i)
{
    const struct policy_rules *from = comparison->from;

    for (size_t k = 0; k < i; k++)
        if ((comparison->twins[k] == NO_TWIN || comparison->twins[k] > comparison->twins[i]) &&
            !are_apart(&from->rules[k], &from->rules[i]))
            return false;
    return true;
}

/* Each rule of `from` has the first twin that no other has: whole files compare in order. */
static void
find_twins(struct comparison *comparison)
{
    const struct policy_rules *from = comparison->from, *to = comparison->to;
    size_t next = 0;

    for (size_t k = 0; k < to->count; k++)
        comparison->stays[k] = NO_TWIN;
    for (size_t i = 0; i < from->count; i++) {
        comparison->twins[i] = NO_TWIN;
        for (size_t n = 0; n < to->count && comparison->twins[i] == NO_TWIN; n++) {
            size_t k = (next + n) % to->count;

            if (comparison->stays[k] != NO_TWIN || !is_twin(&from->rules[i], &to->rules[k]))
                continue;
            comparison->twins[i] = k;
            comparison->stays[k] = i;
            next = k + 1;
        }
    }
    for (size_t i = 0; i < from->count; i++)
        if (comparison->twins[i] != NO_TWIN && !does_stay(comparison, i))
            comparison->stays[comparison->twins[i]] = NO_TWIN;
}

/* ---- gains ---- */

static bool
asks_as_much(const struct policy_rule *before, const struct policy_rule *after)
{
    if (after->consent == POLICY_CONSENT_ALWAYS || before->consent == POLICY_CONSENT_NEVER)
        return true;
    return after->consent == before->consent &&
           (after->consent != POLICY_CONSENT_ONCE || after->consent_s <= before->consent_s);
}

static bool
remembers_a_yes(const struct policy_rule *rule)
{
    return rule->consent == POLICY_CONSENT_ONCE || rule->consent == POLICY_CONSENT_FIRST_AUDIENCE;
}

/* A rate is counted for each rule by itself: two rules in the place of one allow twice as much. */
static bool
shares_rate(const struct comparison *comparison, size_t before, size_t rule)
{
    const struct policy_rules *to = comparison->to;
    const struct policy_rule *counting = &comparison->from->rules[before];

    for (size_t i = 0; counting->rate != 0 && i < to->count; i++) {
        const struct policy_rule *other = &to->rules[i];
        bool has_own = comparison->stays[i] != NO_TWIN && comparison->stays[i] != before;

        if (i != rule && !has_own && !are_apart(other, counting) &&
            !has_other_callers(other, &to->rules[rule]))
            return true;
    }
    return false;
}

/* NULL: nothing is gained; else why it may be. A rule that stands before the one that covers it,
 * and may have been the first to hold, must not have asked for more, nor have allowed less often.
 */
static const char *
find_gain(const struct comparison *comparison, size_t to, enum rpc_method_id method,
          const char *key)
{
    const struct policy_rules *from = comparison->from;
    const struct policy_rule *rule = &comparison->to->rules[to];
    const char *gain = "no rule allowed it";

    for (size_t i = 0; i < from->of_method_count[method]; i++) {
        size_t at = from->of_method[method][i];
        const struct policy_rule *before = &from->rules[at];
        bool is_covering = covers(before, rule, key);

        if (!is_covering && is_apart(before, rule, method, key))
            continue;
        if (!is_covering && !covers_who(before, rule))
            gain = "no rule allowed it to all of these callers";
        else if (!is_covering)
            gain = "no rule allowed it with as little in its way";
        if (!asks_as_much(before, rule) ||
            (!is_covering && remembers_a_yes(before) && remembers_a_yes(rule)))
            return "the user was asked more often";
        if (!covers_rate(before, rule) || shares_rate(comparison, at, to))
            return "it was allowed less often";
        if (is_covering)
            return NULL;
    }
    return gain;
}

static const char *
find_gain_of_keys(const struct comparison *comparison, size_t to, enum rpc_method_id method)
{
    const struct policy_rule *rule = &comparison->to->rules[to];
    const char *gain = NULL;

    if (rule->keys.count == 0)
        return find_gain(comparison, to, method, NULL);
    for (size_t i = 0; i < rule->keys.count && gain == NULL; i++)
        gain = find_gain(comparison, to, method, rule->keys.items[i]);
    return gain;
}

static bool
compare_rule(const struct comparison *comparison, size_t to, policy_gain_fn *gained, void *ctx)
{
    const struct policy_rule *rule = &comparison->to->rules[to];
    bool is_tighter = true;

    for (size_t i = 0; comparison->stays[to] == NO_TWIN && i < RPC_METHOD_COUNT; i++) {
        enum rpc_method_id method = (enum rpc_method_id)i;
        const char *gain =
            policy_rule_has_method(rule, method) ? find_gain_of_keys(comparison, to, method) : NULL;

        if (gain == NULL)
            continue;
        is_tighter = false;
        gained(ctx, rule, method_at(method)->name, gain);
    }
    return is_tighter;
}

/* What is observed is allowed without a question or a rate: a rule that had one and is taken away
 * gives something away. */
static const char *
find_gain_of_observing(const struct comparison *comparison)
{
    const struct policy_rules *from = comparison->from;

    if (!comparison->to->observe)
        return NULL;
    if (!from->observe)
        return "observe: what the rules deny is allowed to the owner";
    for (size_t i = 0; i < from->count; i++)
        if (comparison->twins[i] == NO_TWIN &&
            (from->rules[i].rate != 0 || from->rules[i].consent != POLICY_CONSENT_NEVER))
            return "observe: the owner may do freely what a rule asked about or counted before";
    return NULL;
}

static bool
compare(struct comparison *comparison, policy_gain_fn *gained, void *ctx)
{
    const char *gain;
    bool is_tighter = true;

    find_twins(comparison);
    if ((gain = find_gain_of_observing(comparison)) != NULL) {
        is_tighter = false;
        gained(ctx, NULL, "*", gain);
    }
    for (size_t i = 0; i < comparison->to->count; i++)
        is_tighter = compare_rule(comparison, i, gained, ctx) && is_tighter;
    return is_tighter;
}

bool
policy_diff(const struct policy_rules *from, const struct policy_rules *to, policy_gain_fn *gained,
            void *ctx)
{
    struct comparison comparison = {.from = from, .to = to};
    bool is_tighter = false;

    comparison.twins = calloc(from->count + 1, sizeof(*comparison.twins));
    comparison.stays = calloc(to->count + 1, sizeof(*comparison.stays));
    if (comparison.twins != NULL && comparison.stays != NULL)
        is_tighter = compare(&comparison, gained, ctx);
    else
        gained(ctx, NULL, "*", "it cannot be told: no memory is left");
    free(comparison.stays);
    free(comparison.twins);
    return is_tighter;
}
