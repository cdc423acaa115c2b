/* SHA-256 by the TPM, with the ticket that a restricted key wants to see before it signs (TPM 2.0
 * part 1, 11.4.6.3): the TPM gives none for what begins like its own attestations. */
#ifndef HSM_TPM_TPM_HASH_H
#define HSM_TPM_TPM_HASH_H

#include "hsm/tpm/tpm_device.h"

struct tpm_hash {
    TPM2B_DIGEST digest;
    TPMT_TK_HASHCHECK ticket; /* of the owner hierarchy; of the null hierarchy: no ticket */
};

/* TPM2_Hash, or a hash sequence where the message is longer than a TPM takes at once, in the
 * session: what the TPM hashed is what we sent. Does its own mending. */
ath_err tpm_hash_run(struct tpm_device *device, struct ath_slice message, struct hsm_fault *fault,
                     struct tpm_hash *ret_hash) ATH_MUST_USE;

#endif
