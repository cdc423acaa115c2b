#include "hsm/tpm/tpm_name.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#include "crypto/digest.h"

ath_err
tpm_name_of_public(const TPMT_PUBLIC *public, struct tpm_name *ret_name)
{
    uint8_t area[sizeof(TPMT_PUBLIC)];
    struct tpm_name name = {.len = 2};
    struct ath_slice bytes;
    size_t len = 0;
    ath_err err;

    if (Tss2_MU_TPMT_PUBLIC_Marshal(public, area, sizeof(area), &len) != TSS2_RC_SUCCESS)
        return ATH_ERR_INVALID_PARAMS;
    bytes = ath_slice_of(area, len);
    name.bytes[0] = (uint8_t)(public->nameAlg >> 8);
    name.bytes[1] = (uint8_t) public->nameAlg;
    switch (public->nameAlg) {
    case TPM2_ALG_SHA256:
        name.len += SHA256_LEN;
        err = sha256(bytes, name.bytes + 2);
        break;
    case TPM2_ALG_SHA384:
        name.len += TPM2_SHA384_DIGEST_SIZE;
        err = sha384(bytes, name.bytes + 2);
        break;
    default:
        err = ATH_ERR_UNSUPPORTED_ALGORITHM;
        break;
    }
    if (err == ATH_OK)
        *ret_name = name;
    return err;
}

bool
tpm_name_equal(const struct tpm_name *a, const struct tpm_name *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}
