/* What a TPM says it is. Nothing here is authenticated: for people, not for decisions. */
#ifndef HSM_TPM_TPM_INFO_H
#define HSM_TPM_TPM_INFO_H

#include "hsm/tpm/tpm_context.h"

/* Manufacturer, vendor string, firmware version, curves, and whether an EK certificate is in NV. */
ath_err tpm_info_read(struct tpm_context *context, struct hsm_fault *fault,
                      struct hsm_info *ret_info) ATH_MUST_USE;

#endif
