#include "athd/policy.h"

struct policy_answer
policy_decide(const struct caller *caller, uid_t owner, const struct policy_question *question)
{
    (void)question; /* today's one rule looks at the caller only */
    if (caller->uid != owner)
        return (struct policy_answer){POLICY_DENY, "default", "caller is the owner of this athd"};
    return (struct policy_answer){POLICY_ALLOW, "owner", NULL};
}
