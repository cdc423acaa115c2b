/* What rules remember: how often each caller used a key, and what users said yes to. Both forget by
 * themselves and have a fixed size. */
#ifndef ATHD_POLICY_LIMITS_H
#define ATHD_POLICY_LIMITS_H

#include "athd/policy.h"

#define POLICY_RATES 1024u
#define POLICY_MEMOS 1024u

struct policy_limits {
    struct policy_rate {
        uint8_t of[SHA256_LEN]; /* rule, uid, grant, key */
        uint64_t full_until_us; /* monotonic; in the past: free */
    } rates[POLICY_RATES];
    struct policy_kept {
        uint8_t of[SHA256_LEN];
        uint64_t until_s; /* monotonic; 0: free */
    } kept[POLICY_MEMOS];
};

/* One more: 0, or in how many seconds it is allowed again (at least 1). So many may come at once,
 * then one each time there is room again. Callers are told apart by uid and grant: a new process is
 * no new caller. key may be NULL. */
int64_t policy_limits_count(struct policy_limits *limits, const struct policy_rule *rule,
                            const struct caller *caller, const char *key);

/* What a yes to this would be remembered as. ATH_ERR_CRYPTO. */
ath_err policy_limits_memo(const struct policy_rule *rule, const struct policy_subject *subject,
                           const struct policy_question *question,
                           struct policy_memo *ret_memo) ATH_MUST_USE;
bool policy_limits_has(const struct policy_limits *limits, const struct policy_memo *memo);
void policy_limits_keep(struct policy_limits *limits, const struct policy_memo *memo);

#endif
