#include "base/json_scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* cJSON copies a number into 64 bytes before it reads it. */
#define NUMBER_LEN_MAX 63

ath_err
json_scan_fail(struct json_scan *scan, ath_err err, size_t offset, const char *fmt, ...)
{
    va_list args;

    scan->fault->offset = offset;
    va_start(args, fmt);
    if (vsnprintf(scan->fault->text, sizeof(scan->fault->text), fmt, args) < 0)
        scan->fault->text[0] = '\0';
    va_end(args);
    return err;
}

int
json_scan_peek(const struct json_scan *scan)
{
    return scan->at < scan->text.len ? scan->text.data[scan->at] : -1;
}

static struct ath_slice
rest_of(struct ath_slice text, size_t at)
{
    return ath_slice_of(text.data + at, text.len - at);
}

/* ---- strings ---- */

static bool
is_high_surrogate(uint32_t unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool
is_low_surrogate(uint32_t unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* Four hexadecimal digits; false if there are not as many. */
static bool
read_hex4(struct ath_slice text, uint32_t *ret_unit)
{
    uint32_t unit = 0;
    size_t i;

    if (text.len < 4)
        return false;
    for (i = 0; i < 4; i++) {
        uint8_t c = text.data[i];

        if (c >= '0' && c <= '9')
            unit = unit << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            unit = unit << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    *ret_unit = unit;
    return true;
}

/* \uXXXX, or two of them for a character above U+FFFF. Returns the length; 0 for a lone surrogate
 * or missing digits. */
static size_t
read_unicode_escape(struct ath_slice text, uint32_t *ret_code_point)
{
    uint32_t high, low;

    if (text.len < 6 || !read_hex4(rest_of(text, 2), &high) || is_low_surrogate(high))
        return 0;
    *ret_code_point = high;
    if (!is_high_surrogate(high))
        return 6;
    if (text.len < 12 || text.data[6] != '\\' || text.data[7] != 'u' ||
        !read_hex4(rest_of(text, 8), &low) || !is_low_surrogate(low))
        return 0;
    *ret_code_point = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    return 12;
}

/* One character or escape of the inside of a string. Returns its length in the text, 0 if it is
 * neither. */
static size_t
read_character(struct ath_slice text, uint32_t *ret_code_point)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (text.len == 0 || text.data[0] != '\\')
        return utf8_next(text, ret_code_point);
    if (text.len < 2 || text.data[1] == '\0')
        return 0;
    if (text.data[1] == 'u')
        return read_unicode_escape(text, ret_code_point);
    if ((found = strchr(names, text.data[1])) == NULL)
        return 0;
    *ret_code_point = (uint8_t)values[found - names];
    return 2;
}

static ath_err
fail_character(struct json_scan *scan)
{
    if (json_scan_peek(scan) < 0)
        return json_scan_fail(scan, ATH_ERR_PARSE, scan->at, "the text ends inside a string");
    if (json_scan_peek(scan) == '\\')
        return json_scan_fail(scan, ATH_ERR_PARSE, scan->at,
                              "not a JSON escape, or half of a surrogate pair");
    return json_scan_fail(scan, ATH_ERR_PARSE, scan->at, "not valid UTF-8");
}

/* Runs of plain ASCII, which most texts are made of, are skipped without decoding. */
static bool
is_plain(int c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

ath_err
json_scan_string(struct json_scan *scan, struct ath_slice *ret_inner)
{
    size_t begin = ++scan->at;

    for (;;) {
        uint32_t code_point = 0;
        size_t len;

        while (is_plain(json_scan_peek(scan)))
            scan->at++;
        if (json_scan_peek(scan) == '"')
            break;
        if ((len = read_character(rest_of(scan->text, scan->at), &code_point)) == 0)
            return fail_character(scan);
        if (code_point == 0)
            return json_scan_fail(scan, ATH_ERR_PARSE, scan->at, "U+0000 is not accepted");
        if (len == 1)
            return json_scan_fail(scan, ATH_ERR_PARSE, scan->at,
                                  "a control character must be escaped");
        scan->at += len;
    }
    *ret_inner = ath_slice_of(scan->text.data + begin, scan->at - begin);
    scan->at++;
    return ATH_OK;
}

int
json_scan_compare(struct ath_slice a, struct ath_slice b)
{
    while (a.len > 0 && b.len > 0) {
        uint32_t from_a = 0, from_b = 0;
        size_t len_a = read_character(a, &from_a), len_b = read_character(b, &from_b);

        if (from_a != from_b)
            return from_a < from_b ? -1 : 1;
        a = rest_of(a, len_a);
        b = rest_of(b, len_b);
    }
    return (a.len > 0) - (b.len > 0);
}

/* ---- numbers ---- */

static size_t
skip_digits(struct json_scan *scan)
{
    size_t begin = scan->at;

    while (json_scan_peek(scan) >= '0' && json_scan_peek(scan) <= '9')
        scan->at++;
    return scan->at - begin;
}

static bool
is_in_range(struct ath_slice digits)
{
    static const char max[] = "9007199254740991";

    if (digits.len != sizeof(max) - 1)
        return digits.len < sizeof(max) - 1;
    return memcmp(digits.data, max, digits.len) <= 0;
}

/* The fraction and exponent of RFC 8259 section 6. */
static bool
skip_fraction(struct json_scan *scan)
{
    if (json_scan_peek(scan) == '.') {
        scan->at++;
        if (skip_digits(scan) == 0)
            return false;
    }
    if (json_scan_peek(scan) == 'e' || json_scan_peek(scan) == 'E') {
        scan->at++;
        if (json_scan_peek(scan) == '+' || json_scan_peek(scan) == '-')
            scan->at++;
        return skip_digits(scan) > 0;
    }
    return true;
}

static ath_err
check_integer(struct json_scan *scan, size_t begin, struct ath_slice digits)
{
    int next = json_scan_peek(scan);

    if (next == '.' || next == 'e' || next == 'E')
        return json_scan_fail(scan, ATH_ERR_PARSE, begin, "only whole numbers are accepted");
    if (digits.data[0] == '0' && digits.data != scan->text.data + begin)
        return json_scan_fail(scan, ATH_ERR_PARSE, begin, "-0 is not accepted");
    if (!is_in_range(digits))
        return json_scan_fail(scan, ATH_ERR_PARSE, begin, "the number is larger than 2^53-1");
    return ATH_OK;
}

ath_err
json_scan_number(struct json_scan *scan)
{
    size_t begin = scan->at, digits_begin;
    struct ath_slice digits;

    if (json_scan_peek(scan) == '-')
        scan->at++;
    digits_begin = scan->at;
    digits.len = skip_digits(scan);
    digits.data = scan->text.data + digits_begin;
    if (digits.len == 0 || (digits.len > 1 && digits.data[0] == '0'))
        return json_scan_fail(scan, ATH_ERR_PARSE, begin, "not a JSON number");
    if (scan->limits->numbers == JSON_INTEGERS)
        return check_integer(scan, begin, digits);
    if (!skip_fraction(scan))
        return json_scan_fail(scan, ATH_ERR_PARSE, begin, "not a JSON number");
    if (scan->at - begin > NUMBER_LEN_MAX)
        return json_scan_fail(scan, ATH_ERR_LIMIT_EXCEEDED, begin,
                              "a number may have at most %d characters", NUMBER_LEN_MAX);
    return ATH_OK;
}
