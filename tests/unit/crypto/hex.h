/* Vectors are published in hexadecimal. */
#ifndef TESTS_UNIT_CRYPTO_HEX_H
#define TESTS_UNIT_CRYPTO_HEX_H

#include <stdio.h>

#include "tests/support/support.h"

/* Writes strlen(text) / 2 bytes; returns how many. */
static inline size_t
hex_decode(const char *text, uint8_t *ret_bytes)
{
    size_t len = strlen(text) / 2;

    for (size_t i = 0; i < len; i++) {
        unsigned value = 0;

        assert_int_equal(sscanf(text + 2 * i, "%2x", &value), 1);
        ret_bytes[i] = (uint8_t)value;
    }
    return len;
}

static inline void
assert_hex(struct ath_slice bytes, const char *text)
{
    uint8_t expected[512];

    assert_true(strlen(text) / 2 <= sizeof(expected));
    assert_int_equal(bytes.len, hex_decode(text, expected));
    assert_memory_equal(bytes.data, expected, bytes.len);
}

#endif
