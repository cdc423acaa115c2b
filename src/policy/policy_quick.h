/* What each rule can hold for at most, in a few bits: most rules of a long policy are passed over
 * without a look at them. Bits are of hashes; a rule that has the bit may still not hold. */
#ifndef POLICY_POLICY_QUICK_H
#define POLICY_POLICY_QUICK_H

#include "policy/policy_rules.h"

struct policy_quick { /* for which values: one bit, or more, of 64 */
    uint64_t uids, exes, keys, audiences;
};

/* Of a rule. */
void policy_quick_of_rule(const struct policy_rule *rule, struct policy_quick *ret_quick);

/* Of a question: one bit each, of audiences one for each. */
void policy_quick_of_question(const struct policy_subject *subject,
                              const struct policy_question *question,
                              const struct policy_audience *audiences, size_t audience_count,
                              struct policy_quick *ret_quick);

/* The condition that fails at the latest; POLICY_COND_COUNT: all may hold. */
static inline enum policy_condition
policy_quick_fails(const struct policy_quick *rule, const struct policy_quick *asked)
{
    if ((rule->uids & asked->uids) == 0)
        return POLICY_COND_UID;
    if ((rule->exes & asked->exes) == 0)
        return POLICY_COND_EXE;
    if ((rule->keys & asked->keys) == 0)
        return POLICY_COND_KEY;
    if ((rule->audiences & asked->audiences) != asked->audiences)
        return POLICY_COND_AUDIENCE;
    return POLICY_COND_COUNT;
}

#endif
