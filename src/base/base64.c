#include "base/base64.h"

#include <string.h>

#include "base/base64url.h"

/* The two alphabets differ in their last two characters only (RFC 4648, tables 1 and 2). */
static void
replace(uint8_t *text, size_t len, char plus, char slash, char ret_plus, char ret_slash)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == (uint8_t)plus)
            text[i] = (uint8_t)ret_plus;
        else if (text[i] == (uint8_t)slash)
            text[i] = (uint8_t)ret_slash;
    }
}

void
base64_put(struct ath_buf *text, struct ath_slice bytes)
{
    size_t start = text->len;

    base64url_put(text, bytes);
    if (text->err != ATH_OK)
        return;
    replace(text->data + start, text->len - start, '-', '_', '+', '/');
    for (size_t len = BASE64URL_LEN(bytes.len); len % 4 != 0; len++)
        ath_buf_put_byte(text, '=');
}

static bool
is_foreign(struct ath_slice text)
{
    return text.len != 0 &&
           (memchr(text.data, '-', text.len) != NULL || memchr(text.data, '_', text.len) != NULL);
}

ath_err
base64_decode(struct ath_slice text, struct ath_buf *bytes)
{
    struct ath_buf copy = {.max = text.len + 1};
    size_t padding = 0;
    ath_err err;

    if (text.len % 4 != 0 || is_foreign(text))
        return ATH_ERR_PARSE;
    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=')
        padding++;
    ath_buf_put(&copy, text.data, text.len - padding);
    if ((err = copy.err) != ATH_OK)
        goto out;
    replace(copy.data, copy.len, '+', '/', '-', '_');
    err = base64url_decode(ath_buf_slice(&copy), bytes);
out:
    ath_buf_done(&copy);
    return err;
}

ath_err
base64_decode_exact(struct ath_slice text, uint8_t *ret_bytes, size_t len)
{
    struct ath_buf bytes = {.max = len + 3};
    ath_err err;

    if (text.len != BASE64_LEN(len))
        return ATH_ERR_PARSE;
    if ((err = base64_decode(text, &bytes)) == ATH_OK && bytes.len != len)
        err = ATH_ERR_PARSE;
    if (err == ATH_OK)
        memcpy(ret_bytes, bytes.data, len);
    ath_buf_done(&bytes);
    return err;
}
