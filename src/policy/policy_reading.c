#include "policy/policy_reading.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy_line.h"

ath_err
policy_refuse(const struct policy_reading *reading, const struct json *node, const char *fmt, ...)
{
    char what[192];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    return why_set(reading->why, ATH_ERR_INVALID_PARAMS, "%s:%u: %s", reading->path,
                   policy_line_of(reading->text, reading->tree, node), what);
}

/* ---- lists: one value stands for a list of one ---- */

static const struct json *
first_of(const struct json *value)
{
    return json_is_array(value) ? json_first(value) : value;
}

static const struct json *
next_of(const struct json *value, const struct json *entry)
{
    return json_is_array(value) ? json_next(entry) : NULL;
}

static ath_err
count_entries(const struct policy_reading *reading, const struct json *value, size_t *ret_count)
{
    size_t count = json_is_array(value) ? json_count(value) : 1;

    if (count == 0)
        return policy_refuse(reading, value,
                             "\"%s\" is an empty list: nothing can fit it; leave it out, or "
                             "the rule",
                             json_name(value));
    if (count > POLICY_LIST_MAX)
        return policy_refuse(reading, value, "\"%s\" has more than %u entries", json_name(value),
                             POLICY_LIST_MAX);
    *ret_count = count;
    return ATH_OK;
}

ath_err
policy_list_texts(const struct policy_reading *reading, const struct json *value,
                  struct policy_texts *texts)
{
    const struct json *entry;
    size_t count = 0;
    ath_err err;

    if ((err = count_entries(reading, value, &count)) != ATH_OK)
        return err;
    if ((texts->items = calloc(count, sizeof(*texts->items))) == NULL)
        return ATH_ERR_NOMEM;
    for (entry = first_of(value); entry != NULL; entry = next_of(value, entry)) {
        const char *text = json_string(entry);

        if (text == NULL || *text == '\0' || strlen(text) > POLICY_TEXT_MAX)
            return policy_refuse(reading, entry,
                                 "\"%s\" must be a string of 1 to %u bytes, or a list of them",
                                 json_name(value), POLICY_TEXT_MAX);
        texts->items[texts->count++] = text;
    }
    return ATH_OK;
}

ath_err
policy_list_add(struct policy_numbers *numbers, uint64_t number)
{
    uint64_t *grown = realloc(numbers->items, (numbers->count + 1) * sizeof(*grown));

    if (grown == NULL)
        return ATH_ERR_NOMEM;
    numbers->items = grown;
    numbers->items[numbers->count++] = number;
    return ATH_OK;
}

ath_err
policy_list_numbers(const struct policy_reading *reading, const struct json *value, int64_t max,
                    struct policy_numbers *numbers)
{
    const struct json *entry;
    size_t count = 0;
    int64_t number;
    ath_err err;

    if ((err = count_entries(reading, value, &count)) != ATH_OK)
        return err;
    for (entry = first_of(value); entry != NULL && err == ATH_OK; entry = next_of(value, entry)) {
        if (!json_int(entry, &number) || number < 0 || number >= max)
            return policy_refuse(reading, entry,
                                 "\"%s\" must be a number from 0 to %" PRId64 ", or a list of them",
                                 json_name(value), max - 1);
        err = policy_list_add(numbers, (uint64_t)number);
    }
    return err;
}
