/* The reader of TSS2 PRIVATE KEY files: no crash, and what it accepts it also writes and reads
 * back. */
#include <stdlib.h>
#include <string.h>

#include "hsm/tpm/tpm_key.h"
#include "hsm/tpm/tss2_pem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
must(bool holds)
{
    if (!holds)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct tss2_key key, again;
    struct hsm_key_facts facts;
    enum key_algorithm algorithm;
    struct ath_buf text = {0};
    struct why why = {""};
    ath_err err = tss2_pem_decode(ath_slice_of(data, len), &why, &key);

    must(err == ATH_OK || err == ATH_ERR_INVALID_PARAMS);
    must(err == ATH_OK || why.text[0] != '\0');
    if (err != ATH_OK)
        return 0;
    must(tss2_pem_encode(&key, &text) == ATH_OK);
    must(tss2_pem_decode(ath_buf_slice(&text), NULL, &again) == ATH_OK);
    must(again.empty_auth == key.empty_auth && again.parent == key.parent);
    must(again.private.size == key.private.size &&
         memcmp(again.private.buffer, key.private.buffer, key.private.size) == 0);
    if (tpm_key_judge(&key.public.publicArea, &why, &algorithm, &facts) == ATH_OK)
        must(facts.fixed_tpm && facts.generated_inside);
    ath_buf_done(&text);
    return 0;
}
