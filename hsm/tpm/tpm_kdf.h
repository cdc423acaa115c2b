/* The key derivations of TPM 2.0 part 1, 11.4.10, with SHA-256 and 256 bits: one block each. */
#ifndef HSM_TPM_TPM_KDF_H
#define HSM_TPM_TPM_KDF_H

#include <tss2/tss2_tpm2_types.h>

#include "base/secret.h"
#include "crypto/digest.h"

#define TPM_KDF_LEN 32

/* KDFa: HMAC(key, 1 || label || 0 || context_u || context_v || 256). Contexts of at most 64 bytes.
 * ATH_ERR_CRYPTO, ATH_ERR_NOMEM. */
ath_err tpm_kdfa(struct ath_slice key, const char *label, struct ath_slice context_u,
                 struct ath_slice context_v, uint8_t ret_bits[TPM_KDF_LEN]) ATH_MUST_USE;

/* A salt for the owner of `public` (P-256) alone, as part 1, C.6.1 makes it: ephemeral key, ECDH,
 * KDFe("SECRET"). *ret_encrypted goes to the TPM. ATH_ERR_INVALID_PUBLIC_KEY: not a P-256 point. */
ath_err tpm_salt_new(const TPMT_PUBLIC *public, TPM2B_ENCRYPTED_SECRET *ret_encrypted,
                     uint8_t ret_salt[TPM_KDF_LEN]) ATH_MUST_USE;

#endif
