/* The reader of a counter's blob and of what a TPM certifies of it: the first byte says which. What
 * is accepted is canonical, and an attest is never accepted for another nonce or index. */
#include <stdlib.h>
#include <string.h>

#include "hsm/tpm/tpm_counter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
must(bool holds)
{
    if (!holds)
        abort();
}

static void
try_blob(struct ath_slice blob)
{
    struct ath_buf again = {0};
    struct why why = {""};
    TPMS_NV_PUBLIC public;
    ath_err err = tpm_counter_decode(blob, &why, &public);

    must(err == ATH_OK || (err == ATH_ERR_INVALID_PARAMS && why.text[0] != '\0'));
    if (err != ATH_OK)
        return;
    must(public.nvIndex - TPM_COUNTER_FIRST < TPM_COUNTER_PLACES);
    tpm_counter_encode(&public, &again);
    must(ath_slice_equal(ath_buf_slice(&again), blob));
    ath_buf_done(&again);
}

static void
try_attest(struct ath_slice attest)
{
    static const uint8_t nonce[32] = "what the certificate answers to.";
    static const uint8_t other[32] = "what another certificate is for.";
    struct tpm_name name = {.len = 34, .bytes = {0x00, 0x0b}}, wrong = {.len = 34};
    struct why why = {""};
    uint64_t value;
    ath_err err = tpm_counter_judge(attest, &name, ath_slice_of(nonce, 32), &why, &value);

    must(err == ATH_OK || (err == ATH_ERR_HSM_ERROR && why.text[0] != '\0'));
    if (err != ATH_OK)
        return;
    must(tpm_counter_judge(attest, &name, ath_slice_of(other, 32), &why, &value) != ATH_OK);
    must(tpm_counter_judge(attest, &wrong, ath_slice_of(nonce, 32), &why, &value) != ATH_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    if (data[0] == 'b')
        try_blob(ath_slice_of(data + 1, len - 1));
    else
        try_attest(ath_slice_of(data + 1, len - 1));
    return 0;
}
