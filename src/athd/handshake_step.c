#include "athd/handshake_step.h"

#include "athd/handshake_answer.h"
#include "athd/handshake_record.h"
#include "athd/handshake_trust.h"
#include "athd/method_support.h"
#include "athd/session_record.h"
#include "base/clock.h"
#include "protocol/protocol_limits.h"

/* ---- the end of a step ---- */

/* The request is no longer the handshake's; the caller of this ends it, and drops the reference. */
static struct request *
step_end(struct handshake *handshake)
{
    struct request *request = handshake->request;

    handshake->request = NULL;
    request->handshake = NULL;
    handshake_need_done(&handshake->need);
    handshake->need = (struct handshake_need){0};
    json_free(handshake->message);
    handshake->message = NULL;
    return request;
}

static bool
is_opening(const struct request *request)
{
    return request->method->id == RPC_HANDSHAKE_START ||
           request->method->id == RPC_HANDSHAKE_ACCEPT;
}

/* handshake.start and accept tell {handshake, send}, the others the whole answer. NULL: out of
 * memory. */
static void
tell(const struct handshake *handshake, struct request *request, struct json *taken_answer)
{
    struct json_maker result;
    struct json *send;

    if (taken_answer == NULL || !is_opening(request)) {
        request_finish(request, taken_answer);
        return;
    }
    json_object_begin(&result);
    json_put_string(&result, "handshake", handshake->id);
    if ((send = json_detach(taken_answer, "send")) != NULL)
        json_put_take(&result, "send", send);
    json_free(taken_answer);
    request_finish_maker(request, &result);
}

/* What is told of the step: what is sent leaves the need. */
static struct json *
answer_new(struct handshake *handshake, const char *state, struct json *taken_result)
{
    handshake_record_step(handshake->request->tenant, handshake, handshake->request, state);
    return handshake_answer_new(state, &handshake->need, taken_result);
}

static void
step_answer(struct handshake *handshake, struct json *taken_answer)
{
    struct request *request = step_end(handshake);

    handshake_answer_keep(handshake, taken_answer);
    tell(handshake, request, taken_answer);
    handshake_free(handshake);
}

/* The step's error. A handshake that nobody was told of is forgotten. */
static void
step_error(struct handshake *handshake, ath_err err, const struct why *why, struct json *taken_data)
{
    struct request *request = handshake->request;

    request->handshake = NULL;
    if (handshake->stalled)
        handshake->request = NULL; /* message and need stay */
    else
        (void)step_end(handshake);
    if (is_opening(request) && handshake->table != NULL)
        handshake_table_remove(handshake->table, handshake);
    request_fail_data(request, err, why, taken_data);
    handshake_free(handshake);
}

/* The end of the handshake that the machine did not see coming. */
static void
fail_machine(struct handshake *handshake, ath_err err, const struct why *why)
{
    if (handshake->client != NULL)
        handshake_client_fail(handshake->client, err, why_text(why, err));
    if (handshake->server != NULL)
        handshake_server_fail(handshake->server, err, why_text(why, err));
}

/* Nobody was refused anything before there was a handshake. */
static void
record_denied(const struct handshake *handshake, ath_err err, const struct json *m8)
{
    if (!is_opening(handshake->request))
        handshake_record_denied(handshake->request->tenant, handshake, handshake->request, err, m8);
}

void
handshake_step_fail_data(struct handshake *handshake, ath_err err, const struct why *why,
                         struct json *taken_data)
{
    if (handshake->ended_at == 0) {
        fail_machine(handshake, err, why);
        record_denied(handshake, err, NULL);
        handshake_end(handshake, err);
        ath_buf_done(&handshake->answer); /* that of an earlier step */
    }
    step_error(handshake, err, why, taken_data);
}

void
handshake_step_fail(struct handshake *handshake, ath_err err, const struct why *why)
{
    handshake_step_fail_data(handshake, err, why, NULL);
}

void
handshake_step_repeat(struct handshake *handshake, struct request *request)
{
    tell(handshake, request, handshake_answer_kept(handshake));
}

/* ---- signatures ---- */

static enum hsm_priority
priority_of(enum sign_purpose purpose)
{
    switch (purpose) {
    case PURPOSE_SERVER_IDENTITY:
        return HSM_PRIORITY_LATE;
    case PURPOSE_CONFIRMATION_REQUEST:
    case PURPOSE_ACCESS_TOKEN:
        return HSM_PRIORITY_URGENT;
    default:
        return HSM_PRIORITY_NORMAL;
    }
}

static const char *
audience_of(const struct handshake *handshake)
{
    if (handshake->server != NULL)
        return handshake_server_client_did(handshake->server);
    return handshake->origin != NULL ? handshake->origin : handshake->wanted_did;
}

/* The server's DID, as far as it is known: before M2 only where the caller named it. */
static const char *
server_of(const struct handshake *handshake)
{
    if (handshake->client == NULL)
        return NULL;
    return handshake->wanted_did != NULL ? handshake->wanted_did
                                         : handshake_client_server_did(handshake->client);
}

/* Trouble that passes, and a caller who went away, leave the handshake where it is: the same
 * message may come again. */
static bool
is_passing(ath_err err)
{
    return err == ATH_ERR_HSM_BUSY || err == ATH_ERR_HSM_UNAVAILABLE ||
           err == ATH_ERR_LIMIT_EXCEEDED /* of the queue */ || err == ATH_ERR_AUDIT_UNAVAILABLE ||
           err == ATH_ERR_CONSENT_TIMEOUT || err == ATH_ERR_PIN_REQUIRED ||
           err == ATH_ERR_PIN_INCORRECT || err == ATH_ERR_PIN_LOCKED;
}

static void
on_signed(void *ctx, const struct signing_outcome *outcome)
{
    struct handshake *handshake = ctx;
    struct handshake_need need = {0};
    struct why why = outcome->why;
    ath_err err = outcome->err;

    if (handshake->ended_at != 0) {
        handshake_step_fail(handshake, handshake->ended_err, NULL);
        return;
    }
    if (err != ATH_OK && is_passing(err) && handshake->message != NULL) {
        handshake->stalled = true;
        step_error(handshake, err, &why,
                   method_hardware(outcome->native, outcome->tries_left, outcome->retry_after_s));
        return;
    }
    if (err != ATH_OK) {
        handshake_step_fail_data(
            handshake, err, &why,
            method_hardware(outcome->native, outcome->tries_left, outcome->retry_after_s));
        return;
    }
    if (handshake->client != NULL)
        err = handshake_client_signed(handshake->client, outcome->signature, clock_now(), &need);
    else
        err = handshake_server_signed(handshake->server, outcome->signature, clock_now(), &need);
    handshake_step_drive(handshake, err, &need);
}

static void
sign(struct handshake *handshake)
{
    struct json_maker record;

    handshake->request->has_consent |= handshake->approved;
    audit_record_begin(&record, "signature", handshake->request);
    json_put_string(&record, "audience", audience_of(handshake));
    signing_start(handshake->request, handshake->key, handshake->need.purpose,
                  ath_buf_slice(&handshake->need.to_sign), priority_of(handshake->need.purpose),
                  &record, on_signed, handshake);
}

static void
on_approved(void *ctx, ath_err err, const struct scope_list *narrowed)
{
    struct handshake *handshake = ctx;

    (void)narrowed; /* what is asked for stands in the messages already */
    if (err != ATH_OK || handshake->ended_at != 0) {
        handshake_step_fail(handshake, handshake->ended_at != 0 ? handshake->ended_err : err, NULL);
        return;
    }
    handshake->approved = true;
    if (handshake->asks_first && !handshake->request->is_by_window)
        policy_remember(handshake->request->tenant, &handshake->memo);
    sign(handshake);
}

static void
ask_to_sign(struct handshake *handshake, bool ask, const struct policy_question *question)
{
    struct consent_text text = {0};

    consent_text_title(&text, "Use this key for a handshake?");
    consent_text_caller(&text, handshake->request->caller);
    consent_text_line(&text, "Key", handshake->key->name, CONSENT_OURS);
    consent_text_line(&text, "With", audience_of(handshake), CONSENT_OURS);
    if (handshake_is_client(handshake)) {
        consent_text_scopes(&text, "Asks for", &handshake->scopes);
        consent_text_duration(&text, "For", handshake->ttl);
    }
    method_confirm(handshake->request, ask, &text,
                   &(struct consent_order){.ok_label = "Allow",
                                           .timeout_s = FIRST_CONTACT_LIFE_S,
                                           .about = question,
                                           .also_memo =
                                               handshake->asks_first ? &handshake->memo : NULL,
                                           .can_remember = true},
                   handshake->key, on_approved, handshake);
}

static void
need_signature(struct handshake *handshake)
{
    const char *audience = audience_of(handshake), *peer = server_of(handshake);
    const struct policy_question question = {
        .method = handshake->request->method->name,
        .key = handshake->key->name,
        .purpose = &handshake->need.purpose,
        .audiences = &audience,
        .audience_count = 1,
        .peers = &peer,
        .peer_count = peer != NULL,
        .scopes = handshake_is_client(handshake) ? &handshake->scopes : NULL,
        .ttl = handshake->ttl,
    };
    struct json *data = NULL;
    struct why why = {""};
    bool ask = false;
    ath_err err;

    if ((err = method_policy(handshake->request, &question, &why, &data, &ask)) != ATH_OK)
        handshake_step_fail_data(handshake, err, &why, data);
    else if (!handshake->approved && method_would_ask(handshake->request->caller, handshake->key,
                                                      ask || handshake->asks_first))
        ask_to_sign(handshake, ask || handshake->asks_first, &question);
    else
        sign(handshake);
}

/* ---- done and failed ---- */

static void
need_done(struct handshake *handshake)
{
    struct request *request = handshake->request;
    struct handshake_result result = {0};
    struct session *session = NULL;
    struct json *object;
    ath_err err;

    if (handshake->client != NULL)
        handshake_client_take_result(handshake->client, &result);
    else
        handshake_server_take_result(handshake->server, &result);
    err = session_table_add(request->tenant->sessions, &result, handshake->service,
                            request->caller->identity, &session);
    if (err != ATH_OK) {
        handshake_result_done(&result);
        handshake_step_fail(handshake, err, NULL);
        return;
    }
    session->trace = ath_strdup(handshake->trace);
    session->key_name = ath_strdup(handshake->key->name);
    session->audience = ath_strdup(audience_of(handshake));
    if (session->key_name == NULL || session->audience == NULL) { /* policy could not tell whose */
        session_table_remove(request->tenant->sessions, session);
        handshake_result_done(&result);
        handshake_step_fail(handshake, ATH_ERR_NOMEM, NULL);
        return;
    }
    handshake_record_granted(request->tenant, handshake, request, &result);
    session_record(request->tenant, session, "session_opened", request);
    object = handshake_answer_result(request->tenant, handshake, &result, session);
    handshake_result_done(&result);
    handshake_end(handshake, ATH_OK);
    step_answer(handshake, answer_new(handshake, "done", object));
}

static void
need_failed(struct handshake *handshake)
{
    struct handshake_need *need = &handshake->need;
    struct json *data;
    struct why why = need->why;
    ath_err err = need->err;

    if (handshake->ended_at == 0) {
        record_denied(handshake, err, need->send_count > 0 ? need->send[0] : NULL);
        handshake_end(handshake, err);
    }
    if (need->refused_by_message) {
        step_answer(handshake, answer_new(handshake, "failed", handshake_answer_error(err, &why)));
        return;
    }
    data = handshake_answer_data(need);
    step_error(handshake, err, &why, data);
}

/* ---- the step ---- */

void
handshake_step_begin(struct handshake *handshake, struct request *request,
                     struct json *taken_message)
{
    handshake->request = request;
    request->handshake = handshake;
    handshake->message = taken_message;
    handshake_ref(handshake);
}

static void
drive(struct handshake *handshake)
{
    switch (handshake->need.kind) {
    case HANDSHAKE_NEED_SIGNATURE:
        need_signature(handshake);
        break;
    case HANDSHAKE_NEED_TRUST:
        handshake_need_trust(handshake);
        break;
    case HANDSHAKE_NEED_GRANT:
        handshake_need_grant(handshake);
        break;
    case HANDSHAKE_NEED_SEND:
        step_answer(handshake, answer_new(handshake, "waiting", NULL));
        break;
    case HANDSHAKE_NEED_CONFIRM:
        step_answer(handshake, answer_new(handshake, "confirm", NULL));
        break;
    case HANDSHAKE_NEED_DONE:
        need_done(handshake);
        break;
    case HANDSHAKE_NEED_FAILED:
        need_failed(handshake);
        break;
    }
}

void
handshake_step_drive(struct handshake *handshake, ath_err err, struct handshake_need *taken_need)
{
    struct request *request;

    handshake_need_done(&handshake->need);
    handshake->need = *taken_need;
    *taken_need = (struct handshake_need){0};
    if (err != ATH_OK) {
        handshake_step_fail(handshake, err, NULL);
        return;
    }
    handshake_note_progress(handshake);
    if (handshake->need.kind == HANDSHAKE_NEED_DONE && handshake->ended_err != ATH_OK) {
        handshake_step_fail(handshake, handshake->ended_err,
                            NULL); /* the machine's end was not ours */
        return;
    }
    if (handshake->need.repeated && handshake->answer.len > 0 &&
        handshake->need.kind != HANDSHAKE_NEED_FAILED) {
        request = step_end(handshake);
        handshake_step_repeat(handshake, request);
        handshake_free(handshake);
        return;
    }
    drive(handshake);
}

void
handshake_step_resume(struct handshake *handshake, struct request *request)
{
    handshake->stalled = false;
    handshake->request = request;
    request->handshake = handshake;
    handshake_ref(handshake);
    drive(handshake);
}
