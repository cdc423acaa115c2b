/* The one place where "may this caller do this" is asked. Pure. Today's rule: athd's own uid may do
 * everything at its socket, nobody else anything (docs/api.md, "Errors"). */
#ifndef ATHD_POLICY_H
#define ATHD_POLICY_H

#include "athd/caller.h"
#include "base/why.h"
#include "protocol/purpose.h"
#include "protocol/scope.h"

enum policy_verdict { POLICY_DENY, POLICY_ALLOW, POLICY_ASK };

/* What is about to be done; members that do not apply are NULL. */
struct policy_question {
    const char *method; /* "attestation.create" */
    const char *key;    /* name of the key that would sign */
    const enum sign_purpose *purpose;
    const char *const *audiences; /* URLs or DIDs it is for, all of them; none: for anybody */
    size_t audience_count;
    const struct scope_list *scopes;
    int64_t ttl;
};

struct policy_answer {
    enum policy_verdict verdict;
    const char *rule;    /* static: which rule decided */
    const char *missing; /* static: DENY: which condition failed */
};

struct policy_answer policy_decide(const struct caller *caller, uid_t owner,
                                   const struct policy_question *question);

#endif
