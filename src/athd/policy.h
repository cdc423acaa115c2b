/* The one place where "may this caller do this" is asked: the rules in force (policy.json and
 * policy.d, else the built-in ones: athd's own uid may do everything), what they remember (rates,
 * consent that was given), and what goes before them (keys that are frozen). */
#ifndef ATHD_POLICY_H
#define ATHD_POLICY_H

#include "athd/caller.h"
#include "base/why.h"
#include "policy/policy_rules.h"

struct athd;
struct policy;
struct request;
struct tenant;

#define POLICY_RULE_FROZEN "frozen"

enum policy_verdict { POLICY_DENY, POLICY_ALLOW, POLICY_ASK, POLICY_LIMITED };

/* What an allowed request leaves behind when the user has said yes. */
struct policy_memo {
    uint8_t of[SHA256_LEN]; /* by which rule, for whom, which key, which audiences */
    int64_t for_s;          /* 0: nothing is remembered; INT64_MAX: as long as athd runs */
    const char *rule;       /* its name; lives as long as athd */
    bool is_of_program;     /* else of every one of this uid, or grant */
    bool is_of_audience;    /* else of all that the rule allows */
};

struct policy_answer {
    enum policy_verdict verdict;
    const char *rule;                  /* which rule decided; lives as long as athd */
    char missing[POLICY_MISSING_SIZE]; /* DENY: which condition failed */
    int64_t retry_after_s;             /* LIMITED */
    bool is_observed;                  /* allowed only because nothing is denied yet */
    struct policy_memo memo;           /* ASK */
};

/* Reads the files (blocking, start-up). A wrong one: ATH_ERR_INVALID_PARAMS with file and line. */
ath_err policy_open(struct athd *athd, struct why *why, struct policy **ret_policy) ATH_MUST_USE;
/* Reads them again, blocking; what is wrong leaves the old rules in force. It is on record either
 * way. Errors as policy_open. */
ath_err policy_reload(struct policy *policy, struct why *why) ATH_MUST_USE;
void policy_free(struct policy *policy);

/* Decides (a grant first, and all above it; then the rules), and counts for `rate` unless the
 * question is preliminary or has been counted. Where athd serves several uids the rules are the
 * machine's: whatever grants a uid makes, it counts as one, except in rules about grants. */
struct policy_answer policy_decide(struct tenant *tenant, const struct caller *caller,
                                   const struct policy_question *question, bool is_counted);
/* The user said yes to what was asked. */
void policy_remember(struct tenant *tenant, const struct policy_memo *memo);
/* Every yes about this tenant's things. */
void policy_forget(struct tenant *tenant);

/* The rules in force, and what they would say; nothing is counted. */
const struct policy_rules *policy_rules(const struct policy *policy);
bool policy_is_built_in(const struct policy *policy);
/* What policy knows of a caller now: the process counts only while it is the one that connected. */
void policy_subject_of(const struct caller *caller, struct policy_subject *ret_subject);

/* Is this, which the rules deny, allowed all the same, as `observe` wants it? Only what the built-in
 * rules allow. */
bool policy_observes(const struct policy *policy, const struct policy_subject *subject,
                     const struct policy_question *question);

/* Is it about a signature by a key that is frozen? */
bool policy_is_frozen(const struct tenant *tenant, const struct policy_question *question);
/* {source, rules, observe} for agent.status. */
void policy_put_status(const struct policy *policy, struct json_maker *object, const char *name);

/* policy_record.c: when athd has started */
void policy_record_loaded(struct athd *athd);

#endif
