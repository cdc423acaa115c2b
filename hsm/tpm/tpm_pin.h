/* PINs of keys: a key's authValue is its PIN, byte for byte, as tpm2-openssl, tpm2-tools and
 * ssh-tpm-agent have it. */
#ifndef HSM_TPM_TPM_PIN_H
#define HSM_TPM_TPM_PIN_H

#include "hsm/tpm/tpm_key.h"

/*
 * Tries the PIN, once, and keeps it (in locked memory, until tpm_pin_drop or tpm_key_close) if it
 * is right. TPM2_PolicySecret with a trial session asks for the authorization of the key and does
 * nothing with it: no signature is made that nobody asked for. ATH_ERR_PIN_INCORRECT (a PIN that
 * is longer than the key's can be is not tried), ATH_ERR_PIN_LOCKED (dictionary attack protected
 * keys: the TPM counts), and what the TPM says.
 */
ath_err tpm_pin_try(struct tpm_device *device, struct hsm_key *key, struct ath_slice pin,
                    struct hsm_fault *fault) ATH_MUST_USE;
void tpm_pin_drop(struct hsm_key *key); /* wipes it; nothing to wipe is fine */

/* Is all here that the key's use takes? ATH_ERR_PIN_REQUIRED: it has a PIN, and that is not. */
ath_err tpm_pin_check(const struct hsm_key *key, struct hsm_fault *fault) ATH_MUST_USE;

#endif
