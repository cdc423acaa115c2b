#include "base/base64url.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int
value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-')
        return 62;
    return c == '_' ? 63 : -1;
}

static void
encode(struct ath_slice bytes, uint8_t *out)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t i;

    for (i = 0; i < bytes.len; i++) {
        bits = bits << 8 | bytes.data[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            *out++ = (uint8_t)alphabet[bits >> held & 0x3F];
        }
    }
    if (held > 0)
        *out = (uint8_t)alphabet[bits << (6 - held) & 0x3F];
}

void
base64url_put(struct ath_buf *text, struct ath_slice bytes)
{
    uint8_t *room;

    if (bytes.len > SIZE_MAX / 8) {
        text->err = text->err == ATH_OK ? ATH_ERR_LIMIT_EXCEEDED : text->err;
        return;
    }
    if ((room = ath_buf_reserve(text, BASE64URL_LEN(bytes.len))) == NULL)
        return;
    encode(bytes, room);
    text->len += BASE64URL_LEN(bytes.len);
}

void
base64url_encode(struct ath_slice bytes, char *ret_text)
{
    encode(bytes, (uint8_t *)ret_text);
    ret_text[BASE64URL_LEN(bytes.len)] = '\0';
}

/* Writes text.len * 3 / 4 bytes. False where the text is not the one form of any bytes. */
static bool
decode(struct ath_slice text, uint8_t *out)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t i;

    if (text.len % 4 == 1)
        return false;
    for (i = 0; i < text.len; i++) {
        int value = value_of(text.data[i]);

        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *out++ = (uint8_t)(bits >> held);
        }
    }
    return (bits & ((1u << held) - 1)) == 0;
}

static size_t
decoded_len(size_t text_len)
{
    return text_len / 4 * 3 + text_len % 4 * 3 / 4;
}

ath_err
base64url_decode(struct ath_slice text, struct ath_buf *bytes)
{
    size_t len = decoded_len(text.len);
    uint8_t *room = ath_buf_reserve(bytes, len);

    if (room == NULL)
        return bytes->err;
    if (!decode(text, room)) {
        explicit_bzero(room, len);
        return ATH_ERR_PARSE;
    }
    bytes->len += len;
    return ATH_OK;
}

ath_err
base64url_decode_exact(struct ath_slice text, uint8_t *ret_bytes, size_t len)
{
    if (len > SIZE_MAX / 8 || text.len != BASE64URL_LEN(len))
        return ATH_ERR_PARSE;
    return decode(text, ret_bytes) ? ATH_OK : ATH_ERR_PARSE;
}

bool
base64url_is_alphabet(struct ath_slice text, size_t min, size_t max)
{
    size_t i;

    if (text.len < min || text.len > max)
        return false;
    for (i = 0; i < text.len; i++)
        if (value_of(text.data[i]) < 0)
            return false;
    return true;
}
