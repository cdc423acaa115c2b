#include "hsm/tpm/tpm_storage.h"

#include <string.h>

#include "base/log.h"
#include "hsm/tpm/tpm_error.h"

/* TCG TPM v2.0 Provisioning Guidance, 7.5.1; `unique` empty, as tpm2-openssl and
 * draft-bottomley-tpm2-keys have it. */
static const TPM2B_PUBLIC srk_template = {
    .publicArea =
        {
            .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
            .parameters.eccDetail = {.symmetric = {.algorithm = TPM2_ALG_AES,
                                                   .keyBits.aes = 128,
                                                   .mode.aes = TPM2_ALG_CFB},
                                     .scheme.scheme = TPM2_ALG_NULL,
                                     .curveID = TPM2_ECC_NIST_P256,
                                     .kdf.scheme = TPM2_ALG_NULL},
        },
};

static TSS2_RC
create_primary(struct tpm_device *device, TPM2_HANDLE *ret_handle, TPM2B_PUBLIC *ret_public)
{
    const TSS2L_SYS_AUTH_COMMAND auth = {.count = 1, .auths[0].sessionHandle = TPM2_RH_PW};
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    const TPM2B_DATA outside = {0};
    TSS2_RC rc;

    do {
        *ret_public = (TPM2B_PUBLIC){0};
        rc = Tss2_Sys_CreatePrimary(device->context->sys, TPM2_RH_OWNER, &auth, &sensitive,
                                    &srk_template, &outside, &pcrs, ret_handle, ret_public, NULL,
                                    NULL, NULL, NULL, NULL);
    } while (rc != TSS2_RC_SUCCESS && tpm_error_of(rc)->action == TPM_ACTION_EVICT &&
             tpm_slots_evict(&device->slots));
    return rc;
}

static bool
has_srk_template(const TPMT_PUBLIC *public)
{
    const TPMT_PUBLIC *want = &srk_template.publicArea;
    const TPMS_ECC_PARMS *ecc = &public->parameters.eccDetail,
                         *want_ecc = &want->parameters.eccDetail;

    return public->type == want->type && public->nameAlg == want->nameAlg &&
           public->objectAttributes == want->objectAttributes && public->authPolicy.size == 0 &&
           ecc->symmetric.algorithm == want_ecc->symmetric.algorithm &&
           ecc->symmetric.keyBits.aes == want_ecc->symmetric.keyBits.aes &&
           ecc->symmetric.mode.aes == want_ecc->symmetric.mode.aes &&
           ecc->scheme.scheme == want_ecc->scheme.scheme && ecc->curveID == want_ecc->curveID &&
           ecc->kdf.scheme == want_ecc->kdf.scheme;
}

/* The public area at TPM_SRK_HANDLE, if something of the template is there. */
static bool
read_persistent(struct tpm_device *device, TPM2B_PUBLIC *ret_public, struct tpm_name *ret_name)
{
    TPM2B_PUBLIC public = {0};
    TSS2_RC rc;

    tpm_slots_make_room(&device->slots, 1); /* a persistent object needs a place while it is used */
    rc = Tss2_Sys_ReadPublic(device->context->sys, TPM_SRK_HANDLE, NULL, &public, NULL, NULL, NULL);
    if (rc != TSS2_RC_SUCCESS)
        return false;
    if (!has_srk_template(&public.publicArea) ||
        tpm_name_of_public(&public.publicArea, ret_name) != ATH_OK) {
        log_info("event=tpm_srk handle=0x%x use=no reason=\"another kind of key\"", TPM_SRK_HANDLE);
        return false;
    }
    *ret_public = public;
    return true;
}

static ath_err
use_persistent_unseen(struct tpm_device *device, TSS2_RC rc, struct hsm_fault *fault)
{
    struct tpm_storage *storage = &device->storage;

    ath_err err = tpm_error_report(rc, "derive the TPM's storage key", fault);

    if (tpm_error_of(rc)->class != TPM_CLASS_AUTH)
        return err;
    if (!read_persistent(device, &storage->public, &storage->name))
        return why_set(&fault->why, ATH_ERR_HSM_ERROR,
                       "the TPM's owner hierarchy has a password, and there is no ECC storage key "
                       "(SRK) at 0x%x; put one there with tpm2_createprimary and tpm2_evictcontrol",
                       TPM_SRK_HANDLE);
    *fault = (struct hsm_fault){0};
    log_info("event=tpm_srk handle=0x%x use=yes reason=\"the owner hierarchy has a password\"",
             TPM_SRK_HANDLE);
    storage->persistent = TPM_SRK_HANDLE;
    return ATH_OK;
}

ath_err
tpm_storage_find(struct tpm_device *device, struct hsm_fault *fault)
{
    struct tpm_storage *storage = &device->storage;
    struct tpm_name persistent_name;
    TPM2B_PUBLIC persistent;
    TPM2_HANDLE handle;
    ath_err err;
    TSS2_RC rc;

    if ((rc = create_primary(device, &handle, &storage->public)) != TSS2_RC_SUCCESS)
        return use_persistent_unseen(device, rc, fault);
    tpm_slots_adopt(&device->slots, &storage->object, handle);
    if (!has_srk_template(&storage->public.publicArea))
        return tpm_error_report(TSS2_TCTI_RC_MALFORMED_RESPONSE, "derive the TPM's storage key",
                                fault);
    if ((err = tpm_name_of_public(&storage->public.publicArea, &storage->name)) != ATH_OK)
        return err;
    if (read_persistent(device, &persistent, &persistent_name) &&
        tpm_name_equal(&persistent_name, &storage->name)) {
        log_debug("event=tpm_srk handle=0x%x use=yes", TPM_SRK_HANDLE);
        storage->persistent = TPM_SRK_HANDLE;
        tpm_slots_drop(&device->slots, &storage->object);
    }
    return ATH_OK;
}

/* Again from the seed. Another key than at the start is another TPM, or a cleared one. */
static ath_err
derive_again(struct tpm_device *device, struct hsm_fault *fault)
{
    struct tpm_storage *storage = &device->storage;
    struct tpm_name name;
    TPM2B_PUBLIC public;
    TPM2_HANDLE handle;
    ath_err err;
    TSS2_RC rc;

    tpm_slots_make_room(&device->slots, 1);
    if ((rc = create_primary(device, &handle, &public)) != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, "derive the TPM's storage key", fault);
    tpm_slots_adopt(&device->slots, &storage->object, handle);
    if ((err = tpm_name_of_public(&public.publicArea, &name)) != ATH_OK)
        return err;
    if (!tpm_name_equal(&name, &storage->name)) {
        device->gone = true;
        return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE, "the TPM's storage key has changed");
    }
    return ATH_OK;
}

ath_err
tpm_storage_hold(struct tpm_device *device, struct hsm_fault *fault, TPM2_HANDLE *ret_handle)
{
    struct tpm_storage *storage = &device->storage;
    ath_err err = ATH_OK;

    if (storage->persistent != 0) {
        tpm_slots_make_room(&device->slots, 2);
        *ret_handle = storage->persistent;
        return ATH_OK;
    }
    err = tpm_slots_use(&device->slots, &storage->object, fault);
    if (err == ATH_ERR_NOT_FOUND)
        err = derive_again(device, fault);
    if (err != ATH_OK)
        return err;
    storage->object.pinned = true;
    tpm_slots_make_room(&device->slots, 1);
    *ret_handle = storage->object.handle;
    return ATH_OK;
}

void
tpm_storage_release(struct tpm_device *device)
{
    device->storage.object.pinned = false;
}
