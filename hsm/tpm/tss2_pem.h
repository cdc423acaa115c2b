/*
 * "TSS2 PRIVATE KEY" files (draft-bottomley-tpm2-keys, OID 2.23.133.10.1.3): a key wrapped by one
 * TPM's storage key, in the form tpm2-openssl, ssh-tpm-agent and tpm2-tools read.
 */
#ifndef HSM_TPM_TSS2_PEM_H
#define HSM_TPM_TSS2_PEM_H

#include <tss2/tss2_tpm2_types.h>

#include "base/buf.h"
#include "base/why.h"

struct tss2_key {
    bool empty_auth; /* absent in the file: false */
    uint32_t parent; /* TPM2_RH_OWNER (the ECC SRK template below it) or a persistent handle */
    TPM2B_PUBLIC public;
    TPM2B_PRIVATE private; /* wrapped: no secret outside its TPM */
};

/* Reads one PEM block and nothing else. ATH_ERR_INVALID_PARAMS with the reason in why: not such a
 * file, not DER (a TRUE that is not FF is let pass: tpm2-openssl writes 01), a policy, a key to be
 * imported or unsealed; ATH_ERR_NOMEM. */
ath_err tss2_pem_decode(struct ath_slice text, struct why *why,
                        struct tss2_key *ret_key) ATH_MUST_USE;

/* Appends the file: emptyAuth always said, no description (tpm2-openssl 1.1 refuses it).
 * ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err tss2_pem_encode(const struct tss2_key *key, struct ath_buf *out) ATH_MUST_USE;

#endif
