#include "hsm/tpm/tpm_context.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hsm/tpm/tpm_error.h"
#include "hsm/tpm/tpm_transport.h"

ath_err
tpm_context_new(TSS2_TCTI_CONTEXT *transport, struct hsm_fault *fault,
                struct tpm_context **ret_context)
{
    TSS2_ABI_VERSION version = TSS2_ABI_VERSION_CURRENT;
    size_t size = Tss2_Sys_GetContextSize(0);
    struct tpm_context *context;
    ath_err err = ATH_ERR_NOMEM;
    TSS2_RC rc;

    if ((context = calloc(1, sizeof(*context))) == NULL) {
        tpm_transport_free(transport);
        return err;
    }
    context->transport = transport;
    if ((context->sys = calloc(1, size)) == NULL)
        goto fail;
    if ((rc = Tss2_Sys_Initialize(context->sys, size, transport, &version)) != TSS2_RC_SUCCESS) {
        err = tpm_error_report(rc, "set the TPM library up", fault);
        goto fail;
    }
    *ret_context = context;
    return ATH_OK;
fail:
    free(context->sys);
    context->sys = NULL;
    tpm_context_free(context);
    return err;
}

void
tpm_context_free(struct tpm_context *context)
{
    if (context == NULL)
        return;
    if (context->sys != NULL) {
        Tss2_Sys_Finalize(context->sys);
        explicit_bzero(context->sys, Tss2_Sys_GetContextSize(0));
        free(context->sys);
    }
    tpm_transport_free(context->transport);
    free(context);
}

ath_err
tpm_context_startup(struct tpm_context *context, struct hsm_fault *fault)
{
    TSS2_RC rc = Tss2_Sys_Startup(context->sys, TPM2_SU_CLEAR);

    if (rc == TPM2_RC_INITIALIZE)
        rc = TSS2_RC_SUCCESS;
    return tpm_error_report(rc, "start the TPM", fault);
}

void
tpm_context_shutdown(struct tpm_context *context)
{
    TSS2_RC rc = Tss2_Sys_Shutdown(context->sys, NULL, TPM2_SU_CLEAR, NULL);

    if (rc != TSS2_RC_SUCCESS)
        log_warning("event=tpm_shutdown rc=0x%x", rc);
}

void
tpm_context_flush(struct tpm_context *context, TPM2_HANDLE handle)
{
    TSS2_RC rc = Tss2_Sys_FlushContext(context->sys, handle);

    if (rc != TSS2_RC_SUCCESS)
        log_debug("event=tpm_flush handle=0x%x rc=0x%x", handle, rc);
}

ath_err
tpm_context_capability(struct tpm_context *context, TPM2_CAP capability, uint32_t property,
                       uint32_t count, struct hsm_fault *fault, TPMS_CAPABILITY_DATA *ret_data)
{
    TPMI_YES_NO more;
    TSS2_RC rc = Tss2_Sys_GetCapability(context->sys, NULL, capability, property, count, &more,
                                        ret_data, NULL);

    if (rc == TSS2_RC_SUCCESS && ret_data->capability != capability)
        rc = TSS2_TCTI_RC_MALFORMED_RESPONSE;
    return tpm_error_report(rc, "ask the TPM what it is", fault);
}

/* A saved session's handle reads 02.. in the list and is flushed as 02.. too (part 3, 28.4). */
ath_err
tpm_context_flush_all(struct tpm_context *context, TPM2_HANDLE first, struct hsm_fault *fault,
                      unsigned *ret_count)
{
    TPMS_CAPABILITY_DATA data = {0};
    const TPML_HANDLE *list = &data.data.handles;
    ath_err err;

    *ret_count = 0;
    err = tpm_context_capability(context, TPM2_CAP_HANDLES, first, TPM2_MAX_CAP_HANDLES, fault,
                                 &data);
    if (err != ATH_OK)
        return err;
    for (uint32_t i = 0; i < list->count && i < TPM2_MAX_CAP_HANDLES; i++) {
        tpm_context_flush(context, list->handle[i]);
        (*ret_count)++;
    }
    return ATH_OK;
}
