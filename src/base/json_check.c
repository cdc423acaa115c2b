#include "base/json_check.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"

/*
 * A recursive-descent reader of RFC 8259 that keeps nothing but the names of the objects it is in:
 * each object's names lie on top of one stack, are sorted when the object ends, and equal ones are
 * then neighbours (n log n; comparing each with each would let 64 KiB of names cost seconds).
 */
struct checker {
    struct json_scan scan;
    unsigned depth;
    struct ath_slice *names;
    size_t count, cap;
};

static ath_err check_value(struct checker *checker);

static void
skip_space(struct json_scan *scan)
{
    int c;

    while ((c = json_scan_peek(scan)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        scan->at++;
}

static ath_err
fail_here(struct json_scan *scan, const char *expected)
{
    if (json_scan_peek(scan) < 0)
        return json_scan_fail(scan, ATH_ERR_PARSE, scan->at, "the text ends where %s must follow",
                              expected);
    return json_scan_fail(scan, ATH_ERR_PARSE, scan->at, "%s must follow here", expected);
}

static ath_err
push_name(struct checker *checker, struct ath_slice name)
{
    if (checker->count == checker->cap) {
        size_t cap = checker->cap == 0 ? 32 : checker->cap * 2;
        struct ath_slice *names = realloc(checker->names, cap * sizeof(*names));

        if (names == NULL)
            return ATH_ERR_NOMEM;
        checker->names = names;
        checker->cap = cap;
    }
    checker->names[checker->count++] = name;
    return ATH_OK;
}

static int
compare_names(const void *a, const void *b)
{
    return json_scan_compare(*(const struct ath_slice *)a, *(const struct ath_slice *)b);
}

/* The names from begin on belong to the object that just ended. */
static ath_err
pop_names(struct checker *checker, size_t begin)
{
    size_t count = checker->count - begin, i;
    struct ath_slice *names;

    checker->count = begin;
    if (count < 2) /* there may be no storage at all */
        return ATH_OK;
    names = checker->names + begin;
    qsort(names, count, sizeof(*names), compare_names);
    for (i = 1; i < count; i++) {
        const uint8_t *later =
            names[i].data > names[i - 1].data ? names[i].data : names[i - 1].data;
        int shown = names[i].len > 64 ? 64 : (int)names[i].len;

        if (json_scan_compare(names[i - 1], names[i]) == 0)
            return json_scan_fail(
                &checker->scan, ATH_ERR_PARSE, (size_t)(later - checker->scan.text.data) - 1,
                "name \"%.*s\" appears twice", shown, (const char *)names[i].data);
    }
    return ATH_OK;
}

static ath_err
check_member(struct checker *checker)
{
    struct json_scan *scan = &checker->scan;
    struct ath_slice name = {NULL, 0};
    ath_err err;

    if (json_scan_peek(scan) != '"')
        return fail_here(scan, "a member's name");
    if ((err = json_scan_string(scan, &name)) != ATH_OK ||
        (err = push_name(checker, name)) != ATH_OK)
        return err;
    skip_space(scan);
    if (json_scan_peek(scan) != ':')
        return fail_here(scan, "':'");
    scan->at++;
    return check_value(checker);
}

/* Members or entries up to the closing bracket; the cursor stands behind the opening one. */
static ath_err
check_entries(struct checker *checker, char closing, ath_err (*check_entry)(struct checker *))
{
    struct json_scan *scan = &checker->scan;
    size_t count = 0;
    ath_err err;

    skip_space(scan);
    if (json_scan_peek(scan) == closing) {
        scan->at++;
        return ATH_OK;
    }
    for (;;) {
        if (closing == '}' && ++count > scan->limits->max_members)
            return json_scan_fail(scan, ATH_ERR_LIMIT_EXCEEDED, scan->at,
                                  "more than %zu members in an object", scan->limits->max_members);
        skip_space(scan);
        if ((err = check_entry(checker)) != ATH_OK)
            return err;
        skip_space(scan);
        if (json_scan_peek(scan) == closing)
            break;
        if (json_scan_peek(scan) != ',')
            return fail_here(scan, closing == '}' ? "',' or '}'" : "',' or ']'");
        scan->at++;
    }
    scan->at++;
    return ATH_OK;
}

static ath_err
check_container(struct checker *checker, bool is_object)
{
    struct json_scan *scan = &checker->scan;
    size_t names_begin = checker->count;
    ath_err err;

    if (checker->depth >= scan->limits->max_depth || checker->depth >= JSON_DEPTH_MAX)
        return json_scan_fail(scan, ATH_ERR_LIMIT_EXCEEDED, scan->at, "nested deeper than %u",
                              checker->depth);
    checker->depth++;
    scan->at++;
    if (is_object)
        err = check_entries(checker, '}', check_member);
    else
        err = check_entries(checker, ']', check_value);
    checker->depth--;
    if (err == ATH_OK && is_object)
        err = pop_names(checker, names_begin);
    return err;
}

static ath_err
check_literal(struct json_scan *scan)
{
    static const char *const literals[] = {"true", "false", "null"};
    size_t i;

    for (i = 0; i < sizeof(literals) / sizeof(literals[0]); i++) {
        size_t len = strlen(literals[i]);

        if (scan->text.len - scan->at >= len &&
            memcmp(scan->text.data + scan->at, literals[i], len) == 0) {
            scan->at += len;
            return ATH_OK;
        }
    }
    return fail_here(scan, "a JSON value");
}

static ath_err
check_value(struct checker *checker)
{
    struct json_scan *scan = &checker->scan;
    struct ath_slice inner;
    int c;

    skip_space(scan);
    c = json_scan_peek(scan);
    if (c == '{' || c == '[')
        return check_container(checker, c == '{');
    if (c == '"')
        return json_scan_string(scan, &inner);
    if (c == '-' || (c >= '0' && c <= '9'))
        return json_scan_number(scan);
    return check_literal(scan);
}

ath_err
json_check(struct ath_slice text, const struct json_limits *limits, struct json_fault *fault)
{
    struct checker checker = {.scan = {.text = text, .limits = limits, .fault = fault}};
    struct json_scan *scan = &checker.scan;
    ath_err err;

    if (text.len > limits->max_len)
        return json_scan_fail(scan, ATH_ERR_LIMIT_EXCEEDED, limits->max_len,
                              "longer than %zu bytes", limits->max_len);
    err = check_value(&checker);
    skip_space(scan);
    if (err == ATH_OK && scan->at != text.len)
        err = json_scan_fail(scan, ATH_ERR_PARSE, scan->at, "text after the JSON value");
    free(checker.names);
    return err;
}
