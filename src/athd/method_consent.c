/* consent.*: the user's own programs show questions and answer them. */
#include <stdlib.h>

#include "athd/audit_record.h"
#include "athd/connection.h"
#include "athd/consent_answer.h"
#include "athd/dispatch.h"
#include "athd/freeze.h"
#include "athd/method_consent.h"
#include "athd/method_support.h"
#include "athd/pin_offer.h"
#include "athd/signing.h"

/* ---- list, attend ---- */

void
method_consent_list(struct request *request)
{
    struct consent *consent = request->athd->consent;
    struct json_maker result;
    bool is_found;

    if (!consent_method_is_users(request))
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
    consent_method_not_found(request);
}

void
method_consent_attend(struct request *request)
{
    if (!consent_method_is_users(request))
        return;
    if (request->connection != NULL && !request->connection->is_closing)
        consent_attend(request->athd->consent, request->connection,
                       json_is_true(json_get(request->params, "pins")));
    consent_method_finish(request);
}

/* ---- answer ---- */

static void
on_frozen(void *ctx, ath_err err, const struct why *why)
{
    struct request *request = ctx;

    if (err != ATH_OK)
        request_fail(request, err, why);
    else
        consent_method_finish(request);
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
        signing_end_frozen(request->tenant);
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
        consent_method_finish(request);
}

static bool
has_more(const struct json *params)
{
    return json_get(params, "scopes") != NULL || json_get(params, "remember") != NULL ||
           json_get(params, "freeze") != NULL;
}

/* A PIN is no yes; a no is an answer to it, too. */
static void
refuse_pin(struct request *request)
{
    struct pin_dialogue *dialogue =
        pin_offer_find(request->athd->consent, request->tenant->uid, method_param(request, "id"));
    const char *missing = NULL;
    struct why why = {{0}};
    ath_err err;

    if (dialogue == NULL) {
        consent_method_not_found(request);
        return;
    }
    if (json_is_true(json_get(request->params, "approve")) || has_more(request->params))
        err = why_set(&why, ATH_ERR_INVALID_PARAMS,
                      "a PIN is entered in a pinentry (consent.pinentry); here it can be refused "
                      "(\"approve\": false), no more");
    else
        err = pin_offer_check(dialogue, request->caller, &missing, &why);
    if (missing != NULL) {
        consent_method_note_denied(request, missing);
        consent_method_deny(request, missing, why.text);
    } else if (err != ATH_OK) {
        request_fail(request, err, &why);
    } else {
        pin_offer_refuse(dialogue);
        consent_method_finish(request);
    }
}

/* Whoever asks does not say yes to itself; and who cannot be told from it might be it. */
void
method_consent_answer(struct request *request)
{
    struct consent *consent = request->athd->consent;
    struct consent_question *question;

    if (!consent_method_is_users(request))
        return;
    question = consent_question_find(consent, request->tenant->uid, method_param(request, "id"));
    if (question == NULL) {
        refuse_pin(request);
        return;
    }
    if (!caller_is_still(request->caller)) {
        consent_method_note_denied(request, "process");
        consent_method_deny(request, "process", "the kernel does not prove which process answers");
    } else if (consent_is_asker(question, request->caller)) {
        consent_method_note_denied(request, "asker");
        consent_method_deny(
            request, "asker",
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

    if (!consent_method_is_users(request))
        return;
    tenant = request->tenant->uid;
    if (!consent_windows_forget(&consent->windows, tenant, id) &&
        !consent_backoffs_forget(&consent->backoffs, tenant, id)) {
        consent_method_not_found(request);
        return;
    }
    audit_record_begin(&record, "consent_forgotten", request);
    json_put_string(&record, id[0] == 'w' ? "window" : "pause", id);
    audit_record_note(request->athd, &record);
    consent_look_later(consent);
    consent_method_finish(request);
}

void
method_consent_environment(struct request *request)
{
    struct consent *consent = request->athd->consent;
    struct json_maker record;
    struct why why = {{0}};
    ath_err err;

    if (!consent_method_is_users(request))
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
    consent_method_finish(request);
}
