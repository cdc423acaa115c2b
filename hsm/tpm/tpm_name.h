/* Names of TPM entities, computed here from their public areas: a Name the TPM tells us proves
 * nothing (TPM 2.0 part 1, 16). */
#ifndef HSM_TPM_TPM_NAME_H
#define HSM_TPM_TPM_NAME_H

#include <tss2/tss2_tpm2_types.h>

#include "base/buf.h"

#define TPM_NAME_MAX 50 /* nameAlg and a SHA-384 digest */

struct tpm_name {
    uint8_t bytes[TPM_NAME_MAX];
    size_t len;
};

/* nameAlg || H(public). ATH_ERR_UNSUPPORTED_ALGORITHM for a nameAlg that is neither SHA-256 nor
 * SHA-384, ATH_ERR_INVALID_PARAMS for a public area that cannot be marshalled, ATH_ERR_CRYPTO. */
ath_err tpm_name_of_public(const TPMT_PUBLIC *public, struct tpm_name *ret_name) ATH_MUST_USE;

/* The same of an NV index. */
ath_err tpm_name_of_nv(const TPMS_NV_PUBLIC *public, struct tpm_name *ret_name) ATH_MUST_USE;
/* Of a hierarchy, which is its handle. */
struct tpm_name tpm_name_of_handle(TPM2_HANDLE handle);

bool tpm_name_equal(const struct tpm_name *a, const struct tpm_name *b);

#endif
