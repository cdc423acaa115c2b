#include "hsm/tpm/tpm_slots.h"

#include <tss2/tss2_mu.h>

#include "base/log.h"
#include "hsm/tpm/tpm_error.h"

void
tpm_slots_init(struct tpm_slots *slots, struct tpm_context *context, unsigned capacity)
{
    *slots = (struct tpm_slots){.context = context, .capacity = capacity};
    if (slots->capacity < 2)
        slots->capacity = 2;
    if (slots->capacity > TPM_SLOTS_MAX)
        slots->capacity = TPM_SLOTS_MAX;
}

static void
forget(struct tpm_slots *slots, struct tpm_object *object)
{
    for (unsigned i = 0; i < slots->count; i++) {
        if (slots->loaded[i] == object) {
            slots->loaded[i] = slots->loaded[--slots->count];
            break;
        }
    }
    object->resident = false;
    object->handle = 0;
}

/* A context that cannot be saved is no loss: the blob is there. */
static void
save(struct tpm_slots *slots, struct tpm_object *object)
{
    uint8_t bytes[sizeof(TPMS_CONTEXT)];
    TPMS_CONTEXT saved = {0};
    size_t len = 0;
    TSS2_RC rc;

    rc = Tss2_Sys_ContextSave(slots->context->sys, object->handle, &saved);
    if (rc == TSS2_RC_SUCCESS)
        rc = Tss2_MU_TPMS_CONTEXT_Marshal(&saved, bytes, sizeof(bytes), &len);
    if (rc != TSS2_RC_SUCCESS) {
        log_debug("event=tpm_context_save rc=0x%x", rc);
        return;
    }
    object->saved.max = sizeof(bytes);
    ath_buf_put(&object->saved, bytes, len);
    if (object->saved.err != ATH_OK)
        ath_buf_done(&object->saved);
}

bool
tpm_slots_evict(struct tpm_slots *slots)
{
    struct tpm_object *oldest = NULL;

    for (unsigned i = 0; i < slots->count; i++) {
        struct tpm_object *object = slots->loaded[i];

        if (!object->pinned && (oldest == NULL || object->used_at < oldest->used_at))
            oldest = object;
    }
    if (oldest == NULL)
        return false;
    if (oldest->saved.len == 0)
        save(slots, oldest);
    tpm_context_flush(slots->context, oldest->handle);
    forget(slots, oldest);
    return true;
}

void
tpm_slots_make_room(struct tpm_slots *slots, unsigned wanted)
{
    while (slots->count > 0 && slots->capacity - slots->count < wanted && tpm_slots_evict(slots))
        ;
}

void
tpm_slots_adopt(struct tpm_slots *slots, struct tpm_object *object, TPM2_HANDLE handle)
{
    tpm_slots_make_room(slots, 1);
    object->resident = true;
    object->handle = handle;
    object->used_at = ++slots->clock;
    slots->loaded[slots->count++] = object;
}

static TSS2_RC
load_saved(struct tpm_slots *slots, const struct tpm_object *object, TPM2_HANDLE *ret_handle)
{
    TPMS_CONTEXT context = {0};
    size_t offset = 0;
    TSS2_RC rc;

    rc = Tss2_MU_TPMS_CONTEXT_Unmarshal(object->saved.data, object->saved.len, &offset, &context);
    if (rc != TSS2_RC_SUCCESS)
        return rc;
    return Tss2_Sys_ContextLoad(slots->context->sys, &context, ret_handle);
}

ath_err
tpm_slots_use(struct tpm_slots *slots, struct tpm_object *object, struct hsm_fault *fault)
{
    TPM2_HANDLE handle = 0;
    TSS2_RC rc;

    if (object->resident) {
        object->used_at = ++slots->clock;
        return ATH_OK;
    }
    if (object->saved.len == 0)
        return ATH_ERR_NOT_FOUND;
    tpm_slots_make_room(slots, 1);
    while ((rc = load_saved(slots, object, &handle)) != TSS2_RC_SUCCESS &&
           tpm_error_of(rc)->action == TPM_ACTION_EVICT && tpm_slots_evict(slots))
        ;
    if (rc == TSS2_RC_SUCCESS) {
        tpm_slots_adopt(slots, object, handle);
        return ATH_OK;
    }
    if (tpm_error_of(rc)->class == TPM_CLASS_GONE || tpm_error_of(rc)->action == TPM_ACTION_EVICT)
        return tpm_error_report(rc, "load a saved key", fault);
    log_debug("event=tpm_context_load rc=0x%x", rc);
    ath_buf_done(&object->saved);
    return ATH_ERR_NOT_FOUND;
}

void
tpm_slots_drop(struct tpm_slots *slots, struct tpm_object *object)
{
    if (object->resident) {
        tpm_context_flush(slots->context, object->handle);
        forget(slots, object);
    }
    ath_buf_done(&object->saved);
}

void
tpm_slots_clear(struct tpm_slots *slots)
{
    while (slots->count > 0)
        tpm_slots_drop(slots, slots->loaded[slots->count - 1]);
}
