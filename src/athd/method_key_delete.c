/* key.delete: on record first, then gone from the token, then from the disk. */
#include <stdlib.h>

#include "athd/audit_record.h"
#include "athd/dispatch.h"
#include "athd/key_event.h"
#include "athd/method_support.h"
#include "athd/service_store.h"

struct deletion {
    struct request *request;
    struct key *key;         /* counted */
    struct hsm_job *hsm_job; /* while the token works */
};

static void
deletion_fail_data(struct deletion *deletion, ath_err err, const struct why *why,
                   struct json *taken_data)
{
    struct request *request = deletion->request;

    key_free(deletion->key);
    free(deletion);
    request_fail_data(request, err, why, taken_data);
}

/* Its deletion is on record, and it is still there. */
static void
record_survival(const struct deletion *deletion, ath_err err)
{
    const struct key *key = deletion->key;
    struct json_maker record;

    audit_record_begin(&record, "key_not_deleted", deletion->request);
    json_put_string(&record, "key", key->name);
    json_put_string(&record, "jkt", public_key_jkt(key->public_key));
    json_put_string(&record, "hsm", key->hsm);
    json_put_string(&record, "reason", ath_err_reason(err));
    audit_record_note(deletion->request->athd, &record);
}

static void
deletion_fail(struct deletion *deletion, ath_err err, const struct why *why)
{
    deletion_fail_data(deletion, err, why, NULL);
}

static void
put_deletion_note(struct json_maker *result, const struct tenant *tenant, const struct key *key)
{
    const char *service = service_store_name_of_key(tenant->services, key->name);
    struct ath_buf note = {.max = 512};

    if (key->is_token)
        ath_buf_put_string(&note, "the key was destroyed in the token");
    else
        ath_buf_put_string(&note, "athd's only copy of the key's file is gone; an earlier copy of "
                                  "that file would still work in this TPM");
    if (service != NULL)
        ath_buf_printf(&note, "; the service \"%s\" serves nobody until it has another key",
                       service);
    json_put_string(result, "note", ath_buf_text(&note));
    ath_buf_done(&note);
}

static void
on_removed(void *ctx, ath_err err, const struct why *why)
{
    struct deletion *deletion = ctx;
    struct request *request = deletion->request;
    struct json_maker result;

    if (err != ATH_OK) {
        deletion_fail(deletion, err, why);
        return;
    }
    consent_end_windows_of_key(request->athd->consent, request->tenant->uid, deletion->key->name);
    key_event_publish(request->tenant, "deleted", deletion->key);
    json_object_begin(&result);
    put_deletion_note(&result, request->tenant, deletion->key);
    key_free(deletion->key);
    free(deletion);
    request_finish_maker(request, &result);
}

static void
remove_file(struct deletion *deletion)
{
    struct tenant *tenant = deletion->request->tenant;
    ath_err err = ATH_OK;

    /* two deletions at once: the second finds nothing */
    if (key_store_find(tenant->keys, deletion->key->name) != deletion->key)
        err = ATH_ERR_KEY_NOT_FOUND;
    if (err == ATH_OK)
        err = key_store_remove(tenant->keys, deletion->key, on_removed, deletion);
    if (err != ATH_OK)
        deletion_fail(deletion, err, NULL);
    else
        hsm_pool_key_forget(tenant->athd->hsms, &deletion->key->ref);
}

/* The file goes only after the token said that the key is gone. One that another program has
 * destroyed already is gone, too. */
static void
on_destroyed(void *ctx, const struct hsm_outcome *outcome)
{
    struct deletion *deletion = ctx;

    deletion->request->cancel = NULL;
    if (outcome->err == ATH_OK || outcome->err == ATH_ERR_KEY_NOT_FOUND) {
        remove_file(deletion);
    } else {
        record_survival(deletion, outcome->err);
        deletion_fail_data(
            deletion, outcome->err, &outcome->why,
            method_hardware(outcome->native, outcome->tries_left, outcome->retry_after_s));
    }
}

static void
cancel_destruction(struct request *request, ath_err err)
{
    struct deletion *deletion = request->stage;

    hsm_job_cancel(deletion->hsm_job, err);
}

static void
destroy_in_token(struct deletion *deletion)
{
    struct request *request = deletion->request;
    struct hsm_job_params params = {.caller_identity = request->caller->lane,
                                    .priority = HSM_PRIORITY_NORMAL,
                                    .deadline_ms = request->deadline_ms,
                                    .done = on_destroyed,
                                    .ctx = deletion,
                                    .request = request,
                                    .key_name = deletion->key->name};
    ath_err err =
        hsm_pool_key_delete(request->athd->hsms, &deletion->key->ref, &params, &deletion->hsm_job);

    if (err != ATH_OK) {
        record_survival(deletion, err);
        deletion_fail(deletion, err, NULL);
        return;
    }
    request->stage = deletion;
    request->cancel = cancel_destruction;
}

static void
on_deletion_recorded(void *ctx, ath_err err)
{
    struct deletion *deletion = ctx;

    if (err != ATH_OK)
        deletion_fail(deletion, err, NULL);
    else if (deletion->key->is_token)
        destroy_in_token(deletion);
    else
        remove_file(deletion);
}

void
method_key_delete(struct request *request)
{
    struct key *key = method_named_key(request);
    struct deletion *deletion;

    if (key == NULL)
        return;
    if ((deletion = calloc(1, sizeof(*deletion))) == NULL) {
        request_fail(request, ATH_ERR_NOMEM, NULL);
        return;
    }
    *deletion = (struct deletion){.request = request, .key = key_ref(key)};
    key_event_record(request, "key_deleted", key, on_deletion_recorded, deletion);
}
