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

/* ---- of one condition: is all that `inner` stands for within one of `outer`? ---- */

/* No condition (count 0) is the widest one. */
bool policy_text_is_covered(const char *inner, const struct policy_texts *outer, bool by_path);
/* `count` patterns; of none: false. */
bool policy_audience_is_covered(const struct policy_audience *inner,
                                const struct policy_audience *outer, size_t count);

#endif
