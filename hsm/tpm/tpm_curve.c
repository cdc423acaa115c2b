#include "hsm/tpm/tpm_curve.h"

static const struct tpm_curve curves[] = {
    {KEY_ES256, TPM2_ECC_NIST_P256, TPM2_ALG_SHA256, 32},
    {KEY_ES384, TPM2_ECC_NIST_P384, TPM2_ALG_SHA384, 48},
};

#define CURVE_COUNT (sizeof(curves) / sizeof(curves[0]))

const struct tpm_curve *
tpm_curve_of_algorithm(enum key_algorithm algorithm)
{
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        if (curves[i].algorithm == algorithm)
            return &curves[i];
    }
    return NULL;
}

const struct tpm_curve *
tpm_curve_of_id(TPM2_ECC_CURVE curve)
{
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        if (curves[i].curve == curve)
            return &curves[i];
    }
    return NULL;
}
