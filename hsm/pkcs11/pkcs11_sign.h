/* Signatures and random bytes. */
#ifndef HSM_PKCS11_PKCS11_SIGN_H
#define HSM_PKCS11_PKCS11_SIGN_H

#include "hsm/pkcs11/pkcs11_key.h"

/* Signs the message in the worker's session, in JOSE form; several workers may do so at once. `pin`
 * is used by keys with always_authenticate only, once. ATH_ERR_PIN_REQUIRED: nobody is logged in,
 * or such a key needs its PIN; ATH_ERR_PIN_INCORRECT, ATH_ERR_PIN_LOCKED. */
ath_err pkcs11_sign(struct pkcs11_token *token, unsigned worker, struct hsm_key *key,
                    struct ath_slice message, struct ath_slice pin, struct hsm_fault *fault,
                    uint8_t ret_signature[SIGNATURE_MAX_LEN]) ATH_MUST_USE;

ath_err pkcs11_random(struct pkcs11_token *token, uint8_t *ret_bytes, size_t len,
                      struct hsm_fault *fault) ATH_MUST_USE;

#endif
