/* What json_parse accepts has a canonical form that is accepted again, is its own canonical form,
 * and says the same as the compact and the pretty form. */
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
must(bool holds)
{
    if (!holds)
        abort();
}

/* Writes json by `write`, reads that back and compares it. */
static void
check_form(const struct json *json, const struct json_limits *limits,
           void (*write)(const struct json *, struct ath_buf *))
{
    struct json_limits roomy = *limits;
    struct ath_buf text = {.max = SIZE_MAX};
    struct json *again = NULL;

    roomy.max_len = SIZE_MAX;
    write(json, &text);
    must(text.err == ATH_OK);
    must(json_parse(ath_buf_slice(&text), &roomy, NULL, &again) == ATH_OK);
    must(json_equal(json, again));
    json_free(again);
    ath_buf_done(&text);
}

static void
check(struct ath_slice text, enum json_numbers numbers)
{
    struct json_limits limits = {1 << 16, 16, 1024, numbers};
    struct why why = {""};
    struct json *json = NULL, *config = NULL;
    ath_err err = json_parse(text, &limits, &why, &json);

    must(err == ATH_OK || err == ATH_ERR_PARSE || err == ATH_ERR_LIMIT_EXCEEDED);
    must((err == ATH_OK) == (why.text[0] == '\0'));
    if (err == ATH_OK) {
        check_form(json, &limits, json_canonical);
        check_form(json, &limits, json_write);
        check_form(json, &limits, json_write_pretty);
    }
    /* comments are the only difference */
    must(err != ATH_OK || json_parse_config(text, &limits, NULL, &config) == ATH_OK);
    must(err != ATH_OK || json_equal(json, config));
    json_free(json);
    json_free(config);
    config = NULL;
    if (err != ATH_OK && json_parse_config(text, &limits, NULL, &config) == ATH_OK)
        json_free(config);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    check(ath_slice_of(data, len), JSON_INTEGERS);
    check(ath_slice_of(data, len), JSON_DOUBLES);
    return 0;
}
