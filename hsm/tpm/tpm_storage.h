/* The storage primary: TCG's ECC P-256 SRK template below the owner hierarchy. */
#ifndef HSM_TPM_TPM_STORAGE_H
#define HSM_TPM_TPM_STORAGE_H

#include "hsm/tpm/tpm_device.h"

/* Derives the primary and compares it with what is persistent at TPM_SRK_HANDLE: the same key there
 * is used, any other is left alone. With an owner password the primary cannot be derived; then a
 * key of the right template at that handle is taken on its word. */
ath_err tpm_storage_find(struct tpm_device *device, struct hsm_fault *fault) ATH_MUST_USE;

/* Loads it and pins it until tpm_storage_release; there is room for one more object then. */
ath_err tpm_storage_hold(struct tpm_device *device, struct hsm_fault *fault,
                         TPM2_HANDLE *ret_handle) ATH_MUST_USE;
void tpm_storage_release(struct tpm_device *device);

#endif
