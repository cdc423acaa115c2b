#include "base/base64url.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The other way round; WRONG is no character of the alphabet. */
#define WRONG 0x80
#define WRONG_16                                                                                   \
    WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG,     \
        WRONG, WRONG, WRONG
/* clang-format off */
static const uint8_t values[256] = {
    WRONG_16, WRONG_16,
    WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG,
    WRONG, WRONG, WRONG, WRONG, WRONG,    62, WRONG, WRONG,
       52,    53,    54,    55,    56,    57,    58,    59,
       60,    61, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG,
    WRONG,     0,     1,     2,     3,     4,     5,     6,
        7,     8,     9,    10,    11,    12,    13,    14,
       15,    16,    17,    18,    19,    20,    21,    22,
       23,    24,    25, WRONG, WRONG, WRONG, WRONG,    63,
    WRONG,    26,    27,    28,    29,    30,    31,    32,
       33,    34,    35,    36,    37,    38,    39,    40,
       41,    42,    43,    44,    45,    46,    47,    48,
       49,    50,    51, WRONG, WRONG, WRONG, WRONG, WRONG,
    WRONG_16, WRONG_16, WRONG_16, WRONG_16, WRONG_16, WRONG_16, WRONG_16, WRONG_16,
};
/* clang-format on */

static void
encode(struct ath_slice bytes, uint8_t *out)
{
    const uint8_t *in = bytes.data;
    size_t left = bytes.len;

    for (; left >= 3; left -= 3, in += 3, out += 4) {
        uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

        out[0] = (uint8_t)alphabet[bits >> 18];
        out[1] = (uint8_t)alphabet[bits >> 12 & 0x3F];
        out[2] = (uint8_t)alphabet[bits >> 6 & 0x3F];
        out[3] = (uint8_t)alphabet[bits & 0x3F];
    }
    if (left == 0)
        return;
    out[0] = (uint8_t)alphabet[in[0] >> 2];
    out[1] = (uint8_t)alphabet[(in[0] & 3) << 4 | (left == 2 ? in[1] >> 4 : 0)];
    if (left == 2)
        out[2] = (uint8_t)alphabet[(in[1] & 15) << 2];
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
    const uint8_t *in = text.data;
    size_t left = text.len;
    uint8_t all = 0;

    if (left % 4 == 1)
        return false;
    for (; left >= 4; left -= 4, in += 4, out += 3) {
        uint8_t a = values[in[0]], b = values[in[1]], c = values[in[2]], d = values[in[3]];

        all |= a | b | c | d;
        out[0] = (uint8_t)(a << 2 | b >> 4);
        out[1] = (uint8_t)(b << 4 | c >> 2);
        out[2] = (uint8_t)(c << 6 | d);
    }
    if (left > 0) { /* two or three characters; the bits that are left over are zero */
        uint8_t a = values[in[0]], b = values[in[1]], c = left == 3 ? values[in[2]] : 0;

        all |= a | b | c;
        out[0] = (uint8_t)(a << 2 | b >> 4);
        if (left == 3)
            out[1] = (uint8_t)(b << 4 | c >> 2);
        if ((left == 3 ? c & 3 : b & 15) != 0)
            return false;
    }
    return (all & WRONG) == 0;
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
        if (values[text.data[i]] == WRONG)
            return false;
    return true;
}
