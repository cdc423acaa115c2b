#include "athd/audit_key.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/audit_key_private.h"
#include "athd/audit_log.h"
#include "athd/store_load.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define LABEL "athd audit"
#define DEADLINE_MS 30000u
#define RETRY_MS 1000u
#define RETRY_MAX_MS 60000u

static void try(struct audit_key *key);

/* ---- the next try ---- */

static void
on_timer(uv_timer_t *timer)
{
    try(timer->data);
}

void
audit_key_wait(struct audit_key *key, ath_err err, const struct why *why)
{
    if (key->retry_ms == 0 && !key->is_closing)
        log_info("event=audit reason=\"no checkpoints yet: %s\"", why_text(why, err));
    why_set(&key->why, err, "%s", why_text(why, err));
    key->state = AUDIT_KEY_WAITING;
    if (key->is_closing)
        return;
    key->retry_ms = key->retry_ms == 0                 ? RETRY_MS
                    : key->retry_ms * 2 < RETRY_MAX_MS ? key->retry_ms * 2
                                                       : RETRY_MAX_MS;
    uv_timer_start(&key->timer, on_timer, key->retry_ms, 0);
}

void
audit_key_become_ready(struct audit_key *key)
{
    key->state = AUDIT_KEY_READY;
    key->retry_ms = 0;
    key->why.text[0] = '\0';
    key->ready(key->ctx);
}

/* Nothing of the hardware's, or somebody may yet log in: the key may well be good. */
static bool
may_pass(ath_err err)
{
    return err == ATH_ERR_HSM_UNAVAILABLE || err == ATH_ERR_HSM_BUSY || err == ATH_ERR_NOMEM ||
           err == ATH_ERR_PIN_REQUIRED || err == ATH_ERR_PIN_INCORRECT ||
           err == ATH_ERR_PIN_LOCKED || err == ATH_ERR_LIMIT_EXCEEDED;
}

static struct hsm_job_params
job_params(struct audit_key *key, hsm_done_fn *done)
{
    return (struct hsm_job_params){.caller_identity = 0,
                                   .priority = HSM_PRIORITY_NORMAL,
                                   .deadline_ms = clock_monotonic_ms() + DEADLINE_MS,
                                   .done = done,
                                   .ctx = key};
}

/* ---- the key there is ---- */

static void
on_opened(void *ctx, const struct hsm_outcome *outcome)
{
    struct audit_key *key = ctx;

    key->job = NULL;
    if (outcome->err == ATH_OK && ath_slice_equal(outcome->public_der, public_key_der(key->public)))
        audit_key_become_ready(key);
    else if (outcome->err == ATH_OK || !may_pass(outcome->err))
        audit_key_refuse(key, &outcome->why);
    else
        audit_key_wait(key, outcome->err, &outcome->why);
}

static void
try(struct audit_key *key)
{
    struct hsm_job_params params = job_params(key, audit_key_on_made);
    struct why why = {{0}};
    ath_err err;

    if (key->is_closing)
        return;
    uv_timer_stop(&key->timer);
    if (key->hsm == NULL) {
        err = ATH_ERR_HSM_NOT_FOUND;
    } else if (!hsm_pool_is_open(key->athd->hsms, key->hsm)) {
        /* a job would ask somebody for the PIN; audit_key_poke comes when it is open */
        key->state = AUDIT_KEY_WAITING;
        return;
    } else if (key->is_unrecorded) {
        audit_key_record(key);
        return;
    } else if (key->made != NULL) {
        err = audit_key_write_made(key);
    } else if (key->public == NULL || key->is_refused) {
        key->state = AUDIT_KEY_MAKING;
        err = hsm_pool_key_create(key->athd->hsms, key->hsm, KEY_ES256, HSM_KEY_AUDIT, LABEL,
                                  &params, &key->job);
    } else {
        key->state = AUDIT_KEY_OPENING;
        params.done = on_opened;
        err = hsm_pool_key_open(key->athd->hsms, &key->ref, &params, &key->job);
    }
    if (err != ATH_OK)
        audit_key_wait(key, err, &why);
}

void
audit_key_poke(struct audit_key *key)
{
    if (key->state == AUDIT_KEY_NEW || key->state == AUDIT_KEY_WAITING)
        try(key);
    else if (audit_key_is_ready(key))
        key->ready(key->ctx);
}

void
audit_key_check(struct audit_key *key)
{
    if (key->state != AUDIT_KEY_READY)
        return;
    key->state = AUDIT_KEY_WAITING;
    try(key);
}

void
audit_key_refuse(struct audit_key *key, const struct why *why)
{
    log_warning("event=audit_key jkt=%s reason=\"%s\"; another key is made",
                key->public == NULL ? "" : public_key_jkt(key->public),
                why_text(why, ATH_ERR_KEY_NOT_FOUND));
    key->is_refused = true;
    try(key);
}

/* ---- looking ---- */

bool
audit_key_is_ready(const struct audit_key *key)
{
    return key->state == AUDIT_KEY_READY && hsm_pool_is_open(key->athd->hsms, key->hsm);
}

const char *
audit_key_failure(const struct audit_key *key)
{
    if (audit_key_is_ready(key))
        return NULL;
    if (key->hsm == NULL)
        return "no hsm is configured that could hold the audit key";
    if (!hsm_pool_is_open(key->athd->hsms, key->hsm))
        return hsm_pool_needs_pin(key->athd->hsms, key->hsm)
                   ? "the audit key waits until somebody has logged in to its hsm"
                   : "the audit key waits for its hsm";
    return key->why.text[0] != '\0' ? key->why.text : "the audit key is being made ready";
}

const struct public_key *
audit_key_public(const struct audit_key *key)
{
    return key->is_refused ? NULL : key->public;
}

bool
audit_key_is_fresh(const struct audit_key *key)
{
    return key->is_fresh;
}

const struct hsm_key_ref *
audit_key_ref(const struct audit_key *key)
{
    return &key->ref;
}

const char *
audit_key_hsm(const struct audit_key *key)
{
    return key->hsm;
}

/* ---- life ---- */

ath_err
audit_key_open(struct athd *athd, void (*ready)(void *ctx), void *ctx, struct why *why,
               struct audit_key **ret_key)
{
    struct audit_key *key = calloc(1, sizeof(*key));
    ath_err err = ATH_ERR_NOMEM;

    if (key == NULL || (key->public_dir = file_path(audit_log_dir(athd->audit), "keys")) == NULL ||
        (key->dir = file_path(athd->config->state_dir, AUDIT_KEY_DIR)) == NULL)
        goto out;
    key->athd = athd;
    key->ready = ready;
    key->ctx = ctx;
    key->blob.max = key->made_blob.max = HSM_WIRE_MAX_BLOB;
    key->hsm = hsm_pool_find(athd->hsms, athd->config->audit.hsm);
    if ((err = file_make_private_dir(key->public_dir, why)) != ATH_OK ||
        (err = store_load(athd, key->dir, audit_key_load, NULL, key, why)) != ATH_OK)
        goto out;
    if (uv_timer_init(athd->loop, &key->timer) != 0) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    key->timer.data = key;
    *ret_key = key;
    key = NULL;
out:
    audit_key_free(key);
    return err;
}

void
audit_key_close(struct audit_key *key)
{
    key->is_closing = true;
    if (!uv_is_closing((uv_handle_t *)&key->timer))
        uv_close((uv_handle_t *)&key->timer, NULL);
}

void
audit_key_free(struct audit_key *key)
{
    if (key == NULL)
        return;
    public_key_free(key->public);
    public_key_free(key->made);
    ath_buf_done(&key->blob);
    ath_buf_done(&key->made_blob);
    free(key->public_dir);
    free(key->dir);
    free(key);
}
