/* confirmation.answer: the user's side of steps 6 and 7. The user's no is an answer, too. */
#include <stdlib.h>

#include "athd/dispatch.h"
#include "athd/method_support.h"
#include "base/clock.h"
#include "protocol/confirmation.h"

struct answering {
    struct request *request;
    struct key *key;                   /* counted */
    struct confirmation *confirmation; /* owned */
    struct ath_buf to_sign;
    bool approved;
    struct json *narrowed; /* the scopes that were approved, where the user took some away; owned */
};

static void
answering_free(struct answering *answering)
{
    answering->request->handshake_t5 = answering->request->handshake_trace = NULL;
    json_free(answering->narrowed);
    ath_buf_done(&answering->to_sign);
    confirmation_free(answering->confirmation);
    key_free(answering->key);
    free(answering);
}

static void
answering_fail(struct answering *answering, ath_err err, const struct why *why,
               struct json *taken_data)
{
    struct request *request = answering->request;

    answering_free(answering);
    request_fail_data(request, err, why, taken_data);
}

static void
on_signed(void *ctx, const struct signing_outcome *outcome)
{
    struct answering *answering = ctx;
    struct request *request = answering->request;
    struct json_maker result;
    struct json *m7 = NULL;
    ath_err err = outcome->err;

    if (err == ATH_OK)
        err = confirmation_signed(answering->confirmation, outcome->signature, &m7);
    if (err != ATH_OK) {
        answering_fail(
            answering, err, &outcome->why,
            method_hardware(outcome->native, outcome->tries_left, outcome->retry_after_s));
        return;
    }
    answering_free(answering);
    json_object_begin(&result);
    json_put_take(&result, "send", m7);
    request_finish_maker(request, &result);
}

static void
put_record(struct answering *answering, struct json_maker *record)
{
    struct confirmation_view view;
    struct json *requested = NULL;

    confirmation_view(answering->confirmation, &view);
    audit_record_begin(record, answering->approved ? "confirmation_given" : "confirmation_refused",
                       answering->request);
    json_put_string(record, "request_id", view.request_id);
    json_put_string(record, "agent_id", view.client_did);
    json_put_string(record, "user_id", view.user_did);
    json_put_string(record, "provider_id", view.server_did);
    if (scope_list_encode(view.scopes, &requested) != ATH_OK)
        requested = NULL;
    json_put_take(record, "requested_scopes", requested);
    if (answering->narrowed != NULL)
        json_put_take(record, "effective_scopes", answering->narrowed);
    answering->narrowed = NULL;
    if (!answering->approved)
        json_put_string(record, "denial_reason", ath_err_reason(ATH_ERR_USER_DENIED));
}

static void
on_answer(void *ctx, ath_err err, const struct scope_list *narrowed)
{
    struct answering *answering = ctx;
    struct json_maker record;

    answering->approved = err == ATH_OK;
    if (err == ATH_OK || err == ATH_ERR_USER_DENIED) {
        answering->to_sign.max = 1024;
        err = confirmation_answer(answering->confirmation, answering->approved, narrowed,
                                  clock_now(), &answering->to_sign);
    }
    if (err == ATH_OK && narrowed != NULL)
        err = scope_list_encode(narrowed, &answering->narrowed);
    if (err != ATH_OK) {
        answering_fail(answering, err, NULL, NULL);
        return;
    }
    request_set_deadline(answering->request, clock_monotonic_ms() + REQUEST_DEADLINE_MS);
    put_record(answering, &record);
    signing_start(answering->request, answering->key, PURPOSE_USER_CONFIRMATION,
                  ath_buf_slice(&answering->to_sign), HSM_PRIORITY_NORMAL, &record, on_signed,
                  answering);
}

/* ---- the question ---- */

static int64_t
time_for(const struct answering *answering, const struct confirmation_view *view)
{
    int64_t left = view->expires_at - clock_now();
    int64_t usual = answering->request->athd->config->consent_timeout_s;

    if (left < 1)
        return 1;
    return usual > 0 && usual < left ? usual : left;
}

static void
ask(struct answering *answering, bool policy_asks, const struct policy_question *question)
{
    const struct tenant *tenant = answering->request->tenant;
    struct consent_text text = {0};
    struct confirmation_view view;

    confirmation_view(answering->confirmation, &view);
    consent_text_title(&text, "Confirm what an agent may do in your name?");
    consent_text_caller(&text, answering->request->caller);
    consent_text_line(&text, "Your key", answering->key->name, CONSENT_OURS);
    method_put_party(&text, tenant, "Agent", view.client_did);
    method_put_party(&text, tenant, "Application", view.server_did);
    consent_text_scopes(&text, "Asks for", view.scopes);
    consent_text_duration(&text, "For", view.ttl);
    if (view.client_name != NULL)
        consent_text_line(&text, "The application calls the agent", view.client_name,
                          CONSENT_STRANGER);
    if (view.client_developer != NULL)
        consent_text_line(&text, "and its developer", view.client_developer, CONSENT_STRANGER);
    if (view.context != NULL)
        consent_text_line(&text, "The agent says", view.context, CONSENT_STRANGER);
    method_confirm(answering->request, policy_asks, &text,
                   &(struct consent_order){.ok_label = "Confirm",
                                           .timeout_s = time_for(answering, &view),
                                           .about = question,
                                           .can_narrow = true,
                                           .can_remember = true},
                   answering->key, on_answer, answering);
}

/* ---- the method ---- */

static ath_err
open_message(struct answering *answering, struct why *why)
{
    struct request *request = answering->request;
    struct confirmation_view view;
    struct json *message = NULL;
    struct key *key = NULL;
    ath_err err;

    if ((err = method_key(request, method_param(request, "key"), DID_USER, why, &key)) != ATH_OK)
        return err;
    answering->key = key_ref(key);
    if ((err = method_message(method_param_json(request, "message"), why, &message)) != ATH_OK)
        return err;
    err = confirmation_open(message, key->did, key->public_key, method_param(request, "server"),
                            &request->tenant->pins, clock_now(), why, &answering->confirmation);
    json_free(message);
    if (err != ATH_OK)
        return err;
    confirmation_view(answering->confirmation, &view);
    request->handshake_t5 = view.handshake;
    request->handshake_trace = view.traceparent;
    return ATH_OK;
}

void
method_confirmation_answer(struct request *request)
{
    const enum sign_purpose purpose = PURPOSE_USER_CONFIRMATION;
    struct policy_question question = {.method = request->method->name, .purpose = &purpose};
    struct answering *answering = calloc(1, sizeof(*answering));
    struct confirmation_view view;
    struct json *data = NULL;
    struct why why = {""};
    bool policy_asks = false;
    ath_err err;

    if (answering == NULL) {
        request_fail(request, ATH_ERR_NOMEM, NULL);
        return;
    }
    answering->request = request;
    if ((err = open_message(answering, &why)) == ATH_OK) {
        confirmation_view(answering->confirmation, &view);
        question.key = answering->key->name;
        question.audiences = &view.server_did;
        question.peers = &view.client_did;
        question.audience_count = question.peer_count = 1;
        question.scopes = view.scopes;
        question.ttl = view.ttl;
        err = method_policy(request, &question, &why, &data, &policy_asks);
    }
    if (err != ATH_OK)
        answering_fail(answering, err, &why, data);
    else
        ask(answering, policy_asks, &question);
}
