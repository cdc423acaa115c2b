#include "base/utf8.h"

#include <string.h>

/* RFC 3629 section 4: the first byte fixes the length and the range of the second. */
static size_t
sequence_length(uint8_t first, uint8_t *ret_low, uint8_t *ret_high)
{
    *ret_low = 0x80;
    *ret_high = 0xBF;
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF) {
        if (first == 0xE0)
            *ret_low = 0xA0;
        if (first == 0xED)
            *ret_high = 0x9F;
        return 3;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        if (first == 0xF0)
            *ret_low = 0x90;
        if (first == 0xF4)
            *ret_high = 0x8F;
        return 4;
    }
    return 0;
}

size_t
utf8_next(struct ath_slice text, uint32_t *ret_code_point)
{
    static const uint8_t first_mask[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint8_t low, high;
    uint32_t code_point;
    size_t len, i;

    if (text.len == 0)
        return 0;
    len = sequence_length(text.data[0], &low, &high);
    if (len == 0 || len > text.len)
        return 0;
    code_point = text.data[0] & first_mask[len];
    for (i = 1; i < len; i++) {
        if (text.data[i] < low || text.data[i] > high)
            return 0;
        code_point = code_point << 6 | (text.data[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    if (ret_code_point != NULL)
        *ret_code_point = code_point;
    return len;
}

/* How many bytes of ASCII, which is most of all text, stand at the start; eight are looked at at a
 * time. */
static size_t
ascii_len(struct ath_slice text)
{
    uint64_t word;
    size_t len = 0;

    for (; text.len - len >= sizeof(word); len += sizeof(word)) {
        memcpy(&word, text.data + len, sizeof(word));
        if ((word & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    while (len < text.len && text.data[len] < 0x80)
        len++;
    return len;
}

bool
utf8_is_valid(struct ath_slice text)
{
    while (text.len > 0) {
        size_t len = ascii_len(text);

        if (len == 0 && (len = utf8_next(text, NULL)) == 0)
            return false;
        text = ath_slice_of(text.data + len, text.len - len);
    }
    return true;
}

void
utf8_put(struct ath_buf *buf, uint32_t code_point)
{
    if (code_point < 0x80) {
        ath_buf_put_byte(buf, (uint8_t)code_point);
    } else if (code_point < 0x800) {
        ath_buf_put_byte(buf, (uint8_t)(0xC0 | code_point >> 6));
        ath_buf_put_byte(buf, (uint8_t)(0x80 | (code_point & 0x3F)));
    } else if (code_point < 0x10000) {
        ath_buf_put_byte(buf, (uint8_t)(0xE0 | code_point >> 12));
        ath_buf_put_byte(buf, (uint8_t)(0x80 | (code_point >> 6 & 0x3F)));
        ath_buf_put_byte(buf, (uint8_t)(0x80 | (code_point & 0x3F)));
    } else {
        ath_buf_put_byte(buf, (uint8_t)(0xF0 | code_point >> 18));
        ath_buf_put_byte(buf, (uint8_t)(0x80 | (code_point >> 12 & 0x3F)));
        ath_buf_put_byte(buf, (uint8_t)(0x80 | (code_point >> 6 & 0x3F)));
        ath_buf_put_byte(buf, (uint8_t)(0x80 | (code_point & 0x3F)));
    }
}

bool
utf8_is_harmful(uint32_t code_point)
{
    return code_point < 0x20 || (code_point >= 0x7F && code_point <= 0x9F) ||
           code_point == 0x061C || (code_point >= 0x200B && code_point <= 0x200F) ||
           (code_point >= 0x2028 && code_point <= 0x202E) ||
           (code_point >= 0x2060 && code_point <= 0x206F) || code_point == 0xFEFF ||
           (code_point >= 0xFFF9 && code_point <= 0xFFFB);
}

void
utf8_make_harmless(char *text)
{
    struct ath_slice rest = ath_slice_of_string(text);
    size_t out = 0;

    while (rest.len > 0) {
        uint32_t code_point = 0;
        size_t len = utf8_next(rest, &code_point);

        if (len == 0 || utf8_is_harmful(code_point)) {
            text[out++] = '?';
            len = len == 0 ? 1 : len;
        } else {
            memmove(text + out, rest.data, len);
            out += len;
        }
        rest = ath_slice_of(rest.data + len, rest.len - len);
    }
    text[out] = '\0';
}
