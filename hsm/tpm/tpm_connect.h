/* From a URI to a transport: "swtpm:", "tpm:device=PATH", "tpm:tcti=CONF". */
#ifndef HSM_TPM_TPM_CONNECT_H
#define HSM_TPM_TPM_CONNECT_H

#include <tss2/tss2_tcti.h>

#include "hsm/hsm.h"
#include "hsm/tpm/swtpm.h"

struct tpm_connection {
    TSS2_TCTI_CONTEXT *transport;
    struct swtpm *swtpm; /* our child, to be stopped when the transport is closed; or NULL */
    bool software;
    bool exclusive; /* no resource manager in between */
};

/* ATH_ERR_INVALID_PARAMS: not such a URI; ATH_ERR_HSM_UNAVAILABLE: nothing there. The caller takes
 * the transport and the child. */
ath_err tpm_connect(const struct hsm_options *options, struct hsm_fault *fault,
                    struct tpm_connection *ret_connection) ATH_MUST_USE;

#endif
