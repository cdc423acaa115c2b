#include "hsm/tpm/tpm_nv.h"

#include <string.h>

#include "hsm/tpm/tpm_error.h"
#include "hsm/tpm/tpm_sign.h"

static const char doing_define[] = "make a counter", doing_find[] = "look for the counter",
                  doing_step[] = "step the counter", doing_read[] = "read the counter",
                  doing_certify[] = "certify the counter";

ath_err
tpm_nv_define(struct tpm_device *device, const TPMS_NV_PUBLIC *public, struct hsm_fault *fault)
{
    const struct tpm_name owner = tpm_name_of_handle(TPM2_RH_OWNER);
    const struct tpm_call call = {
        .doing = doing_define, .code = TPM2_CC_NV_DefineSpace, .names = &owner, .name_count = 1};
    const TPM2B_NV_PUBLIC area = {.nvPublic = *public};
    const TPM2B_AUTH auth = {0};
    TSS2_SYS_CONTEXT *sys = device->context->sys;
    ath_err err;
    TSS2_RC rc;

    rc = Tss2_Sys_NV_DefineSpace_Prepare(sys, TPM2_RH_OWNER, &auth, &area);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_define, fault);
    err = tpm_session_run(device->session, device->context, &call, fault);
    if (err == ATH_OK)
        return tpm_error_report(Tss2_Sys_NV_DefineSpace_Complete(sys), doing_define, fault);
    if (tpm_error_of(fault->native)->class == TPM_CLASS_EXISTS) {
        *fault = (struct hsm_fault){0};
        return ATH_ERR_EXISTS;
    }
    if (tpm_error_of(fault->native)->class == TPM_CLASS_FULL)
        return why_set(&fault->why, err,
                       "the TPM's non-volatile memory has no room for a counter; remove an index "
                       "that nobody needs (tpm2_getcap handles-nv-index, tpm2_nvundefine)");
    return err;
}

ath_err
tpm_nv_find(struct tpm_device *device, TPM2_HANDLE index, struct hsm_fault *fault,
            struct tpm_name *ret_name)
{
    TPM2B_NV_PUBLIC area = {0};
    TSS2_RC rc = Tss2_Sys_NV_ReadPublic(device->context->sys, index, NULL, &area, NULL, NULL);

    if (rc == TSS2_RC_SUCCESS)
        return tpm_name_of_nv(&area.nvPublic, ret_name) == ATH_OK ? ATH_OK : ATH_ERR_NOT_FOUND;
    if (tpm_error_is_of_handle(rc))
        return ATH_ERR_NOT_FOUND;
    return tpm_error_report(rc, doing_find, fault);
}

ath_err
tpm_nv_increment(struct tpm_device *device, const struct tpm_nv *nv, struct hsm_fault *fault)
{
    const struct tpm_name names[2] = {nv->name, nv->name};
    const struct tpm_call call = {
        .doing = doing_step, .code = TPM2_CC_NV_Increment, .names = names, .name_count = 2};
    TSS2_SYS_CONTEXT *sys = device->context->sys;
    ath_err err;
    TSS2_RC rc;

    rc = Tss2_Sys_NV_Increment_Prepare(sys, nv->index, nv->index);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_step, fault);
    if ((err = tpm_session_run(device->session, device->context, &call, fault)) != ATH_OK)
        return err;
    return tpm_error_report(Tss2_Sys_NV_Increment_Complete(sys), doing_step, fault);
}

ath_err
tpm_nv_read(struct tpm_device *device, const struct tpm_nv *nv, struct hsm_fault *fault,
            uint64_t *ret_value)
{
    const struct tpm_name names[2] = {nv->name, nv->name};
    const struct tpm_call call = {
        .doing = doing_read, .code = TPM2_CC_NV_Read, .names = names, .name_count = 2};
    TSS2_SYS_CONTEXT *sys = device->context->sys;
    TPM2B_MAX_NV_BUFFER value = {.size = sizeof(value.buffer)};
    struct byte_reader reader;
    ath_err err;
    TSS2_RC rc;

    rc = Tss2_Sys_NV_Read_Prepare(sys, nv->index, nv->index, TPM_NV_COUNTER_LEN, 0);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_read, fault);
    if ((err = tpm_session_run(device->session, device->context, &call, fault)) != ATH_OK)
        return err;
    rc = Tss2_Sys_NV_Read_Complete(sys, &value);
    if (rc == TSS2_RC_SUCCESS && value.size != TPM_NV_COUNTER_LEN)
        rc = TSS2_TCTI_RC_MALFORMED_RESPONSE;
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_read, fault);
    reader = byte_reader_of(ath_slice_of(value.buffer, value.size));
    *ret_value = byte_reader_u64(&reader);
    return ATH_OK;
}

ath_err
tpm_nv_certify(struct tpm_device *device, struct hsm_key *key, const struct tpm_nv *nv,
               struct ath_slice nonce, struct hsm_fault *fault, TPM2B_ATTEST *ret_attest,
               uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    const struct tpm_name names[3] = {key->name, nv->name, nv->name};
    const struct tpm_call call = {.doing = doing_certify,
                                  .code = TPM2_CC_NV_Certify,
                                  .names = names,
                                  .name_count = 3,
                                  .passwords = 1};
    TSS2_SYS_CONTEXT *sys = device->context->sys;
    TPM2B_DATA data = {.size = (UINT16)nonce.len};
    TPMT_SIGNATURE signature = {0};
    ath_err err;
    TSS2_RC rc;

    if (nonce.len > sizeof(data.buffer))
        return ATH_ERR_LIMIT_EXCEEDED;
    memcpy(data.buffer, nonce.data, nonce.len);
    if ((err = tpm_key_use(device, key, fault)) != ATH_OK)
        return err;
    rc = Tss2_Sys_NV_Certify_Prepare(sys, key->object.handle, nv->index, nv->index, &data,
                                     &key->scheme, TPM_NV_COUNTER_LEN, 0);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_certify, fault);
    if ((err = tpm_session_run(device->session, device->context, &call, fault)) != ATH_OK)
        return err;
    *ret_attest = (TPM2B_ATTEST){.size = sizeof(ret_attest->attestationData)};
    rc = Tss2_Sys_NV_Certify_Complete(sys, ret_attest, &signature);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_certify, fault);
    return tpm_sign_convert(key, &signature, fault, ret_signature);
}
