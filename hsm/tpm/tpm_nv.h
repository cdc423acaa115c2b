/*
 * NV counters: the commands, each a part of a step. Whoever increments must know whether a command
 * that failed has been carried out: nothing here tries twice.
 *
 * `index` is known by its public area as it must be; its Name, computed from that, goes into each
 * command's HMAC, so that a TPM in which the index is another one refuses.
 */
#ifndef HSM_TPM_TPM_NV_H
#define HSM_TPM_TPM_NV_H

#include "hsm/tpm/tpm_key.h"

#define TPM_NV_COUNTER_LEN 8u

struct tpm_nv {
    TPM2_HANDLE index;
    struct tpm_name name;
};

/* Makes the index, with an empty authValue. ATH_ERR_EXISTS: there is one at that place. */
ath_err tpm_nv_define(struct tpm_device *device, const TPMS_NV_PUBLIC *public,
                      struct hsm_fault *fault) ATH_MUST_USE;

/* The Name of what is there, computed from the public area that the TPM tells (outside the
 * session). ATH_ERR_NOT_FOUND: nothing is there, or nothing that we could have made. */
ath_err tpm_nv_find(struct tpm_device *device, TPM2_HANDLE index, struct hsm_fault *fault,
                    struct tpm_name *ret_name) ATH_MUST_USE;

ath_err tpm_nv_increment(struct tpm_device *device, const struct tpm_nv *nv,
                         struct hsm_fault *fault) ATH_MUST_USE;
ath_err tpm_nv_read(struct tpm_device *device, const struct tpm_nv *nv, struct hsm_fault *fault,
                    uint64_t *ret_value) ATH_MUST_USE;

/* What `key`, a restricted one, signs of the counter's value, not yet looked at. */
ath_err tpm_nv_certify(struct tpm_device *device, struct hsm_key *key, const struct tpm_nv *nv,
                       struct ath_slice nonce, struct hsm_fault *fault, TPM2B_ATTEST *ret_attest,
                       uint8_t ret_signature[SIGNATURE_MAX_LEN]) ATH_MUST_USE;

#endif
