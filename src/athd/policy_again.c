#include "athd/policy_again.h"

#include <stdio.h>

#include "athd/policy_question.h"
#include "athd/policy_record.h"

static ath_err
decide(struct request *request, struct policy_question *question, bool has_yes, struct why *why)
{
    struct policy_answer answer = policy_decide(request->tenant, request->caller, question, true);

    request->rule = answer.rule;
    if (answer.is_observed)
        policy_record_denied(request, question, &answer);
    if (answer.verdict == POLICY_ALLOW || (answer.verdict == POLICY_ASK && has_yes))
        return ATH_OK;
    if (answer.verdict == POLICY_ASK) {
        answer.verdict = POLICY_DENY;
        (void)snprintf(answer.missing, sizeof(answer.missing),
                       "consent: the rules were read again, and want the user's yes; ask anew");
    }
    json_free(request->denied);
    request->denied = NULL;
    return policy_refusal(request, question, &answer, why, &request->denied);
}

ath_err
policy_again_after_yes(struct request *request, struct why *why)
{
    struct policy_question question;

    if (request->kept == NULL)
        return ATH_OK;
    question = *policy_kept_question(request->kept);
    return decide(request, &question, true, why);
}

ath_err
policy_again_while_signing(struct request *request, bool are_new, struct why *why)
{
    struct policy_question question;

    if (request->kept == NULL)
        return ATH_OK;
    question = *policy_kept_question(request->kept);
    question.is_begun = true;
    return decide(request, &question, request->has_consent || !are_new, why);
}
