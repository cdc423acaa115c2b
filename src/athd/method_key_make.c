/* key.create and key.import: keys are made or found in the hardware, recorded, and written to disk
 * before anybody hears of them. */
#include <stdlib.h>
#include <string.h>

#include "athd/dispatch.h"
#include "athd/key_event.h"
#include "athd/method_support.h"
#include "base/clock.h"
#include "protocol/attestation.h"

/* From the params to the answer. */
struct key_job {
    struct request *request;
    struct key *key; /* counted; grows on the way */
    enum key_algorithm algorithm;
    bool is_import, is_reserved, is_opened;
    bool is_made; /* in a token, which keeps it until it is told otherwise */
    bool allow_extractable;
    struct hsm_job *hsm_job; /* while the hardware works */
};

static void
job_free(struct key_job *job)
{
    if (job->is_reserved)
        key_store_release(job->request->tenant->keys, job->key->name);
    key_free(job->key);
    free(job);
}

static void
job_fail_data(struct key_job *job, ath_err err, const struct why *why, struct json *taken_data)
{
    struct request *request = job->request;

    if (job->is_opened)
        hsm_pool_key_forget(request->athd->hsms, &job->key->ref);
    if (job->is_made)
        hsm_pool_key_discard(request->athd->hsms, job->key->hsm, ath_buf_slice(&job->key->blob));
    job_free(job);
    request_fail_data(request, err, why, taken_data);
}

static void
job_fail(struct key_job *job, ath_err err, const struct why *why)
{
    job_fail_data(job, err, why, NULL);
}

static void
on_stored(void *ctx, ath_err err, const struct why *why)
{
    struct key_job *job = ctx;
    struct request *request = job->request;
    struct json *info = NULL;

    if (err != ATH_OK) {
        job_fail(job, err, why);
        return;
    }
    job->is_made = false; /* it is known from now on */
    key_event_publish(request->tenant, job->is_import ? "imported" : "created", job->key);
    if (key_info(job->key, request->athd->hsms, &info) != ATH_OK)
        info = NULL;
    job_free(job);
    request_finish(request, info);
}

static void
on_recorded(void *ctx, ath_err err)
{
    struct key_job *job = ctx;

    if (err == ATH_OK)
        err = key_store_put(job->request->tenant->keys, job->key, on_stored, job);
    if (err != ATH_OK)
        job_fail(job, err, NULL);
}

/* A new key's blob, or what a token calls a key it has. */
static ath_err
take_blob(struct key_job *job, struct ath_slice given)
{
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    uint32_t number = job->key->ref.number;

    if (job->is_import && (!job->key->is_token || given.len == 0))
        return ATH_OK;
    ath_buf_put_slice(&blob, given);
    if (blob.err != ATH_OK)
        return blob.err;
    if (!job->is_import) {
        number = hsm_pool_next_key_number(job->request->athd->hsms);
        job->is_made = job->key->is_token;
    }
    key_attach(job->key, &blob, number);
    return ATH_OK;
}

/* What the hardware gave becomes the key's public half. */
static ath_err
take_outcome(struct key_job *job, const struct hsm_outcome *outcome, struct why *why)
{
    struct athd *athd = job->request->athd;
    struct public_key *public_key = NULL;
    const char *kind;
    ath_err err;

    if ((err = take_blob(job, outcome->blob)) != ATH_OK)
        return err;
    if ((err = public_key_from_der(outcome->public_der, why, &public_key)) != ATH_OK)
        return err;
    key_set_public(job->key, public_key);
    key_set_facts(job->key, &outcome->facts);
    job->key->pin = job->key->is_token && hsm_pool_needs_pin(athd->hsms, job->key->hsm);
    if (outcome->facts.restricted)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the key is restricted: it signs only what its TPM has made");
    hsm_pool_describe(athd->hsms, job->key->hsm, &kind, &job->key->software);
    if (job->is_import && job->key->is_token && outcome->facts.extractable &&
        !job->allow_extractable)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the token lets this key be taken out, so a copy may be elsewhere; with "
                       "allow_extractable it is adopted all the same");
    if (!job->is_import && public_key_algorithm(public_key) != job->algorithm)
        return why_set(why, ATH_ERR_HSM_ERROR, "the hardware made a key of another algorithm");
    if (tenants_have_public(athd, public_key))
        return why_set(why, ATH_ERR_KEY_EXISTS, "athd has this key already");
    return ATH_OK;
}

static void
cancel_hardware(struct request *request, ath_err err)
{
    struct key_job *job = request->stage;

    hsm_job_cancel(job->hsm_job, err);
}

/* `err` of submitting a job to the hardware. */
static void
wait_for_hardware(struct key_job *job, ath_err err, const struct why *why)
{
    if (err != ATH_OK) {
        job_fail(job, err, why);
        return;
    }
    job->request->stage = job;
    job->request->cancel = cancel_hardware;
}

static struct hsm_job_params
hsm_params(struct key_job *job, hsm_done_fn *done)
{
    return (struct hsm_job_params){
        .caller_identity = job->request->caller->lane,
        .priority = HSM_PRIORITY_NORMAL,
        .deadline_ms = job->request->deadline_ms,
        .done = done,
        .ctx = job,
        .request = job->request,
        .key_name = job->key->name,
    };
}

static void
fail_as(struct key_job *job, ath_err err, const struct why *why, const struct hsm_outcome *outcome)
{
    job_fail_data(job, err, why,
                  method_hardware(outcome->native, outcome->tries_left, outcome->retry_after_s));
}

static void
record(struct key_job *job)
{
    key_event_record(job->request, job->is_import ? "key_imported" : "key_created", job->key,
                     on_recorded, job);
}

static void
on_pin(void *ctx, const struct hsm_outcome *outcome)
{
    struct key_job *job = ctx;

    job->request->cancel = NULL;
    if (outcome->err != ATH_OK)
        fail_as(job, outcome->err, &outcome->why, outcome);
    else
        record(job);
}

/* Who imports a key with a PIN knows it. */
static void
ask_pin(struct key_job *job)
{
    struct hsm_job_params params = hsm_params(job, on_pin);

    wait_for_hardware(
        job, hsm_pool_key_login(job->request->athd->hsms, &job->key->ref, &params, &job->hsm_job),
        NULL);
}

static void
on_hardware(void *ctx, const struct hsm_outcome *outcome)
{
    struct key_job *job = ctx;
    struct request *request = job->request;
    struct why why = outcome->why;
    ath_err err = outcome->err;

    request->cancel = NULL;
    job->is_opened = job->is_import && err == ATH_OK;
    if (err == ATH_OK)
        err = take_outcome(job, outcome, &why);
    if (err != ATH_OK)
        fail_as(job, err, &why, outcome);
    else if (job->is_import && job->key->ref.has_pin)
        ask_pin(job);
    else
        record(job);
}

/* ---- params ---- */

static ath_err
decode_agent_id(const struct request *request, struct why *why, struct key *key)
{
    const char *agent_id = method_param(request, "agent_id");

    if (agent_id == NULL)
        return ATH_OK;
    if (key->role != DID_CLIENT)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "agent_id is for client keys only");
    if (!agent_id_is_valid(agent_id))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "agent_id must be an https URI (or http on loopback), not a DID");
    key->agent_id = ath_strdup(agent_id);
    return key->agent_id == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

static ath_err
decode_rest(const struct request *request, struct why *why, struct key *key)
{
    const struct json *display = method_param_json(request, "display");
    const char *confirm = method_param(request, "confirm");

    key->created_at = clock_now();
    key->owner = request->tenant->uid;
    key->confirm = key->role == DID_USER ? KEY_CONFIRM_ALWAYS : KEY_CONFIRM_NEVER;
    if (confirm != NULL && !key_confirm_parse(confirm, &key->confirm))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "confirm must be never, always or session");
    if (json_get_int(request->params, "expires_at", &key->expires_at) &&
        key->expires_at <= key->created_at)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "expires_at is not in the future");
    if (display == NULL)
        return ATH_OK;
    return display_decode(display, why, &key->display);
}

/* A key of what the params say; its name is reserved. */
static ath_err
job_start(struct key_job *job, const char *hsm, struct why *why)
{
    struct request *request = job->request;
    const char *name = method_param(request, "name");
    ath_err err;

    if ((job->key = key_new()) == NULL || (job->key->name = ath_strdup(name)) == NULL)
        return ATH_ERR_NOMEM;
    if (!did_role_parse(method_param(request, "role"), &job->key->role))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "role must be user, client or server");
    if (hsm == NULL)
        return why_set(why, ATH_ERR_HSM_NOT_FOUND,
                       "no hsm of this name is configured (`ath status` lists those that are)");
    if ((job->key->hsm = ath_strdup(hsm)) == NULL)
        return ATH_ERR_NOMEM;
    job->key->is_token = hsm_pool_is_token(request->athd->hsms, hsm);
    if ((err = decode_agent_id(request, why, job->key)) != ATH_OK)
        return err;
    if ((err = decode_rest(request, why, job->key)) != ATH_OK)
        return err;
    if ((err = tenant_check_key_count(request->tenant, why)) != ATH_OK)
        return err;
    err = key_store_reserve(request->tenant->keys, name);
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        return why_set(why, err, "athd keeps %u keys at most: delete some first", KEY_STORE_MAX);
    if (err != ATH_OK)
        return why_set(why, err, "a key \"%s\" already exists", name);
    job->is_reserved = true;
    return ATH_OK;
}

static struct key_job *
job_new(struct request *request, bool is_import)
{
    struct key_job *job = calloc(1, sizeof(*job));

    if (job == NULL)
        request_fail(request, ATH_ERR_NOMEM, NULL);
    else
        *job = (struct key_job){.request = request, .is_import = is_import, .algorithm = KEY_ES256};
    return job;
}

/* What the params name, or the first. NULL: there is none of this name. */
static const char *
named_hsm(const struct request *request)
{
    return hsm_pool_find(request->athd->hsms, method_param(request, "hsm"));
}

static ath_err
start_create(struct key_job *job, const struct hsm_job_params *params, struct why *why)
{
    struct request *request = job->request;
    struct hsm_pool *pool = request->athd->hsms;
    const struct key *key = job->key;

    if (!json_is_true(method_param_json(request, "pin")))
        return hsm_pool_key_create(pool, key->hsm, (uint8_t)job->algorithm, HSM_KEY_IDENTITY,
                                   key->name, params, &job->hsm_job);
    if (key->is_token)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "pin is for keys in a TPM: hsm \"%s\" is a PKCS#11 token, whose own PIN "
                       "protects its keys",
                       key->hsm);
    return hsm_pool_key_create_with_pin(pool, key->hsm, (uint8_t)job->algorithm, key->name, params,
                                        &job->hsm_job);
}

void
method_key_create(struct request *request)
{
    const char *algorithm = method_param(request, "algorithm");
    struct key_job *job = job_new(request, false);
    struct hsm_job_params params;
    struct why why = {""};
    ath_err err = ATH_OK;

    if (job == NULL)
        return;
    if (algorithm != NULL && !key_algorithm_parse(algorithm, &job->algorithm))
        err = why_set(&why, ATH_ERR_UNSUPPORTED_ALGORITHM, "there is no algorithm \"%s\" here",
                      algorithm);
    if (err != ATH_OK || (err = job_start(job, named_hsm(request), &why)) != ATH_OK) {
        job_fail(job, err, &why);
        return;
    }
    params = hsm_params(job, on_hardware);
    wait_for_hardware(job, start_create(job, &params, &why), &why);
}

static ath_err
decode_pem(const struct request *request, const char *pem, struct why *why, struct ath_buf *blob,
           const char **ret_hsm)
{
    ath_buf_put_string(blob, pem);
    if (blob->err == ATH_ERR_LIMIT_EXCEEDED)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "tss2_pem is not a TSS2 PRIVATE KEY file");
    *ret_hsm = named_hsm(request);
    if (*ret_hsm != NULL && hsm_pool_is_token(request->athd->hsms, *ret_hsm))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "tss2_pem is a TPM's key, and hsm \"%s\" is a PKCS#11 token", *ret_hsm);
    return blob->err;
}

/* Which module to use and where its PIN is, says the configuration: a caller may name a key. */
static ath_err
decode_uri(const struct request *request, const char *text, struct why *why, struct ath_buf *blob,
           const char **ret_hsm)
{
    const struct hsm_pool *pool = request->athd->hsms;
    const char *hsm = method_param(request, "hsm");
    struct pkcs11_uri uri;
    ath_err err;

    if ((err = pkcs11_uri_parse(ath_slice_of_string(text), why, &uri)) != ATH_OK)
        return err;
    if (uri.module_path[0] != '\0' || uri.module_name[0] != '\0' || uri.pin_file[0] != '\0' ||
        uri.pin_credential[0] != '\0')
        return why_set(
            why, ATH_ERR_INVALID_PARAMS,
            "module-path, module-name and pin-source are part of the hsm's URI (athd.json "
            "or --hsm); pkcs11_uri names only the key");
    if (uri.object[0] == '\0' && uri.id_len == 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "pkcs11_uri names no key: it needs object=LABEL or id=%%01");
    *ret_hsm = hsm != NULL ? hsm_pool_find(pool, hsm) : hsm_pool_find_token(pool, &uri);
    if (*ret_hsm == NULL && hsm == NULL)
        return why_set(why, ATH_ERR_HSM_NOT_FOUND,
                       "no hsm is configured for the token that pkcs11_uri names");
    if (*ret_hsm != NULL && !hsm_pool_is_token(pool, *ret_hsm))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "pkcs11_uri is a key of a PKCS#11 token, and hsm \"%s\" is a TPM", *ret_hsm);
    pkcs11_uri_put_path(&uri, blob);
    return blob->err;
}

/* Exactly one of the two. */
static ath_err
decode_import(const struct request *request, struct why *why, struct ath_buf *blob,
              const char **ret_hsm)
{
    const char *pem = method_param(request, "tss2_pem");
    const char *uri = method_param(request, "pkcs11_uri");

    if ((pem == NULL) == (uri == NULL))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "give one of tss2_pem (a TPM's key) and pkcs11_uri (a token's key)");
    return pem != NULL ? decode_pem(request, pem, why, blob, ret_hsm)
                       : decode_uri(request, uri, why, blob, ret_hsm);
}

void
method_key_import(struct request *request)
{
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct key_job *job = job_new(request, true);
    struct hsm_job_params params;
    struct why why = {""};
    const char *hsm = NULL;
    ath_err err;

    if (job == NULL)
        return;
    job->allow_extractable = json_is_true(method_param_json(request, "allow_extractable"));
    err = decode_import(request, &why, &blob, &hsm);
    if (err == ATH_OK)
        err = job_start(job, hsm, &why);
    if (err != ATH_OK) {
        ath_buf_done(&blob);
        job_fail(job, err, &why);
        return;
    }
    key_attach(job->key, &blob, hsm_pool_next_key_number(request->athd->hsms));
    params = hsm_params(job, on_hardware);
    err = hsm_pool_key_open(request->athd->hsms, &job->key->ref, &params, &job->hsm_job);
    wait_for_hardware(job, err, &why);
}
