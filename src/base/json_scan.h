/* Strings and numbers of a JSON text; private to src/base/json*.c. */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/json_check.h"

/* A text that is being read; the fault is set once, by the first thing that is wrong. */
struct json_scan {
    struct ath_slice text;
    size_t at;
    const struct json_limits *limits;
    struct json_fault *fault;
};

/* Sets the fault at offset and returns err. */
ath_err json_scan_fail(struct json_scan *scan, ath_err err, size_t offset, const char *fmt, ...)
    ATH_PRINTF(4, 5);

/* The byte at the cursor, -1 at the end of the text. */
int json_scan_peek(const struct json_scan *scan);

/* The cursor stands on the opening quote; *ret_inner is what lies between the quotes, escapes and
 * all. ATH_ERR_PARSE. */
ath_err json_scan_string(struct json_scan *scan, struct ath_slice *ret_inner) ATH_MUST_USE;

/* The cursor stands on '-' or a digit. ATH_ERR_PARSE, ATH_ERR_LIMIT_EXCEEDED. */
ath_err json_scan_number(struct json_scan *scan) ATH_MUST_USE;

/* Compares two insides of strings that json_scan_string has checked, as they are after their
 * escapes are decoded: <0, 0, >0 by code points. */
int json_scan_compare(struct ath_slice a, struct ath_slice b);

#endif
