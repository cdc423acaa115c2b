/* Jobs for the pool: each made of what its caller says, and handed to the unit of its hsm. */
#include <stdlib.h>
#include <string.h>

#include "athd/hsm_unit.h"

static struct hsm_job *
job_new(enum hsm_op op, struct ath_slice data, const struct hsm_job_params *params)
{
    struct hsm_job *job = calloc(1, sizeof(*job));

    if (job == NULL)
        return NULL;
    job->op = op;
    job->item.identity = params->caller_identity;
    job->item.priority = (unsigned)params->priority;
    job->deadline_ms = params->deadline_ms;
    job->done = params->done;
    job->ctx = params->ctx;
    job->sent = params->sent;
    job->request = params->request;
    job->key_name = params->key_name;
    job->data.max = HSM_WIRE_MAX_MESSAGE;
    ath_buf_put_slice(&job->data, data);
    if (job->data.err != ATH_OK) {
        hsm_job_free(job);
        return NULL;
    }
    return job;
}

static ath_err
submit(struct hsm_pool *pool, const char *hsm, struct hsm_job *job, struct hsm_job **ret_job)
{
    struct hsm_unit *unit = hsm_pool_find_unit(pool, hsm);
    ath_err err = unit == NULL ? ATH_ERR_HSM_NOT_FOUND : hsm_unit_submit(unit, job);

    if (err != ATH_OK) {
        hsm_job_free(job);
        return err;
    }
    if (ret_job != NULL)
        *ret_job = job;
    hsm_pool_want_ticks(pool);
    return ATH_OK;
}

ath_err
hsm_pool_sign(struct hsm_pool *pool, const struct hsm_key_ref *key, struct ath_slice message,
              const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    struct hsm_job *job;

    if (message.len > HSM_WIRE_MAX_MESSAGE)
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((job = job_new(HSM_OP_SIGN, message, params)) == NULL)
        return ATH_ERR_NOMEM;
    job->wants_pin = key->wants_pin;
    job->needs_login = key->has_pin;
    job->jkt = key->jkt;
    job->key = key->number;
    job->key_blob = key->blob;
    return submit(pool, key->hsm, job, ret_job);
}

/* NULL: out of memory. */
static struct hsm_job *
creation_new(uint8_t algorithm, enum hsm_key_usage usage, const char *label,
             const struct hsm_job_params *params)
{
    struct hsm_job *job = job_new(HSM_OP_KEY_CREATE, ath_slice_of(NULL, 0), params);

    if (job == NULL)
        return NULL;
    job->algorithm = algorithm;
    job->usage = usage;
    if ((job->label = ath_strdup(label)) != NULL)
        return job;
    hsm_job_free(job);
    return NULL;
}

ath_err
hsm_pool_key_create(struct hsm_pool *pool, const char *hsm, uint8_t algorithm,
                    enum hsm_key_usage usage, const char *label,
                    const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    struct hsm_job *job = creation_new(algorithm, usage, label, params);

    return job == NULL ? ATH_ERR_NOMEM : submit(pool, hsm, job, ret_job);
}

ath_err
hsm_pool_key_create_with_pin(struct hsm_pool *pool, const char *hsm, uint8_t algorithm,
                             const char *label, const struct hsm_job_params *params,
                             struct hsm_job **ret_job)
{
    struct hsm_job *job = creation_new(algorithm, HSM_KEY_IDENTITY, label, params);

    if (job == NULL)
        return ATH_ERR_NOMEM;
    job->wants_pin = true;
    return submit(pool, hsm, job, ret_job);
}

ath_err
hsm_pool_key_login(struct hsm_pool *pool, const struct hsm_key_ref *key,
                   const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    struct hsm_job *job = job_new(HSM_OP_LOGIN, ath_slice_of(NULL, 0), params);

    if (job == NULL)
        return ATH_ERR_NOMEM;
    job->needs_login = true;
    job->key = key->number;
    job->key_blob = key->blob;
    job->jkt = key->jkt;
    return submit(pool, key->hsm, job, ret_job);
}

ath_err
hsm_pool_key_open(struct hsm_pool *pool, const struct hsm_key_ref *key,
                  const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    struct hsm_job *job;

    if (key->blob.len > HSM_WIRE_MAX_BLOB)
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((job = job_new(HSM_OP_KEY_OPEN, key->blob, params)) == NULL)
        return ATH_ERR_NOMEM;
    job->key = key->number;
    return submit(pool, key->hsm, job, ret_job);
}

ath_err
hsm_pool_counter(struct hsm_pool *pool, const struct hsm_key_ref *key, struct ath_slice blob,
                 uint32_t steps, const uint8_t nonce[32], const struct hsm_job_params *params,
                 struct hsm_job **ret_job)
{
    struct hsm_job *job;

    if (blob.len > HSM_WIRE_MAX_BLOB)
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((job = job_new(HSM_OP_COUNTER, blob, params)) == NULL)
        return ATH_ERR_NOMEM;
    job->key = key->number;
    job->key_blob = key->blob;
    job->count = steps;
    memcpy(job->nonce, nonce, sizeof(job->nonce));
    return submit(pool, key->hsm, job, ret_job);
}

ath_err
hsm_pool_key_delete(struct hsm_pool *pool, const struct hsm_key_ref *key,
                    const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    struct hsm_job *job = job_new(HSM_OP_KEY_DELETE, ath_slice_of(NULL, 0), params);

    if (job == NULL)
        return ATH_ERR_NOMEM;
    job->key = key->number;
    job->key_blob = key->blob;
    return submit(pool, key->hsm, job, ret_job);
}

void
hsm_pool_key_discard(struct hsm_pool *pool, const char *hsm, struct ath_slice blob)
{
    struct hsm_unit *unit = hsm_pool_find_unit(pool, hsm);

    if (unit != NULL && unit->is_token)
        hsm_unit_discard(unit, blob);
}

void
hsm_pool_key_forget(struct hsm_pool *pool, const struct hsm_key_ref *key)
{
    struct hsm_unit *unit = hsm_pool_find_unit(pool, key->hsm);

    if (unit != NULL)
        hsm_unit_forget(unit, key->number);
}

void
hsm_job_cancel(struct hsm_job *job, ath_err err)
{
    hsm_unit_cancel(job, err, NULL);
}
