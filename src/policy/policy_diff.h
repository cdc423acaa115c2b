/* Does a change of policy only take away? Where it cannot be told, it does not. */
#ifndef POLICY_POLICY_DIFF_H
#define POLICY_POLICY_DIFF_H

#include "policy/policy_rules.h"

/* Something that `to` allows and `from` may not have, or with less consent, or more often. */
typedef void policy_gain_fn(void *ctx, const struct policy_rule *rule, const char *method,
                            const char *why);

/* Calls `gained` for each rule and method of `to` that no one rule of `from` covers; true: there is
 * none. Both are indexed. */
bool policy_diff(const struct policy_rules *from, const struct policy_rules *to,
                 policy_gain_fn *gained, void *ctx);

#endif
