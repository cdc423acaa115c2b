#include "athd/signing.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/events.h"
#include "athd/freeze.h"
#include "athd/grant.h"
#include "athd/lock.h"
#include "athd/policy_again.h"
#include "base/base64url.h"
#include "base/clock.h"
#include "crypto/digest.h"

/* After this long it is asked again whether it is still allowed. */
#define FRESH_MS 1000u

struct signing {
    LIST_ENTRY(signing) entry;
    uint64_t began_ms; /* clock_monotonic_ms */
    struct request *request;
    struct key *key;       /* counted */
    struct hsm_job *job;   /* NULL once the hardware has answered */
    struct grant_use use;  /* of the grant that the caller came through */
    bool use_waits;        /* its completion has not come yet */
    bool record_waits;     /* as above */
    bool record_is_wanted; /* it may wait no longer for others to be written with it */
    ath_err cancelled;     /* ATH_OK: it was not */
    struct signing_outcome outcome;
    uint8_t signature[SIGNATURE_MAX_LEN];
    enum sign_purpose purpose;
    void (*cancel_before)(struct request *request, ath_err err);
    void *stage_before;
    signing_done_fn *done;
    void *ctx;
    struct deferred refused;
};

/* ---- the end ---- */

/* Who watches the hardware is told of each signature and how long it took. */
static void
publish(const struct signing *signing)
{
    struct json_maker event;

    if (!events_wanted(signing->request->athd, EVENT_HSM))
        return;
    json_object_begin(&event);
    json_put_string(&event, "name", signing->key->hsm);
    json_put_string(&event, "key", signing->key->name);
    json_put_string(&event, "purpose", purpose_text(signing->purpose));
    json_put_int(&event, "hardware_us", signing->outcome.hardware_us);
    events_publish_of(signing->request, EVENT_HSM, &event);
}

/* The kill switch holds also for what was on its way. */
static void
look_at_freeze(struct signing *signing)
{
    struct signing_outcome *outcome = &signing->outcome;

    if (outcome->err == ATH_OK && freeze_has(signing->request->tenant->freeze, signing->key->name))
        outcome->err = why_set(&outcome->why, ATH_ERR_POLICY_DENIED,
                               "the key %s was frozen meanwhile; `ath unfreeze %s` ends that",
                               signing->key->name,
                               freeze_remedy(signing->request->tenant->freeze, signing->key->name));
}

/* Somebody took their time over a PIN: the hour may be over, the grant, or the caller's process. */
static void
look_at_time(struct signing *signing)
{
    struct signing_outcome *outcome = &signing->outcome;

    if (outcome->err == ATH_OK && signing->cancelled == ATH_OK &&
        clock_monotonic_ms() - signing->began_ms >= FRESH_MS)
        outcome->err = policy_again_while_signing(signing->request, false, &outcome->why);
}

static void
finish(struct signing *signing)
{
    struct request *request = signing->request;

    LIST_REMOVE(signing, entry);
    request->cancel = signing->cancel_before;
    request->stage = signing->stage_before;
    look_at_time(signing);
    grant_use_end(&signing->use, signing->outcome.signature.len > 0);
    if (signing->cancelled != ATH_OK)
        signing->outcome.err = signing->cancelled;
    look_at_freeze(signing);
    if (signing->outcome.err != ATH_OK)
        signing->outcome.signature = ath_slice_of(NULL, 0);
    else
        request->tenant->counters.signatures++;
    if (signing->outcome.err == ATH_OK)
        publish(signing);
    if (signing->key->is_deleted) /* it may have been opened again for this signature */
        hsm_pool_key_forget(request->athd->hsms, &signing->key->ref);
    signing->done(signing->ctx, &signing->outcome);
    explicit_bzero(signing->signature, sizeof(signing->signature));
    key_free(signing->key);
    free(signing);
}

/* The answer leaves when both are there (docs/architecture.md, decision 6), and a grant's file
 * counts it. */
static void
finish_if_all(struct signing *signing)
{
    if (signing->job == NULL && !signing->record_waits && !signing->use_waits)
        finish(signing);
}

/* Record and hardware start together: the record of a job that still queues waits, and is written
 * with the others. */
static void
want_record(struct signing *signing)
{
    if (signing->record_is_wanted)
        return;
    signing->record_is_wanted = true;
    if (signing->record_waits)
        audit_write(signing->request->athd->audit);
}

static void
on_counted(void *ctx, ath_err err)
{
    struct signing *signing = ctx;

    signing->use_waits = false;
    if (err != ATH_OK && signing->outcome.err == ATH_OK)
        signing->outcome.err = err;
    finish_if_all(signing);
}

/* So does the grant's file. */
static void
on_sent(void *ctx)
{
    struct signing *signing = ctx;

    if (signing->record_is_wanted)
        return;
    want_record(signing);
    grant_use_send(&signing->use, on_counted, signing);
    signing->use_waits = signing->use.waits > 0;
}

static void
on_signature(void *ctx, const struct hsm_outcome *hardware)
{
    struct signing *signing = ctx;
    struct signing_outcome *outcome = &signing->outcome;

    if (hardware->err == ATH_OK)
        on_sent(signing);
    else
        want_record(signing); /* also where it ended in the queue */
    signing->job = NULL;
    outcome->native = hardware->native;
    outcome->tries_left = hardware->tries_left;
    outcome->retry_after_s = hardware->retry_after_s;
    outcome->hardware_us = hardware->hardware_us;
    if (hardware->err != ATH_OK) {
        outcome->err = hardware->err;
        if (signing->cancelled == ATH_OK) /* else it has been said */
            outcome->why = hardware->why;
    } else if (hardware->signature.len == 0 ||
               hardware->signature.len > sizeof(signing->signature)) {
        outcome->err = ATH_ERR_HSM_ERROR;
    } else {
        memcpy(signing->signature, hardware->signature.data, hardware->signature.len);
        outcome->signature = ath_slice_of(signing->signature, hardware->signature.len);
    }
    finish_if_all(signing);
}

static void
on_record(void *ctx, ath_err err)
{
    struct signing *signing = ctx;

    signing->record_waits = false;
    if (err != ATH_OK && signing->outcome.err == ATH_OK)
        signing->outcome.err = err;
    finish_if_all(signing);
}

static void
on_cancel(struct request *request, ath_err err)
{
    struct signing *signing = request->stage;

    signing->cancelled = err;
    if (signing->job != NULL)
        hsm_job_cancel(signing->job, err);
}

static void
on_refused(void *ctx)
{
    finish(ctx);
}

/* It ends later: at the loop's next turn, or when its record is there. */
static void
decide_again(struct signing *signing, bool are_new)
{
    struct why *why = &signing->outcome.why;

    if (signing->outcome.err != ATH_OK || signing->cancelled != ATH_OK)
        return;
    signing->cancelled = policy_again_while_signing(signing->request, are_new, why);
    if (signing->cancelled != ATH_OK && signing->job != NULL)
        hsm_job_cancel(signing->job, signing->cancelled);
}

void
signing_decide_again(struct athd *athd)
{
    struct signing *signing;

    LIST_FOREACH (signing, &athd->signings, entry)
        decide_again(signing, true);
}

void
signing_end_frozen(const struct tenant *tenant)
{
    struct signing *signing;

    LIST_FOREACH (signing, &tenant->athd->signings, entry)
        if (signing->request->tenant == tenant && freeze_has(tenant->freeze, signing->key->name))
            decide_again(signing, false);
}

/* ---- the beginning ---- */

/* A method that does not ask policy about all it is going to sign is our mistake, and signs
 * nothing.
 */
static ath_err
check(const struct request *request, const struct key *key, enum sign_purpose purpose,
      struct ath_slice message, struct why *why)
{
    const struct tenant *tenant = request->tenant;
    ath_err err = purpose_check(purpose, key->role, message);

    if (strcmp(request->allowed_key, key->name) != 0) {
        log_error("event=sign method=%s err=INTERNAL reason=\"policy was not asked about the key\"",
                  request->method->name);
        return ATH_ERR_INTERNAL;
    }
    if (err != ATH_OK)
        return why_set(why, err, "a key of role %s does not sign this", did_role_name(key->role));
    if (freeze_has(tenant->freeze, key->name))
        return why_set(why, ATH_ERR_POLICY_DENIED,
                       "the key %s is frozen; `ath unfreeze %s` ends that", key->name,
                       freeze_remedy(tenant->freeze, key->name));
    if (key->is_deleted)
        return why_set(why, ATH_ERR_KEY_NOT_FOUND, "the key %s has been deleted", key->name);
    if (key_is_expired(key, clock_now()))
        return why_set(why, ATH_ERR_KEY_EXPIRED, "the key %s has expired", key->name);
    if (hsm_pool_find(tenant->athd->hsms, key->hsm) == NULL)
        return why_set(why, ATH_ERR_HSM_NOT_FOUND,
                       "the key %s is in the hsm \"%s\", and none of this name is configured "
                       "(\"name\" in athd.json)",
                       key->name, key->hsm);
    return ATH_OK;
}

/* A record that cannot be made is one that cannot be written. */
static void
append_record(struct signing *signing, struct ath_slice message, struct json_maker *record)
{
    struct audit_log *audit = signing->request->athd->audit;
    const struct key *key = signing->key;
    uint8_t digest[SHA256_LEN];
    ath_err err = sha256(message, digest);

    json_put_string(record, "key", key->name);
    json_put_string(record, "jkt", public_key_jkt(key->public_key));
    json_put_string(record, "purpose", purpose_text(signing->purpose));
    if (err == ATH_OK)
        json_put_base64url(record, "sha256", ath_slice_of(digest, sizeof(digest)));
    else if (record->err == ATH_OK)
        record->err = err;
    signing->record_waits = true;
    audit_append_waiting(audit, record, on_record, signing);
    if (signing->record_is_wanted)
        audit_write(audit);
}

static ath_err
begin(struct signing *signing, enum sign_purpose purpose, struct ath_slice message,
      enum hsm_priority priority, struct json_maker *record)
{
    struct request *request = signing->request;
    struct hsm_job_params params = {.caller_identity = request->caller->lane,
                                    .priority = priority,
                                    .deadline_ms = request->deadline_ms,
                                    .done = on_signature,
                                    .ctx = signing,
                                    .sent = on_sent,
                                    .request = request,
                                    .key_name = signing->key->name};
    struct why *why = &signing->outcome.why;
    ath_err err;

    /* the hardware first: the record is made while it works */
    if ((err = lock_admits(request, why)) != ATH_OK ||
        (err = check(request, signing->key, purpose, message, why)) != ATH_OK ||
        (err = grant_use_begin(request->caller->through, &signing->use, why)) != ATH_OK ||
        (err = hsm_pool_sign(request->athd->hsms, &signing->key->ref, message, &params,
                             &signing->job)) != ATH_OK) {
        grant_use_end(&signing->use, false);
        json_maker_done(record);
        return err;
    }
    append_record(signing, message, record);
    return ATH_OK;
}

static void
fail(void (*done)(void), void *ctx, ath_err err)
{
    ((signing_done_fn *)done)(ctx, &(struct signing_outcome){.err = err});
}

void
signing_start(struct request *request, struct key *key, enum sign_purpose purpose,
              struct ath_slice message, enum hsm_priority priority, struct json_maker *record,
              signing_done_fn *done, void *ctx)
{
    struct signing *signing = calloc(1, sizeof(*signing));

    if (signing == NULL) {
        json_maker_done(record);
        deferred_fail(&request->athd->deferred, fail, (void (*)(void))done, ctx, ATH_ERR_NOMEM);
        return;
    }
    LIST_INSERT_HEAD(&request->athd->signings, signing, entry);
    signing->began_ms = clock_monotonic_ms();
    signing->request = request;
    signing->key = key_ref(key);
    signing->purpose = purpose;
    signing->done = done;
    signing->ctx = ctx;
    signing->cancel_before = request->cancel;
    signing->stage_before = request->stage;
    request->stage = signing;
    request->cancel = on_cancel;
    signing->outcome.err = begin(signing, purpose, message, priority, record);
    if (signing->outcome.err != ATH_OK) {
        request->cancel = NULL; /* nothing to drop any more */
        deferred_add(&request->athd->deferred, &signing->refused, on_refused, signing);
    }
}
