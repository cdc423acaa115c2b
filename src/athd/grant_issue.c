#include "athd/grant_issue.h"

#include <stdlib.h>
#include <string.h>

#include "athd/method_support.h"
#include "base/base64url.h"
#include "base/clock.h"
#include "crypto/random.h"

#define JTI_BYTES 16

struct issuing {
    struct request *request;
    struct key *key;         /* counted */
    struct user_grant grant; /* owned */
    int64_t ttl;
    struct ath_buf input; /* what is signed */
    char *id;             /* the credential's */
    grant_done_fn *done;
    void *ctx;
};

static void
issuing_end(struct issuing *issuing, ath_err err, const struct why *why, struct json *taken_data)
{
    const struct credential *credential = NULL;

    if (err == ATH_OK)
        credential = credential_store_find(issuing->request->tenant->credentials, issuing->id);
    if (err == ATH_OK && credential == NULL)
        err = ATH_ERR_INTERNAL;
    issuing->done(issuing->ctx, err, why, taken_data, credential);
    user_grant_done(&issuing->grant);
    ath_buf_done(&issuing->input);
    key_free(issuing->key);
    free(issuing->id);
    free(issuing);
}

/* ---- the last stage: on disk ---- */

static void
on_stored(void *ctx, ath_err err, const struct why *why)
{
    issuing_end(ctx, err, why, NULL);
}

/* What was signed is read back as anybody would read it before it is kept. */
static ath_err
keep(struct issuing *issuing, struct ath_slice signature, struct why *why)
{
    struct tenant *tenant = issuing->request->tenant;
    struct ath_buf jws = {.max = JWS_MAX_LEN};
    struct credential *credential = NULL;
    struct user_grant grant = {0};
    struct json *text = NULL;
    int64_t now = clock_now();
    ath_err err;

    jws_join(ath_buf_slice(&issuing->input), signature, &jws);
    text = json_string_new(ath_buf_slice(&jws));
    err = jws.err != ATH_OK ? jws.err : text == NULL ? ATH_ERR_NOMEM : ATH_OK;
    if (err != ATH_OK || (err = user_grant_read(text, &tenant->pins, now, why, &grant)) != ATH_OK)
        goto out;
    err = credential_new(text, &grant, now, &credential);
    text = NULL;
    if (err != ATH_OK)
        goto out;
    if ((issuing->id = ath_strdup(credential->id)) == NULL) {
        credential_free(credential);
        err = ATH_ERR_NOMEM;
        goto out;
    }
    err = credential_store_put(tenant->credentials, credential, on_stored, issuing);
out:
    json_free(text);
    ath_buf_done(&jws);
    return err;
}

static void
on_signed(void *ctx, const struct signing_outcome *outcome)
{
    struct issuing *issuing = ctx;
    struct why why = outcome->why;
    ath_err err = outcome->err;

    if (err == ATH_OK)
        err = keep(issuing, outcome->signature, &why);
    if (err != ATH_OK)
        issuing_end(issuing, err, &why,
                    method_hardware(outcome->native, outcome->tries_left, outcome->retry_after_s));
}

/* ---- signature ---- */

static void
put_record(const struct issuing *issuing, struct json_maker *record)
{
    const struct user_grant *grant = &issuing->grant;
    struct json_maker audience;
    struct json *scopes = NULL;

    audit_record_begin(record, "credential_issued", issuing->request);
    json_put_string(record, "jti", grant->jti);
    json_put_string(record, "user_id", grant->user_did);
    json_put_string(record, "agent_id", grant->client_did);
    if (grant->audiences != NULL) {
        json_array_begin(&audience);
        for (size_t i = 0; i < grant->audience_count; i++)
            json_put_string(&audience, NULL, grant->audiences[i]);
        json_put_maker(record, "audience", &audience);
    }
    if (scope_list_encode(&grant->scopes, &scopes) != ATH_OK)
        scopes = NULL;
    json_put_take(record, "effective_scopes", scopes);
    json_put_int(record, "expires_at", grant->expires_at);
}

/* What the user took away is not signed. */
static ath_err
narrow(struct user_grant *grant, const struct scope_list *narrowed)
{
    scope_list_done(&grant->scopes);
    grant->scopes = (struct scope_list){0};
    return scope_list_copy(narrowed, &grant->scopes);
}

static void
on_consent(void *ctx, ath_err err, const struct scope_list *narrowed)
{
    struct issuing *issuing = ctx;
    struct user_grant *grant = &issuing->grant;
    struct json_maker record;

    if (err == ATH_OK && narrowed != NULL)
        err = narrow(grant, narrowed);
    if (err == ATH_OK) {
        grant->issued_at = clock_now(); /* not before the user's yes */
        grant->expires_at = grant->issued_at + issuing->ttl;
        issuing->input.max = JWS_MAX_LEN;
        err = user_grant_signing_input(grant, &issuing->input);
    }
    if (err != ATH_OK) {
        issuing_end(issuing, err, NULL, NULL);
        return;
    }
    put_record(issuing, &record);
    signing_start(issuing->request, issuing->key, PURPOSE_USER_GRANT,
                  ath_buf_slice(&issuing->input), HSM_PRIORITY_NORMAL, &record, on_signed, issuing);
}

/* ---- policy and the question ---- */

static void
put_question(const struct issuing *issuing, const struct grant_order *order,
             struct consent_text *text)
{
    const struct tenant *tenant = issuing->request->tenant;

    consent_text_title(text, "Grant an agent access in your name?");
    consent_text_caller(text, issuing->request->caller);
    consent_text_line(text, "Your key", issuing->key->name, CONSENT_OURS);
    method_put_party(text, tenant, "Agent", order->client_did);
    if (order->audiences == NULL)
        consent_text_line(text, "Application", "ANY application that knows you", CONSENT_OURS);
    for (size_t i = 0; order->audiences != NULL && i < order->audience_count; i++)
        method_put_party(text, tenant, "Application", order->audiences[i]);
    consent_text_scopes(text, "May", order->scopes);
    consent_text_duration(text, "For", order->ttl);
    if (order->purpose != NULL)
        consent_text_line(text, "The agent says", order->purpose, CONSENT_STRANGER);
}

static ath_err
copy_order(struct issuing *issuing, const struct grant_order *order)
{
    struct user_grant *grant = &issuing->grant;
    char jti[BASE64URL_LEN(JTI_BYTES) + 1];
    ath_err err;

    if ((err = random_base64url(JTI_BYTES, jti)) != ATH_OK ||
        (err = scope_list_copy(order->scopes, &grant->scopes)) != ATH_OK)
        return err;
    if ((grant->jti = ath_strdup(jti)) == NULL ||
        (grant->user_did = ath_strdup(issuing->key->did)) == NULL ||
        (grant->client_did = ath_strdup(order->client_did)) == NULL)
        return ATH_ERR_NOMEM;
    grant->user_key = public_key_ref(issuing->key->public_key);
    issuing->ttl = order->ttl;
    if (order->audiences == NULL)
        return ATH_OK;
    if ((grant->audiences = calloc(order->audience_count, sizeof(*grant->audiences))) == NULL)
        return ATH_ERR_NOMEM;
    for (; grant->audience_count < order->audience_count; grant->audience_count++) {
        char *copy = ath_strdup(order->audiences[grant->audience_count]);

        if (copy == NULL)
            return ATH_ERR_NOMEM;
        grant->audiences[grant->audience_count] = copy;
    }
    return ATH_OK;
}

void
grant_issue(struct request *request, struct key *user_key, const struct grant_order *order,
            grant_done_fn *done, void *ctx)
{
    const enum sign_purpose purpose = PURPOSE_USER_GRANT;
    const struct policy_question question = {
        .method = request->method->name,
        .key = user_key->name,
        .purpose = &purpose,
        .audiences = order->audiences,
        .audience_count = order->audience_count,
        .peers = &order->client_did,
        .peer_count = 1,
        .scopes = order->scopes,
        .ttl = order->ttl,
    };
    struct issuing *issuing = calloc(1, sizeof(*issuing));
    struct consent_text text = {0};
    struct json *data = NULL;
    struct why why = {""};
    bool ask = false;
    ath_err err;

    if (issuing == NULL) {
        done(ctx, ATH_ERR_NOMEM, NULL, NULL, NULL);
        return;
    }
    issuing->request = request;
    issuing->key = key_ref(user_key);
    issuing->done = done;
    issuing->ctx = ctx;
    if ((err = copy_order(issuing, order)) != ATH_OK ||
        (err = method_policy(request, &question, &why, &data, &ask)) != ATH_OK) {
        issuing_end(issuing, err, &why, data);
        return;
    }
    put_question(issuing, order, &text);
    method_confirm(request, ask, &text,
                   &(struct consent_order){.ok_label = "Grant",
                                           .timeout_s = order->timeout_s,
                                           .about = &question,
                                           .can_narrow = true,
                                           .can_remember = true},
                   user_key, on_consent, issuing);
}
