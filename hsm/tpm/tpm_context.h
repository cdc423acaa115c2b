/* One connection to a TPM: the SYS context over our transport, and the commands that need neither
 * session nor authorization. */
#ifndef HSM_TPM_TPM_CONTEXT_H
#define HSM_TPM_TPM_CONTEXT_H

#include <tss2/tss2_sys.h>

#include "hsm/hsm.h"

/* First handles of the ranges we list (TPM 2.0 part 2, 7.2); tss2's own macros shift into the sign.
 */
#define TPM_FIRST_TRANSIENT 0x80000000u
#define TPM_FIRST_LOADED_SESSION 0x02000000u
#define TPM_FIRST_SAVED_SESSION 0x03000000u

struct tpm_context {
    TSS2_SYS_CONTEXT *sys;
    TSS2_TCTI_CONTEXT *transport;
};

/* Takes the transport (freed on failure too). ATH_ERR_NOMEM, ATH_ERR_HSM_ERROR. */
ath_err tpm_context_new(TSS2_TCTI_CONTEXT *transport, struct hsm_fault *fault,
                        struct tpm_context **ret_context) ATH_MUST_USE;
void tpm_context_free(struct tpm_context *context); /* closes the connection; NULL is fine */

/* TPM2_Startup(CLEAR); one that already runs is fine (TPM 2.0 part 3, 9.3). */
ath_err tpm_context_startup(struct tpm_context *context, struct hsm_fault *fault) ATH_MUST_USE;

/* TPM2_Shutdown(CLEAR): without it a TPM that loses power counts a failed try for each dictionary
 * attack protected key it used (TPM 2.0 part 1, 19.8.6). Failures are logged. */
void tpm_context_shutdown(struct tpm_context *context);

/* TPM2_FlushContext; failures are logged at debug: there is nothing anybody could do. */
void tpm_context_flush(struct tpm_context *context, TPM2_HANDLE handle);

/* Flushes every handle of the range that begins with `first` (TPM_FIRST_...); *ret_count how many
 * there were. */
ath_err tpm_context_flush_all(struct tpm_context *context, TPM2_HANDLE first,
                              struct hsm_fault *fault, unsigned *ret_count) ATH_MUST_USE;

/* TPM2_GetCapability. Up to `count` values from `property` on. */
ath_err tpm_context_capability(struct tpm_context *context, TPM2_CAP capability, uint32_t property,
                               uint32_t count, struct hsm_fault *fault,
                               TPMS_CAPABILITY_DATA *ret_data) ATH_MUST_USE;

#endif
