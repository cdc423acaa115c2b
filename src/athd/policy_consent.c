#include "athd/policy_consent.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/consent.h"
#include "athd/key_store.h"
#include "athd/policy_question.h"
#include "athd/policy_record.h"
#include "base/clock.h"
#include "rpc/rpc_limits.h"

struct asking {
    struct request *request;
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
on_answer(void *ctx, ath_err err, const struct scope_list *narrowed)
{
    struct asking *asking = ctx;
    struct request *request = asking->request;
    void (*goes_on)(struct request *) = asking->goes_on;
    struct json *data = NULL;
    struct why why = {{0}};

    (void)narrowed; /* it is the whole call or none of it */
    if (err == ATH_OK)
        err = decide_again(request, &why, &data);
    if (err == ATH_OK) {
        policy_remember(request->tenant, &asking->memo);
        /* the method gets its usual time after the person took theirs */
        request_set_deadline(request, clock_monotonic_ms() + REQUEST_DEADLINE_MS);
    }
    free(asking);
    if (err == ATH_OK)
        goes_on(request);
    else
        request_fail_data(request, err, why.text[0] != '\0' ? &why : NULL, data);
}

/* What is made, changed or taken away; what passes through (messages, tokens, plaintext) is
 * nobody's to read on a screen. */
static bool
tells_params(const struct rpc_method *method)
{
    static const char *const kinds[] = {"agent.",  "audit.", "grant.",  "key.",
                                        "policy.", "peer.",  "service."};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strncmp(method->name, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

static void
put_param(const struct json *param, struct consent_text *text)
{
    struct ath_buf value = {.max = RPC_LINE_MAX};

    if (json_string(param) != NULL)
        ath_buf_put_string(&value, json_string(param));
    else
        json_canonical(param, &value);
    if (value.err != ATH_OK)
        text->text.err = value.err;
    else
        consent_text_line(text, json_name(param), ath_buf_text(&value), CONSENT_STRANGER);
    ath_buf_done(&value);
}

/* A yes is to what could be read. */
static void
put_params_of(const struct request *request, const struct policy_question *question,
              struct consent_text *text)
{
    const struct json *param = json_first(request->params);

    for (; param != NULL && tells_params(request->method); param = json_next(param)) {
        const char *value = json_string(param);
        bool is_told = value != NULL && question->key != NULL && strcmp(value, question->key) == 0;

        if (!is_told && strcmp(json_name(param), "trace") != 0)
            put_param(param, text);
    }
}

static void
put_question(const struct request *request, const struct policy_question *question,
             struct consent_text *text)
{
    consent_text_title(text, "Let a program do this?");
    consent_text_caller(text, request->caller);
    consent_text_line(text, "What", request->method->name, CONSENT_OURS);
    consent_text_line(text, "Key", question->key, CONSENT_STRANGER);
    for (size_t i = 0; i < question->audience_count; i++)
        consent_text_line(text, "For", question->audiences[i], CONSENT_STRANGER);
    for (size_t i = 0; i < question->peer_count; i++)
        consent_text_line(text, "With", question->peers[i], CONSENT_STRANGER);
    put_params_of(request, question, text);
    consent_text_line(text, "Asked because of the rule", request->rule, CONSENT_OURS);
}

/* The words say little of the params: a yes to one call is none to another. */
static void
put_params(const struct request *request, struct ath_buf *rest)
{
    struct json *params = json_clone(request->params);

    if (params == NULL) {
        rest->err = ATH_ERR_NOMEM;
        return;
    }
    json_remove(params, "trace");
    json_canonical(params, rest);
    json_free(params);
}

void
policy_consent_ask(struct request *request, const struct policy_question *question,
                   const struct policy_memo *memo, void (*goes_on)(struct request *request))
{
    struct asking *asking = calloc(1, sizeof(*asking));
    struct consent_text text = {0};
    struct ath_buf rest = {0};

    if (asking == NULL) {
        request_fail(request, ATH_ERR_NOMEM, NULL);
        return;
    }
    *asking = (struct asking){request, *memo, goes_on};
    put_question(request, question, &text);
    put_params(request, &rest);
    if (rest.err != ATH_OK)
        text.text.err = rest.err; /* told like any other */
    consent_ask(request, &text,
                &(struct consent_order){
                    .ok_label = "Allow",
                    .about = question,
                    .memo = memo,
                    .key = question->key == NULL
                               ? NULL
                               : key_store_find(request->tenant->keys, question->key),
                    .rest = ath_buf_text(&rest),
                },
                on_answer, asking);
    ath_buf_done(&rest);
}
