#include "athd/policy_consent.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/consent.h"
#include "athd/policy_question.h"
#include "athd/policy_record.h"
#include "base/clock.h"

struct asking {
    struct request *request;
    char *key; /* NULL: none */
    struct policy_memo memo;
    void (*goes_on)(struct request *request);
};

/* The user said yes: to what the rules may not allow any more. */
static ath_err
decide_again(struct request *request, struct why *why, struct json **ret_data)
{
    struct policy_asked asked;
    struct policy_answer answer;
    ath_err err = policy_question_of_call(request->tenant, request->caller, request->method,
                                          request->params, &asked);

    if (err == ATH_OK) {
        answer = policy_decide(request->tenant, request->caller, &asked.question, true);
        request->rule = answer.rule;
        if (answer.is_observed)
            policy_record_denied(request, &asked.question, &answer);
        if (answer.verdict != POLICY_ALLOW && answer.verdict != POLICY_ASK)
            err = policy_refusal(request, &asked.question, &answer, why, ret_data);
    }
    policy_asked_done(&asked);
    return err;
}

static void
on_answer(void *ctx, ath_err err)
{
    struct asking *asking = ctx;
    struct request *request = asking->request;
    void (*goes_on)(struct request *) = asking->goes_on;
    struct json *data = NULL;
    struct why why = {{0}};

    request->asked_key = NULL;
    if (err == ATH_OK)
        err = decide_again(request, &why, &data);
    if (err == ATH_OK) {
        policy_remember(request->athd->policy, &asking->memo);
        /* the method gets its usual time after the person took theirs */
        request_set_deadline(request, clock_monotonic_ms() + REQUEST_DEADLINE_MS);
    }
    free(asking->key);
    free(asking);
    if (err == ATH_OK)
        goes_on(request);
    else
        request_fail_data(request, err, why.text[0] != '\0' ? &why : NULL, data);
}

void
policy_consent_ask(struct request *request, const struct policy_question *question,
                   const struct policy_memo *memo, void (*goes_on)(struct request *request))
{
    struct asking *asking = calloc(1, sizeof(*asking));
    struct consent_text text = {0};

    if (asking == NULL) {
        request_fail(request, ATH_ERR_NOMEM, NULL);
        return;
    }
    *asking = (struct asking){request, ath_strdup(question->key), *memo, goes_on};
    consent_text_title(&text, "Let a program do this?");
    consent_text_caller(&text, request->caller);
    consent_text_line(&text, "What", request->method->name, CONSENT_OURS);
    consent_text_line(&text, "Key", question->key, CONSENT_STRANGER);
    for (size_t i = 0; i < question->audience_count; i++)
        consent_text_line(&text, "For", question->audiences[i], CONSENT_STRANGER);
    for (size_t i = 0; i < question->peer_count; i++)
        consent_text_line(&text, "With", question->peers[i], CONSENT_STRANGER);
    consent_text_line(&text, "Asked because of the rule", request->rule, CONSENT_OURS);
    request->asked_key = asking->key;
    consent_ask(request, &text, "Allow", 0, on_answer, asking);
}
