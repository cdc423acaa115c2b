#include "hsm/tpm/tpm_device.h"

#include <stdlib.h>

#include "base/log.h"
#include "hsm/tpm/tpm_error.h"
#include "hsm/tpm/tpm_storage.h"
#include "hsm/tpm/tpm_transport.h"

#define MAX_EVICTIONS 16u
#define MAX_HMAC_FAILURES 2u /* in the life of this process; then it fails closed */

/* What has been tried for one step. */
struct attempts {
    unsigned evictions;
    bool new_session;
    bool reload;
};

static ath_err
count_slots(struct tpm_device *device, struct hsm_fault *fault, unsigned *ret_count)
{
    TPMS_CAPABILITY_DATA data = {0};
    ath_err err;

    err = tpm_context_capability(device->context, TPM2_CAP_TPM_PROPERTIES,
                                 TPM2_PT_HR_TRANSIENT_AVAIL, 1, fault, &data);
    if (err == ATH_OK)
        *ret_count =
            data.data.tpmProperties.count == 1 ? data.data.tpmProperties.tpmProperty[0].value : 0;
    return err;
}

/* Programs that use a TPM without resource manager leave objects behind when they end. */
static ath_err
start(struct tpm_device *device, struct hsm_fault *fault)
{
    unsigned flushed, slots;
    ath_err err;

    if ((err = tpm_context_startup(device->context, fault)) != ATH_OK)
        return err;
    err = tpm_context_flush_all(device->context, TPM_FIRST_TRANSIENT, fault, &flushed);
    if (err != ATH_OK)
        return err;
    if (flushed > 0)
        log_info("event=tpm_leftovers flushed=%u", flushed);
    if ((err = count_slots(device, fault, &slots)) != ATH_OK)
        return err;
    tpm_slots_init(&device->slots, device->context, slots);
    if ((err = tpm_storage_find(device, fault)) != ATH_OK)
        return err;
    return tpm_device_prepare(device, fault);
}

ath_err
tpm_device_open(TSS2_TCTI_CONTEXT *transport, bool exclusive, struct hsm_fault *fault,
                struct tpm_device **ret_device)
{
    struct tpm_device *device = calloc(1, sizeof(*device));
    ath_err err;

    if (device == NULL) {
        tpm_transport_free(transport);
        return ATH_ERR_NOMEM;
    }
    device->exclusive = exclusive;
    if ((err = tpm_context_new(transport, fault, &device->context)) != ATH_OK)
        goto out;
    if ((err = tpm_session_new(&device->session)) != ATH_OK)
        goto out;
    if ((err = start(device, fault)) != ATH_OK) {
        if (err == ATH_ERR_HSM_UNAVAILABLE)
            device->gone = true;
        goto out;
    }
    *ret_device = device;
    device = NULL;
out:
    tpm_device_close(device);
    return err;
}

void
tpm_device_close(struct tpm_device *device)
{
    if (device == NULL)
        return;
    if (device->context != NULL && !device->gone) {
        tpm_slots_clear(&device->slots);
        if (device->session != NULL)
            tpm_session_end(device->session, device->context);
        if (device->exclusive)
            tpm_context_shutdown(device->context);
    }
    ath_buf_done(&device->storage.object.saved);
    tpm_session_free(device->session);
    tpm_context_free(device->context);
    free(device);
}

/* Sessions that others left, saved ones too: only where nobody else can be using them. */
static void
flush_sessions(struct tpm_device *device)
{
    struct hsm_fault fault = {0};
    unsigned loaded = 0, saved = 0;

    if (!device->exclusive ||
        tpm_context_flush_all(device->context, TPM_FIRST_LOADED_SESSION, &fault, &loaded) !=
            ATH_OK ||
        tpm_context_flush_all(device->context, TPM_FIRST_SAVED_SESSION, &fault, &saved) != ATH_OK)
        return;
    log_info("event=tpm_leftovers sessions=%u", loaded + saved);
}

static ath_err
start_session(struct tpm_device *device, struct hsm_fault *fault)
{
    TPM2_HANDLE handle;
    ath_err err;

    if ((err = tpm_storage_hold(device, fault, &handle)) != ATH_OK)
        return err;
    err = tpm_session_start(device->session, device->context, handle,
                            &device->storage.public.publicArea, fault);
    tpm_storage_release(device);
    return err;
}

ath_err
tpm_device_prepare(struct tpm_device *device, struct hsm_fault *fault)
{
    ath_err err;

    if (device->gone)
        return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE, "the TPM is gone");
    if (tpm_session_is_usable(device->session))
        return ATH_OK;
    err = start_session(device, fault);
    if (err == ATH_ERR_HSM_BUSY && tpm_error_action(fault) == TPM_ACTION_NEW_SESSION) {
        flush_sessions(device);
        *fault = (struct hsm_fault){0};
        err = start_session(device, fault);
    }
    return err;
}

static bool
mend_session(struct tpm_device *device, struct attempts *tried, const struct hsm_fault *fault)
{
    if (tpm_error_of(fault->native)->class == TPM_CLASS_INTEGRITY) {
        device->hmac_failures++;
        log_error("event=tpm_response_changed count=%u", device->hmac_failures);
    }
    tpm_session_end(device->session, device->context);
    if (tried->new_session || device->hmac_failures >= MAX_HMAC_FAILURES)
        return false;
    tried->new_session = true;
    return true;
}

static bool
mend_reload(struct tpm_device *device, struct attempts *tried)
{
    if (tried->reload)
        return false;
    tried->reload = true;
    log_info("event=tpm_reload");
    tpm_slots_clear(&device->slots);
    tpm_session_end(device->session, device->context);
    return true;
}

/* Is it worth another try? */
static bool
mend(struct tpm_device *device, struct attempts *tried, ath_err err, const struct hsm_fault *fault)
{
    if (device->gone || err == ATH_ERR_INVALID_PARAMS)
        return false;
    if (device->tries_pin && err == ATH_ERR_PIN_INCORRECT)
        return false;
    switch (tpm_error_action(fault)) {
    case TPM_ACTION_EVICT:
        return tried->evictions++ < MAX_EVICTIONS && tpm_slots_evict(&device->slots);
    case TPM_ACTION_NEW_SESSION:
        return mend_session(device, tried, fault);
    case TPM_ACTION_RELOAD:
        return mend_reload(device, tried);
    case TPM_ACTION_RECONNECT:
        device->gone = true;
        return false;
    case TPM_ACTION_RESEND: /* the transport has done all it could */
    case TPM_ACTION_REPORT:
        return false;
    }
    return false;
}

static ath_err
run(struct tpm_device *device, tpm_step *step, void *arg, ath_err err, struct hsm_fault *fault)
{
    struct attempts tried = {0};

    while (err != ATH_OK && mend(device, &tried, err, fault)) {
        *fault = (struct hsm_fault){0};
        if ((err = tpm_device_prepare(device, fault)) == ATH_OK)
            err = step(device, arg, fault);
    }
    if (err != ATH_OK && device->hmac_failures >= MAX_HMAC_FAILURES) {
        device->gone = true;
        return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE,
                       "answers of the TPM were changed on their way, again");
    }
    return err;
}

ath_err
tpm_device_run(struct tpm_device *device, tpm_step *step, void *arg, struct hsm_fault *fault)
{
    ath_err err = tpm_device_prepare(device, fault);

    if (err == ATH_OK)
        err = step(device, arg, fault);
    return run(device, step, arg, err, fault);
}

ath_err
tpm_device_run_again(struct tpm_device *device, tpm_step *step, void *arg, ath_err err,
                     struct hsm_fault *fault)
{
    return run(device, step, arg, err, fault);
}
