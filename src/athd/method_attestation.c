/* attestation.*: the JWTs that the ATH HTTP API wants. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/audit_checkpoint.h"
#include "athd/dispatch.h"
#include "athd/method_support.h"
#include "athd/replay_store.h"
#include "base/base64url.h"
#include "base/clock.h"
#include "crypto/random.h"
#include "protocol/attestation.h"
#include "protocol/identity_document.h"

#define JTI_BYTES 16

/* ---- create ---- */

struct creation {
    struct request *request;
    struct key *key;      /* counted */
    struct ath_buf input; /* what is signed */
    char jti[BASE64URL_LEN(JTI_BYTES) + 1];
    int64_t expires_at;
};

static void
creation_free(struct creation *creation)
{
    ath_buf_done(&creation->input);
    key_free(creation->key);
    free(creation);
}

static void
creation_fail(struct creation *creation, ath_err err, const struct why *why,
              struct json *taken_data)
{
    struct request *request = creation->request;

    creation_free(creation);
    request_fail_data(request, err, why, taken_data);
}

static void
on_signed(void *ctx, const struct signing_outcome *outcome)
{
    struct creation *creation = ctx;
    struct request *request = creation->request;
    struct ath_buf jwt = {.max = JWS_MAX_LEN};
    struct json_maker result;

    if (outcome->err != ATH_OK) {
        creation_fail(
            creation, outcome->err, &outcome->why,
            method_hardware(outcome->native, outcome->tries_left, outcome->retry_after_s));
        return;
    }
    jws_join(ath_buf_slice(&creation->input), outcome->signature, &jwt);
    json_object_begin(&result);
    json_put_slice(&result, "jwt", ath_buf_slice(&jwt));
    json_put_string(&result, "jti", creation->jti);
    json_put_int(&result, "expires_at", creation->expires_at);
    if (jwt.err != ATH_OK)
        json_maker_done(&result);
    ath_buf_done(&jwt);
    creation_free(creation);
    request_finish_maker(request, &result);
}

/* Of the newest checkpoint: whoever gets the attestation can tell later that the log still holds
 * what it held now. NULL: not wanted, or there is none yet. */
static ath_err
make_log_head(const struct athd *athd, struct json **ret_head)
{
    const struct checkpoint *newest =
        athd->checkpoints == NULL ? NULL : audit_checkpoints_newest(athd->checkpoints);
    char origin[CHECKPOINT_ORIGIN_LEN + 1];
    struct json_maker maker;

    *ret_head = NULL;
    if (!athd->config->audit.witness || newest == NULL)
        return ATH_OK;
    snprintf(origin, sizeof(origin), "%s%s", CHECKPOINT_ORIGIN, newest->jkt);
    json_object_begin(&maker);
    json_put_string(&maker, "origin", origin);
    json_put_int(&maker, "size", (int64_t)newest->size);
    json_put_base64url(&maker, "root", ath_slice_of(newest->root, SHA256_LEN));
    return json_maker_end(&maker, ret_head);
}

/* Made when the user has said yes: iat is the time of the signature. */
static ath_err
make_input(struct creation *creation)
{
    const struct request *request = creation->request;
    const struct json *audience = method_param_json(request, "audience");
    const char *audiences[AUDIENCES_MAX], *issuer = method_param(request, "issuer");
    struct attestation_params params = {
        .agent_id = creation->key->agent_id,
        .issuer_is_origin = issuer != NULL && strcmp(issuer, "origin") == 0,
        .audiences = audiences,
        .audience_count = method_strings(audience, audiences, AUDIENCES_MAX),
        .audience_is_array = json_is_array(audience),
        .capabilities = method_param_json(request, "capabilities"),
        .issued_at = clock_now(),
        .ttl = ATTESTATION_TTL_DEFAULT_S,
        .jti = creation->jti,
    };
    struct json *head = NULL;
    ath_err err;

    (void)json_get_int(request->params, "ttl", &params.ttl);
    creation->expires_at = params.issued_at + params.ttl;
    if ((err = random_base64url(JTI_BYTES, creation->jti)) != ATH_OK ||
        (err = make_log_head(request->athd, &head)) != ATH_OK)
        return err;
    params.log = head;
    creation->input.max = JWS_MAX_LEN;
    err = attestation_signing_input(&params, creation->key->public_key, &creation->input);
    json_free(head);
    return err;
}

static void
on_confirmed(void *ctx, ath_err err, const struct scope_list *narrowed)
{
    struct creation *creation = ctx;
    struct request *request = creation->request;
    struct json_maker record;

    (void)narrowed; /* it has no scopes */
    if (err == ATH_OK)
        err = make_input(creation);
    if (err != ATH_OK) {
        creation_fail(creation, err, NULL, NULL);
        return;
    }
    audit_record_begin(&record, "attestation_issued", request);
    json_put_string(&record, "agent_id", creation->key->agent_id);
    json_put_string(&record, "jti", creation->jti);
    json_put_copy(&record, "audience", method_param_json(request, "audience"));
    json_put_int(&record, "expires_at", creation->expires_at);
    signing_start(request, creation->key, PURPOSE_ATTESTATION, ath_buf_slice(&creation->input),
                  HSM_PRIORITY_NORMAL, &record, on_signed, creation);
}

static ath_err
find_key(const struct request *request, struct why *why, struct key **ret_key)
{
    ath_err err = method_key(request, method_param(request, "key"), DID_CLIENT, why, ret_key);

    if (err == ATH_OK && (*ret_key)->agent_id == NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "key \"%s\" has no agent_id; create it with one to attest",
                       (*ret_key)->name);
    return err;
}

/* What else is in it: a yes to an attestation of less is none to one of more. */
static void
put_rest(const struct request *request, struct ath_buf *rest)
{
    const struct json *capabilities = method_param_json(request, "capabilities");
    const char *issuer = method_param(request, "issuer");

    ath_buf_printf(rest, "%s ", issuer != NULL ? issuer : "agent_id");
    if (capabilities != NULL)
        json_write(capabilities, rest);
}

/* All of it: what the question leaves out could be what the attestation is wanted for. */
static void
ask(struct creation *creation, bool policy_asks, const struct policy_question *question)
{
    const struct json *capability =
        json_first(method_param_json(creation->request, "capabilities"));
    struct consent_text text = {0};
    struct ath_buf rest = {0};

    if (!method_would_ask(creation->request->caller, creation->key,
                          policy_asks)) { /* the usual case: no text for nobody */
        on_confirmed(creation, ATH_OK, NULL);
        return;
    }
    consent_text_title(&text, "Let an agent prove who it is?");
    consent_text_caller(&text, creation->request->caller);
    consent_text_line(&text, "Agent key", creation->key->name, CONSENT_OURS);
    consent_text_line(&text, "Agent", creation->key->agent_id, CONSENT_OURS);
    for (size_t i = 0; i < question->audience_count; i++)
        consent_text_line(&text, "To", question->audiences[i], CONSENT_STRANGER);
    for (; capability != NULL; capability = json_next(capability))
        consent_text_line(&text, "As one who can", json_string(capability), CONSENT_STRANGER);
    consent_text_duration(&text, "For", question->ttl);
    put_rest(creation->request, &rest);
    if (rest.err != ATH_OK)
        text.text.err = rest.err; /* told like any other */
    method_confirm(creation->request, policy_asks, &text,
                   &(struct consent_order){.ok_label = "Allow",
                                           .about = question,
                                           .rest = ath_buf_text(&rest),
                                           .can_remember = true},
                   creation->key, on_confirmed, creation);
    ath_buf_done(&rest);
}

void
method_attestation_create(struct request *request)
{
    const enum sign_purpose purpose = PURPOSE_ATTESTATION;
    const char *audiences[AUDIENCES_MAX];
    struct policy_question question = {.method = request->method->name,
                                       .purpose = &purpose,
                                       .audiences = audiences,
                                       .ttl = ATTESTATION_TTL_DEFAULT_S};
    struct creation *creation;
    struct json *data = NULL;
    struct key *key = NULL;
    struct why why = {""};
    bool policy_asks = false;
    ath_err err;

    question.audience_count =
        method_strings(method_param_json(request, "audience"), audiences, AUDIENCES_MAX);
    (void)json_get_int(request->params, "ttl", &question.ttl);
    if ((err = find_key(request, &why, &key)) == ATH_OK) {
        question.key = key->name;
        err = method_policy(request, &question, &why, &data, &policy_asks);
    }
    if (err == ATH_OK && (creation = calloc(1, sizeof(*creation))) != NULL) {
        creation->request = request;
        creation->key = key_ref(key);
        ask(creation, policy_asks, &question);
        return;
    }
    request_fail_data(request, err == ATH_OK ? ATH_ERR_NOMEM : err, &why, data);
}

/* ---- verify ---- */

struct verification {
    struct request *request;
    struct attestation attestation; /* owned */
};

/* attestation_verified, or ATH's attestation_failed. Who it says it is counts only in the first. */
static void
record_verified(struct request *request, const struct attestation *attestation, ath_err err)
{
    const char *event = err == ATH_OK ? "attestation_verified" : "attestation_failed";
    struct json_maker record;

    if (err != ATH_OK &&
        !audit_flood_admits(&request->athd->flood, "attestation_failed", request->caller->uid))
        return;
    audit_record_begin(&record, event, request);
    if (attestation != NULL) {
        json_put_string(&record, "agent_id", json_get_string(attestation->claims, "sub"));
        json_put_string(&record, "jkt", attestation->kid);
        json_put_string(&record, "jti", attestation->jti);
    }
    json_put_string(&record, "audience", method_param(request, "audience"));
    if (err != ATH_OK)
        json_put_string(&record, "denial_reason", ath_err_reason(err));
    audit_record_note(request->athd, &record);
}

static void
on_used(void *ctx, ath_err err, const struct why *why)
{
    struct verification *verification = ctx;
    struct request *request = verification->request;
    struct json_maker result;

    record_verified(request, &verification->attestation, err);
    json_object_begin(&result);
    json_put_bool(&result, "valid", true);
    json_put_take(&result, "claims", verification->attestation.claims);
    verification->attestation.claims = NULL;
    attestation_done(&verification->attestation);
    free(verification);
    if (err == ATH_OK) {
        request_finish_maker(request, &result);
        return;
    }
    json_maker_done(&result);
    request_fail(request, err, why);
}

/* The key to verify with; agent_id points into the document, NULL: not asked. */
static ath_err
verifying_key(const struct request *request, struct why *why, const char **ret_agent_id,
              struct public_key **ret_key)
{
    const struct json *public_key = method_param_json(request, "public_key");
    const struct json *document = method_param_json(request, "identity_document");

    *ret_agent_id = NULL;
    if ((public_key == NULL) == (document == NULL))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "give one of public_key and identity_document");
    if (public_key != NULL)
        return method_public_key(public_key, why, ret_key);
    return identity_document_read(document, why, ret_agent_id, ret_key);
}

/* Replay is judged when everything else holds, so that nobody can use up another's jti. */
static ath_err
use(struct request *request, struct verification *verification, struct why *why)
{
    const struct attestation *attestation = &verification->attestation;

    verification->request = request;
    return method_use(request, attestation->kid, attestation->jti, attestation->fresh_until + 1,
                      on_used, verification, why);
}

void
method_attestation_verify(struct request *request)
{
    struct verification *verification = calloc(1, sizeof(*verification));
    struct public_key *key = NULL;
    const char *agent_id = NULL;
    struct why why = {""};
    ath_err err = verification == NULL ? ATH_ERR_NOMEM : ATH_OK;

    if (err == ATH_OK)
        err = verifying_key(request, &why, &agent_id, &key);
    if (err == ATH_OK)
        err = attestation_verify(ath_slice_of_string(method_param(request, "jwt")), key,
                                 method_param(request, "audience"), agent_id, clock_now(), &why,
                                 &verification->attestation);
    if (err == ATH_OK)
        err = use(request, verification, &why);
    public_key_free(key);
    if (err == ATH_OK)
        return;
    record_verified(request, NULL, err);
    if (verification != NULL)
        attestation_done(&verification->attestation);
    free(verification);
    request_fail(request, err, &why);
}
