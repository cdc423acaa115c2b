#include "base/json.h"

#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_check.h"
#include "base/json_tree.h"

/* ---- allocation ---- */

static void *
tree_malloc(size_t size)
{
    return malloc(size);
}

static void
tree_free(void *data)
{
    if (data != NULL)
        explicit_bzero(data, malloc_usable_size(data));
    free(data);
}

static void
set_hooks(void)
{
    cJSON_Hooks hooks = {tree_malloc, tree_free};

    cJSON_InitHooks(&hooks);
}

void
tree_init_hooks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    /* fails only for arguments that are not valid */
    (void)pthread_once(&once, set_hooks);
}

void
json_free(struct json *json)
{
    cJSON_Delete(tree_of_mutable(json));
}

struct json *
json_clone(const struct json *json)
{
    tree_init_hooks();
    return json_of(cJSON_Duplicate(tree_of(json), true));
}

/* ---- parsing ---- */

/* A number such as 1e999 obeys the grammar, but is no IEEE 754 double. */
static bool
is_finite_tree(const cJSON *tree)
{
    const cJSON *child;

    if (cJSON_IsNumber(tree) && !isfinite(tree->valuedouble))
        return false;
    for (child = tree->child; child != NULL; child = child->next)
        if (!is_finite_tree(child))
            return false;
    return true;
}

static ath_err
parse(struct ath_slice text, const struct json_limits *limits, struct json_fault *fault,
      struct json **ret_json)
{
    cJSON *tree;
    ath_err err;

    if ((err = json_check(text, limits, fault)) != ATH_OK)
        return err;
    tree_init_hooks();
    /* the text is known to be good: what can still fail is an allocation */
    if ((tree = cJSON_ParseWithLength((const char *)text.data, text.len)) == NULL)
        return ATH_ERR_NOMEM;
    if (limits->numbers == JSON_DOUBLES && !is_finite_tree(tree)) {
        cJSON_Delete(tree);
        *fault = (struct json_fault){0, "a number is too large for a double"};
        return ATH_ERR_PARSE;
    }
    *ret_json = json_of(tree);
    return ATH_OK;
}

ath_err
json_parse(struct ath_slice text, const struct json_limits *limits, struct why *why,
           struct json **ret_json)
{
    struct json_fault fault = {0, ""};
    ath_err err = parse(text, limits, &fault, ret_json);

    if (err != ATH_OK && fault.text[0] != '\0')
        return why_set(why, err, "byte %zu: %s", fault.offset, fault.text);
    return err;
}

ath_err
json_check_object(struct ath_slice text, const struct json_limits *limits, struct why *why)
{
    struct json_fault fault = {0, ""};
    ath_err err = json_check(text, limits, &fault);
    size_t at = 0;

    if (err != ATH_OK)
        return fault.text[0] != '\0' ? why_set(why, err, "byte %zu: %s", fault.offset, fault.text)
                                     : err;
    while (strchr(" \t\n\r", text.data[at]) != NULL) /* ends: there is a value */
        at++;
    return text.data[at] == '{' ? ATH_OK : why_set(why, ATH_ERR_PARSE, "not an object");
}

/* ---- configuration files ---- */

/* Where the comment or string that begins at `at` ends; at itself if none does, SIZE_MAX for a
 * comment without an end. */
static size_t
token_end(struct ath_slice text, size_t at)
{
    uint8_t c = text.data[at], next = at + 1 < text.len ? text.data[at + 1] : 0;
    size_t i;

    if (c == '"') {
        for (i = at + 1; i < text.len && text.data[i] != '"'; i++)
            if (text.data[i] == '\\')
                i++;
        return i < text.len ? i + 1 : text.len;
    }
    if (c == '/' && next == '/') {
        for (i = at + 2; i < text.len && text.data[i] != '\n'; i++)
            continue;
        return i;
    }
    if (c == '/' && next == '*') {
        for (i = at + 2; i + 1 < text.len; i++)
            if (text.data[i] == '*' && text.data[i + 1] == '/')
                return i + 2;
        return SIZE_MAX;
    }
    return at;
}

/* Comments become white space of the same length and the same lines. */
static ath_err
blank_comments(struct ath_buf *text, struct json_fault *fault)
{
    size_t at = 0, i;

    while (at < text->len) {
        size_t end = token_end(ath_buf_slice(text), at);

        if (end == SIZE_MAX) {
            *fault = (struct json_fault){at, "the comment has no end"};
            return ATH_ERR_PARSE;
        }
        if (text->data[at] == '/')
            for (i = at; i < end; i++)
                if (text->data[i] != '\n')
                    text->data[i] = ' ';
        at = end > at ? end : at + 1;
    }
    return ATH_OK;
}

static size_t
line_of(struct ath_slice text, size_t offset)
{
    size_t line = 1, i;

    for (i = 0; i < offset && i < text.len; i++)
        line += text.data[i] == '\n';
    return line;
}

ath_err
json_parse_config(struct ath_slice text, const struct json_limits *limits, struct why *why,
                  struct json **ret_json)
{
    struct ath_buf copy = {.max = limits->max_len};
    struct json_fault fault = {0, ""};
    ath_err err;

    if (text.len > limits->max_len)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "longer than %zu bytes", limits->max_len);
    ath_buf_put_slice(&copy, text);
    if ((err = copy.err) != ATH_OK)
        goto out;
    if ((err = blank_comments(&copy, &fault)) == ATH_OK)
        err = parse(ath_buf_slice(&copy), limits, &fault, ret_json);
    if (err != ATH_OK && fault.text[0] != '\0')
        err = why_set(why, err, "%zu: %s", line_of(text, fault.offset), fault.text);
out:
    ath_buf_done(&copy);
    return err;
}
