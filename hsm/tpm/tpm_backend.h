/* The TPM as hsm.h wants it: tpm_backend_ops is declared there. */
#ifndef HSM_TPM_TPM_BACKEND_H
#define HSM_TPM_TPM_BACKEND_H

#include "hsm/tpm/tpm_connect.h"
#include "hsm/tpm/tpm_device.h"

/* Opens a TPM that is already connected to. Takes connection's transport and child, on failure too.
 */
ath_err tpm_backend_open_connection(const struct tpm_connection *connection,
                                    struct hsm_fault *fault, struct hsm **ret_hsm) ATH_MUST_USE;

/* Borrowed: for tests and benchmarks that look behind the table. */
struct tpm_device *tpm_backend_device(struct hsm *hsm);

#endif
