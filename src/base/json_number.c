#include "base/json_number.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_check.h"

/* value = digits * 10^exponent, digits having `count` decimal places. */
struct decimal {
    uint64_t digits;
    int count;
    int exponent;
};

/* Reads "d.ddde+xx" without its decimal point, which depends on the locale. */
static struct decimal
decimal_of(double value, int count)
{
    struct decimal decimal = {0, count, 0};
    char text[64];
    const char *c;

    snprintf(text, sizeof(text), "%.*e", count - 1, value);
    for (c = text; *c != 'e' && *c != '\0'; c++)
        if (*c >= '0' && *c <= '9')
            decimal.digits = decimal.digits * 10 + (uint64_t)(*c - '0');
    if (*c == 'e')
        decimal.exponent = (int)strtol(c + 1, NULL, 10) - (count - 1);
    return decimal;
}

static bool
is_exact(struct decimal decimal, double value)
{
    char text[64];
    double again;

    snprintf(text, sizeof(text), "%" PRIu64 "e%d", decimal.digits, decimal.exponent);
    again = strtod(text, NULL);
    return memcmp(&again, &value, sizeof(value)) == 0;
}

/* The fewest digits that read back as value (> 0). The nearest decimal of a length is tried, and
 * the next above: just over a power of two the doubles below lie twice as close as those above, so
 * the nearest can miss where its neighbour hits (2^-44 is 5.684341886080802e-14). */
static struct decimal
shortest(double value)
{
    struct decimal decimal = {0, 0, 0};
    int count;

    for (count = 1; count <= 17; count++) {
        decimal = decimal_of(value, count);
        if (is_exact(decimal, value))
            break;
        decimal.digits++;
        if (is_exact(decimal, value))
            break;
    }
    return decimal;
}

/* ECMA-262 Number::toString, steps 6 to 10, with its names: k digits, value = 0.digits * 10^n. */
static void
put_decimal(struct ath_buf *out, struct decimal decimal)
{
    char digits[32];
    int k = snprintf(digits, sizeof(digits), "%" PRIu64, decimal.digits);
    int n = k + decimal.exponent;

    while (k > 1 && digits[k - 1] == '0')
        digits[--k] = '\0';
    if (k <= n && n <= 21)
        ath_buf_printf(out, "%s%.*s", digits, n - k, "000000000000000000000");
    else if (n > 0 && n <= 21)
        ath_buf_printf(out, "%.*s.%s", n, digits, digits + n);
    else if (n > -6 && n <= 0)
        ath_buf_printf(out, "0.%.*s%s", -n, "000000", digits);
    else if (k == 1)
        ath_buf_printf(out, "%se%+d", digits, n - 1);
    else
        ath_buf_printf(out, "%.1s.%se%+d", digits, digits + 1, n - 1);
}

static void
put_integer(struct ath_buf *out, int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char digits[24];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    ath_buf_put(out, digits + at, sizeof(digits) - at);
}

void
json_number_put(struct ath_buf *out, double value)
{
    double max = (double)JSON_INTEGER_MAX;

    if (value >= -max && value <= max) {
        int64_t whole = (int64_t)value;

        if (!((double)whole < value) && !((double)whole > value)) {
            put_integer(out, whole);
            return;
        }
    }
    if (value < 0)
        ath_buf_put_byte(out, '-');
    put_decimal(out, shortest(value < 0 ? -value : value));
}
