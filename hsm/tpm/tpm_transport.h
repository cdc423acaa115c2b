/*
 * The way to the TPM: a TCTI of our own, over a file descriptor (swtpm's socketpair, /dev/tpmrm0)
 * or over any other TCTI. SYS believes what a TCTI gives it, so what a TPM may not do ends here: a
 * response that is shorter or longer than its header says, a success without sessions to a command
 * with sessions, an error with content (TPM 2.0 part 1, 18; part 3, 5.2). RETRY, YIELDED, TESTING
 * and NV_RATE are answered by sending the same bytes again, with growing pauses: the TPM has not
 * started the command, so no nonce has rolled.
 */
#ifndef HSM_TPM_TPM_TRANSPORT_H
#define HSM_TPM_TPM_TRANSPORT_H

#include <tss2/tss2_tcti.h>

#include <stdbool.h>

#include "ath/err.h"

/* Owns fd, closed by tpm_transport_free; on failure the caller still owns it. ATH_ERR_NOMEM. */
ath_err tpm_transport_over_fd(int fd, TSS2_TCTI_CONTEXT **ret_transport) ATH_MUST_USE;

/* Owns lower, ended by Tss2_TctiLdr_Finalize if `loaded`, else by its finalize function and free().
 * On failure the caller still owns it. ATH_ERR_NOMEM. */
ath_err tpm_transport_over_tcti(TSS2_TCTI_CONTEXT *lower, bool loaded,
                                TSS2_TCTI_CONTEXT **ret_transport) ATH_MUST_USE;

void tpm_transport_free(TSS2_TCTI_CONTEXT *transport); /* NULL is fine */

#endif
