/* The complete check of a JSON text that goes before cJSON; private to src/base/json*.c. */
#ifndef BASE_JSON_CHECK_H
#define BASE_JSON_CHECK_H

#include "base/json.h"

#define JSON_INTEGER_MAX INT64_C(9007199254740991) /* 2^53-1 */

/* cJSON refuses what is nested deeper than 1,000; our own recursion is kept well below that. */
#define JSON_DEPTH_MAX 256

struct json_fault {
    size_t offset; /* of the byte the sentence is about */
    char text[160];
};

/* What json.h says about json_parse, the overflow of doubles excepted. On ATH_ERR_PARSE and
 * ATH_ERR_LIMIT_EXCEEDED the fault says what is wrong and where. ATH_ERR_NOMEM. */
ath_err json_check(struct ath_slice text, const struct json_limits *limits,
                   struct json_fault *fault) ATH_MUST_USE;

#endif
