#include "hsm/tpm/tpm_name.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#include "crypto/digest.h"

/* nameAlg || H(area) */
static ath_err
name_of_area(TPMI_ALG_HASH algorithm, struct ath_slice bytes, struct tpm_name *ret_name)
{
    struct tpm_name name = {.len = 2};
    ath_err err;

    name.bytes[0] = (uint8_t)(algorithm >> 8);
    name.bytes[1] = (uint8_t)algorithm;
    switch (algorithm) {
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

ath_err
tpm_name_of_public(const TPMT_PUBLIC *public, struct tpm_name *ret_name)
{
    uint8_t area[sizeof(TPMT_PUBLIC)];
    size_t len = 0;

    if (Tss2_MU_TPMT_PUBLIC_Marshal(public, area, sizeof(area), &len) != TSS2_RC_SUCCESS)
        return ATH_ERR_INVALID_PARAMS;
    return name_of_area(public->nameAlg, ath_slice_of(area, len), ret_name);
}

ath_err
tpm_name_of_nv(const TPMS_NV_PUBLIC *public, struct tpm_name *ret_name)
{
    uint8_t area[sizeof(TPMS_NV_PUBLIC)];
    size_t len = 0;

    if (Tss2_MU_TPMS_NV_PUBLIC_Marshal(public, area, sizeof(area), &len) != TSS2_RC_SUCCESS)
        return ATH_ERR_INVALID_PARAMS;
    return name_of_area(public->nameAlg, ath_slice_of(area, len), ret_name);
}

struct tpm_name
tpm_name_of_handle(TPM2_HANDLE handle)
{
    return (struct tpm_name){.len = 4,
                             .bytes = {(uint8_t)(handle >> 24), (uint8_t)(handle >> 16),
                                       (uint8_t)(handle >> 8), (uint8_t)handle}};
}

bool
tpm_name_equal(const struct tpm_name *a, const struct tpm_name *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}
