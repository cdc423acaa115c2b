/* A text that is accepted is the one that its bytes are written as, and every byte string comes
 * back. */
#include <stdlib.h>

#include "base/base64url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
must(bool holds)
{
    if (!holds)
        abort();
}

static void
check_text(struct ath_slice text)
{
    struct ath_buf bytes = {.max = SIZE_MAX}, again = {.max = SIZE_MAX};
    ath_err err = base64url_decode(text, &bytes);

    must(err == ATH_OK || err == ATH_ERR_PARSE);
    if (err == ATH_OK) {
        base64url_put(&again, ath_buf_slice(&bytes));
        must(ath_slice_equal(ath_buf_slice(&again), text));
        must(base64url_is_alphabet(text, text.len, text.len));
    }
    ath_buf_done(&bytes);
    ath_buf_done(&again);
}

static void
check_bytes(struct ath_slice bytes)
{
    struct ath_buf text = {.max = SIZE_MAX}, again = {.max = SIZE_MAX};

    base64url_put(&text, bytes);
    must(text.len == BASE64URL_LEN(bytes.len));
    must(base64url_decode(ath_buf_slice(&text), &again) == ATH_OK);
    must(ath_slice_equal(ath_buf_slice(&again), bytes));
    ath_buf_done(&text);
    ath_buf_done(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    check_text(ath_slice_of(data, len));
    check_bytes(ath_slice_of(data, len));
    return 0;
}
