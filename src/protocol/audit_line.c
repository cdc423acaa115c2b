#include "protocol/audit_line.h"

#include <string.h>

const struct json_limits audit_line_limits = {AUDIT_LINE_MAX, AUDIT_LINE_MAX_DEPTH,
                                              AUDIT_LINE_MAX_MEMBERS, JSON_INTEGERS};

static bool
skip(struct ath_slice *rest, const char *text)
{
    size_t len = strlen(text);

    if (rest->len < len || memcmp(rest->data, text, len) != 0)
        return false;
    *rest = ath_slice_of(rest->data + len, rest->len - len);
    return true;
}

/* As JSON writes whole numbers: no leading zero, below 10^16 and so far from wrapping. */
static bool
skip_number(struct ath_slice *rest, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t len = 0;

    for (; len < 16 && len < rest->len && rest->data[len] >= '0' && rest->data[len] <= '9'; len++)
        value = value * 10 + (uint64_t)(rest->data[len] - '0');
    if (len == 0 || (len > 1 && rest->data[0] == '0'))
        return false;
    *rest = ath_slice_of(rest->data + len, rest->len - len);
    *ret_value = value;
    return true;
}

ath_err
audit_line_begin(struct ath_slice line, struct why *why, struct audit_line *ret_line)
{
    struct audit_line begun = {0};
    struct ath_slice rest = line;

    if (line.len > AUDIT_LINE_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "longer than %u bytes", AUDIT_LINE_MAX);
    if (!skip(&rest, "{\"index\":") || !skip_number(&rest, &begun.index))
        return why_set(why, ATH_ERR_PARSE, "does not begin with {\"index\":N");
    if (!skip(&rest, ",\"timestamp\":\"") || rest.len < CLOCK_TEXT_SIZE)
        return why_set(why, ATH_ERR_PARSE, "its second member is not \"timestamp\"");
    begun.timestamp = ath_slice_of(rest.data, CLOCK_TEXT_SIZE - 1);
    if (!clock_text_is_valid(begun.timestamp) || rest.data[CLOCK_TEXT_SIZE - 1] != '"')
        return why_set(why, ATH_ERR_PARSE,
                       "its timestamp is not of the form "
                       "\"2026-01-02T03:04:05.678Z\"");
    rest = ath_slice_of(rest.data + CLOCK_TEXT_SIZE, rest.len - CLOCK_TEXT_SIZE);
    begun.is_retention = skip(&rest, ",\"event\":\"audit_retention\",\"kept_from\":") &&
                         skip_number(&rest, &begun.kept_from);
    begun.is_rollback = skip(&rest, ",\"event\":\"audit_rollback\",");
    *ret_line = begun;
    return ATH_OK;
}

ath_err
audit_line_check(struct ath_slice line, struct why *why, struct audit_line *ret_line)
{
    ath_err err = audit_line_begin(line, why, ret_line);

    return err != ATH_OK ? err : json_check_object(line, &audit_line_limits, why);
}
