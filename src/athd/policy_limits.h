/* What rules remember of one tenant: how often each caller used a key, and what the user said yes
 * to. Both forget by themselves and have a fixed size, so that nobody takes another tenant's room. */
#ifndef ATHD_POLICY_LIMITS_H
#define ATHD_POLICY_LIMITS_H

#include "athd/policy.h"

#define POLICY_RATES 1024u
#define POLICY_RATES_OF_ONE 64u /* keys of a caller that are counted each; the others together */
#define POLICY_MEMOS 1024u

struct policy_limits {
    struct policy_rate {
        uint8_t of[SHA256_LEN];  /* rule, uid, grant, key */
        uint8_t who[SHA256_LEN]; /* all but the key */
        uint64_t full_until_us;  /* monotonic; in the past: free */
    } rates[POLICY_RATES];
    struct policy_kept {
        uint8_t of[SHA256_LEN];
        uint64_t until_s; /* clock_boot_ms / 1000; 0: free */
    } kept[POLICY_MEMOS];
};

/* One more: 0, or in how many seconds it is allowed again (at least 1). So many may come at once,
 * then one each time there is room again. Callers are told apart by uid and grant (`by_grant`; a
 * grant within a grant counts for the outermost): a new process is no new caller; a rule that was
 * changed is a new rule. key may be NULL. */
int64_t policy_limits_count(struct policy_limits *limits, const struct policy_rule *rule,
                            const struct caller *caller, bool by_grant, const char *key);

struct policy_yes { /* all borrowed */
    const struct policy_rule *rule;
    const struct policy_subject *subject;
    const struct policy_question *question;
    const char *key_did; /* which key has its name now; NULL: none */
};

/* What it would be remembered as: all that the rule says, all that is known of the caller, the
 * method, the key and, for `first-audience`, who is on the other side. ATH_ERR_CRYPTO,
 * ATH_ERR_NOMEM. */
ath_err policy_limits_memo(const struct policy_yes *yes, struct policy_memo *ret_memo) ATH_MUST_USE;
bool policy_limits_has(const struct policy_limits *limits, const struct policy_memo *memo);
void policy_limits_keep(struct policy_limits *limits, const struct policy_memo *memo);
void policy_limits_forget(struct policy_limits *limits);

#endif
