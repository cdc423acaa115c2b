/* The two curves we sign on and what goes with them: one table. */
#ifndef HSM_TPM_TPM_CURVE_H
#define HSM_TPM_TPM_CURVE_H

#include <tss2/tss2_tpm2_types.h>

#include "crypto/public_key.h"

struct tpm_curve {
    enum key_algorithm algorithm;
    TPM2_ECC_CURVE curve;
    TPM2_ALG_ID hash;
    uint16_t len; /* of a coordinate, of r, of s, of the digest */
};

/* NULL: not one of ours. */
const struct tpm_curve *tpm_curve_of_algorithm(enum key_algorithm algorithm);
const struct tpm_curve *tpm_curve_of_id(TPM2_ECC_CURVE curve);

#endif
