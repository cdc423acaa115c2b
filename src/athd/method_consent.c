/* consent.*: the user's own programs show questions and answer them. */
#include <stdlib.h>

#include "athd/audit_record.h"
#include "athd/connection.h"
#include "athd/consent_answer.h"
#include "athd/dispatch.h"
#include "athd/freeze.h"
#include "athd/method_support.h"

/* ---- who may ---- */

/* A refusal that no rule of the policy can change. */
static void
deny(struct request *request, const char *missing, const char *sentence)
{
    struct json_maker data;
    struct json *object = NULL;
    struct why why = {{0}};

    request->tenant->counters.denials++;
    json_object_begin(&data);
    json_put_string(&data, "rule", "consent");
    json_put_string(&data, "missing", missing);
    if (json_maker_end(&data, &object) != ATH_OK)
        object = NULL;
    request_fail_data(request, why_set(&why, ATH_ERR_POLICY_DENIED, "%s", sentence), &why, object);
}

static void
note_denied(struct request *request, const char *missing)
{
    struct json_maker record;

    if (!audit_flood_admits(&request->athd->flood, "policy_denied", request->caller->uid))
        return;
    audit_record_begin(&record, "policy_denied", request);
    json_put_string(&record, "method", request->method->name);
    json_put_string(&record, "rule", "consent");
    json_put_string(&record, "missing", missing);
    json_put_string(&record, "denial_reason", ath_err_reason(ATH_ERR_POLICY_DENIED));
    audit_record_note(request->athd, &record);
}

/* True: the user's own program, at the user's own socket. Else the request has been failed. */
static bool
is_users(struct request *request)
{
    const struct caller *caller = request->caller;

    if (caller->grant[0] == '\0' && caller->uid == request->tenant->uid)
        return true;
    note_denied(request, caller->grant[0] != '\0' ? "socket" : "uid");
    if (caller->grant[0] != '\0')
        deny(request, "socket", "nobody answers for the user at a grant's socket");
    else
        deny(request, "uid", "only the user whose keys are asked for can do this");
    return false;
}

static void
finish(struct request *request)
{
    struct json_maker result;

    json_object_begin(&result);
    request_finish_maker(request, &result);
}

static void
fail_not_found(struct request *request)
{
    struct why why = {{0}};

    request_fail(request,
                 why_set(&why, ATH_ERR_CONSENT_NOT_FOUND, "there is no \"%.32s\" (any more)",
                         method_param(request, "id")),
                 &why);
}

/* ---- list, attend ---- */

void
method_consent_list(struct request *request)
{
    struct consent *consent = request->athd->consent;
    struct json_maker result;
    bool is_found;

    if (!is_users(request))
        return;
    json_object_begin(&result);
    json_put_bool(&result, "attending",
                  request->connection != NULL && request->connection->attends);
    is_found =
        consent_list_put(consent, request->tenant->uid, method_param(request, "id"), &result);
    if (is_found) {
        request_finish_maker(request, &result);
        return;
    }
    json_maker_done(&result);
    fail_not_found(request);
}

void
method_consent_attend(struct request *request)
{
    if (!is_users(request))
        return;
    if (request->connection != NULL && !request->connection->is_closing)
        consent_attend(request->athd->consent, request->connection);
    finish(request);
}

/* ---- answer ---- */

static void
on_frozen(void *ctx, ath_err err, const struct why *why)
{
    struct request *request = ctx;

    if (err != ATH_OK)
        request_fail(request, err, why);
    else
        finish(request);
}

static void
record_frozen(struct request *request, const char *key)
{
    struct json_maker record;

    audit_record_begin(&record, "keys_frozen", request);
    json_put_string(&record, "key", key);
    audit_record_note(request->athd, &record);
}

/* Frozen from now on; the answer when it is on disk. All that waits for the key ends with it. */
static void
freeze(struct request *request, struct consent_question *question)
{
    struct consent *consent = question->consent;
    char *key = ath_strdup(question->about.key);
    uid_t tenant = question->asker.tenant;
    struct why why = {{0}};
    ath_err err = key == NULL ? ATH_ERR_NOMEM : ATH_OK;

    if (err == ATH_OK)
        err = freeze_set(request->tenant->freeze, key, &why, on_frozen, request);
    if (err == ATH_OK) {
        record_frozen(request, key);
        consent_end_frozen(consent, tenant, key);
    } else {
        request_fail(request, err, &why);
    }
    free(key);
}

static void
give(struct request *request, struct consent_question *question)
{
    struct consent_answer answer = {.approve = false};
    struct why why = {{0}};
    bool freezes;
    ath_err err;

    if ((err = consent_answer_read(request->params, question, &why, &answer)) != ATH_OK) {
        request_fail(request, err, &why);
        return;
    }
    freezes = answer.freeze;
    err = consent_answer_give(question, request, &answer, &why);
    consent_answer_done(&answer);
    if (err != ATH_OK)
        request_fail(request, err, &why);
    else if (freezes)
        freeze(request, question); /* it lives until all who asked it are told */
    else
        finish(request);
}

/* Whoever asks does not say yes to itself; and who cannot be told from it might be it. */
void
method_consent_answer(struct request *request)
{
    struct consent *consent = request->athd->consent;
    struct consent_question *question;

    if (!is_users(request))
        return;
    question = consent_question_find(consent, request->tenant->uid, method_param(request, "id"));
    if (question == NULL) {
        fail_not_found(request);
        return;
    }
    if (!caller_is_still(request->caller)) {
        note_denied(request, "process");
        deny(request, "process", "the kernel does not prove which process answers");
    } else if (consent_is_asker(question, request->caller)) {
        note_denied(request, "asker");
        deny(request, "asker",
             "a question is not answered by the process that asked it, nor by one it started");
    } else {
        give(request, question);
    }
}

/* ---- forget, environment ---- */

void
method_consent_forget(struct request *request)
{
    struct consent *consent = request->athd->consent;
    const char *id = method_param(request, "id");
    struct json_maker record;
    uid_t tenant;

    if (!is_users(request))
        return;
    tenant = request->tenant->uid;
    if (!consent_windows_forget(&consent->windows, tenant, id) &&
        !consent_backoffs_forget(&consent->backoffs, tenant, id)) {
        fail_not_found(request);
        return;
    }
    audit_record_begin(&record, "consent_forgotten", request);
    json_put_string(&record, id[0] == 'w' ? "window" : "pause", id);
    audit_record_note(request->athd, &record);
    consent_look_later(consent);
    finish(request);
}

void
method_consent_environment(struct request *request)
{
    struct consent *consent = request->athd->consent;
    struct json_maker record;
    struct why why = {{0}};
    ath_err err;

    if (!is_users(request))
        return;
    if (!consent_has_prompter(consent)) {
        request_fail(request,
                     why_set(&why, ATH_ERR_NO_PROMPTER,
                             "athd for the whole machine starts no prompter: run `ath consent`"),
                     &why);
        return;
    }
    err =
        consent_environment_set(&consent->environment, request->params, request->tenant->uid, &why);
    if (err != ATH_OK) {
        request_fail(request, err, &why);
        return;
    }
    audit_record_begin(&record, "prompter_environment", request);
    consent_environment_put(&consent->environment, &record, "environment");
    audit_record_note(request->athd, &record);
    consent_look_later(consent);
    finish(request);
}
