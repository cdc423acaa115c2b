/* TPM2_Sign in two halves, so that the host can do something useful while the TPM works. */
#ifndef HSM_TPM_TPM_SIGN_H
#define HSM_TPM_TPM_SIGN_H

#include "hsm/tpm/tpm_hash.h"
#include "hsm/tpm/tpm_key.h"

struct tpm_signing {
    struct hsm_key *key; /* borrowed until finished */
    struct tpm_hash hash;
    bool sent; /* the TPM has the command */
    TPMT_SIGNATURE result;
};

/* Hashes the message (on the host; for a restricted key in the TPM) and sends the command; what
 * fails here is mended in _finish. ATH_ERR_PIN_REQUIRED for a key whose PIN is not here;
 * ATH_ERR_INVALID_PARAMS for a restricted key and a message that begins with TPM_GENERATED_VALUE.
 * Nothing else may be sent to the TPM before tpm_sign_finish. */
ath_err tpm_sign_begin(struct tpm_device *device, struct hsm_key *key, struct ath_slice message,
                       struct hsm_fault *fault, struct tpm_signing *signing) ATH_MUST_USE;

/* r || s of what the TPM has signed with the key. Native TSS2_TCTI_RC_MALFORMED_RESPONSE for
 * another kind of signature or longer numbers. */
ath_err tpm_sign_convert(const struct hsm_key *key, const TPMT_SIGNATURE *signature,
                         struct hsm_fault *fault,
                         uint8_t ret_signature[SIGNATURE_MAX_LEN]) ATH_MUST_USE;

/* r || s (RFC 7518, 3.4). Not yet checked with the public key. */
ath_err tpm_sign_finish(struct tpm_device *device, struct tpm_signing *signing,
                        struct hsm_fault *fault,
                        uint8_t ret_signature[SIGNATURE_MAX_LEN]) ATH_MUST_USE;

/* len bytes from the TPM's generator, in the session: without it a short answer would be completed
 * by what the buffer held before. */
ath_err tpm_random(struct tpm_device *device, uint8_t *ret_bytes, size_t len,
                   struct hsm_fault *fault) ATH_MUST_USE;

#endif
