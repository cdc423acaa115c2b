#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_number.h"
#include "base/json_tree.h"

enum form { FORM_COMPACT, FORM_PRETTY, FORM_CANONICAL };

struct writer {
    struct ath_buf *out;
    enum form form;
    unsigned depth;
};

static void write_value(struct writer *writer, const cJSON *value);

/* RFC 8785 3.2.2.2: the short escapes, \u00xx in lower case for other control characters,
 * everything else as it is. */
static void
write_string(struct ath_buf *out, const char *text)
{
    static const char plain[] = "\"\\\b\f\n\r\t", escaped[] = "\"\\bfnrt";

    ath_buf_put_byte(out, '"');
    while (*text != '\0') {
        const char *run = text, *found;

        while ((uint8_t)*text >= 0x20 && *text != '"' && *text != '\\')
            text++;
        ath_buf_put(out, run, (size_t)(text - run));
        if (*text == '\0')
            break;
        if ((found = strchr(plain, *text)) != NULL) {
            ath_buf_put_byte(out, '\\');
            ath_buf_put_byte(out, (uint8_t)escaped[found - plain]);
        } else {
            ath_buf_printf(out, "\\u%04x", (unsigned)(uint8_t)*text);
        }
        text++;
    }
    ath_buf_put_byte(out, '"');
}

static void
new_line(struct writer *writer)
{
    unsigned i;

    if (writer->form != FORM_PRETTY)
        return;
    ath_buf_put_byte(writer->out, '\n');
    for (i = 0; i < writer->depth; i++)
        ath_buf_put_string(writer->out, "  ");
}

static void
write_member(struct writer *writer, const cJSON *member)
{
    write_string(writer->out, member->string);
    ath_buf_put_string(writer->out, writer->form == FORM_PRETTY ? ": " : ":");
    write_value(writer, member);
}

/* By UTF-16 code units (RFC 8785 3.2.3). In UTF-8 that is the order of the bytes, but characters
 * above U+FFFF (first byte F0 to F4), being surrogates D800 to DFFF there, come before U+E000 to
 * U+FFFF (first byte EE or EF). */
static int
compare_utf16(const char *a, const char *b)
{
    uint8_t from_a, from_b;
    size_t i = 0;

    while (a[i] != '\0' && a[i] == b[i])
        i++;
    from_a = (uint8_t)a[i];
    from_b = (uint8_t)b[i];
    if (from_a >= 0xEE && from_b >= 0xEE && (from_a >= 0xF0) != (from_b >= 0xF0))
        return from_a >= 0xF0 ? -1 : 1;
    return (from_a > from_b) - (from_a < from_b);
}

static int
compare_members(const void *a, const void *b)
{
    return compare_utf16((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

static void
write_sorted(struct writer *writer, const cJSON *object, size_t count)
{
    const cJSON **members = calloc(count, sizeof(*members)), *child;
    size_t i = 0;

    if (members == NULL) {
        writer->out->err = writer->out->err == ATH_OK ? ATH_ERR_NOMEM : writer->out->err;
        return;
    }
    for (child = object->child; child != NULL; child = child->next)
        members[i++] = child;
    qsort(members, count, sizeof(*members), compare_members);
    for (i = 0; i < count; i++) {
        if (i > 0)
            ath_buf_put_byte(writer->out, ',');
        write_member(writer, members[i]);
    }
    free(members);
}

static void
write_in_order(struct writer *writer, const cJSON *container)
{
    const cJSON *child;

    for (child = container->child; child != NULL; child = child->next) {
        new_line(writer);
        if (cJSON_IsObject(container))
            write_member(writer, child);
        else
            write_value(writer, child);
        if (child->next != NULL)
            ath_buf_put_byte(writer->out, ',');
    }
}

static void
write_container(struct writer *writer, const cJSON *container)
{
    size_t count = json_count((const struct json *)container);
    bool is_object = cJSON_IsObject(container);

    ath_buf_put_byte(writer->out, is_object ? '{' : '[');
    writer->depth++;
    if (is_object && writer->form == FORM_CANONICAL && count > 1)
        write_sorted(writer, container, count);
    else
        write_in_order(writer, container);
    writer->depth--;
    if (count > 0)
        new_line(writer);
    ath_buf_put_byte(writer->out, is_object ? '}' : ']');
}

static void
write_value(struct writer *writer, const cJSON *value)
{
    if (writer->out->err != ATH_OK)
        return;
    if (cJSON_IsObject(value) || cJSON_IsArray(value))
        write_container(writer, value);
    else if (cJSON_IsString(value))
        write_string(writer->out, value->valuestring);
    else if (cJSON_IsNumber(value))
        json_number_put(writer->out, value->valuedouble);
    else if (cJSON_IsBool(value))
        ath_buf_put_string(writer->out, cJSON_IsTrue(value) ? "true" : "false");
    else
        ath_buf_put_string(writer->out, "null");
}

static void
write_form(const struct json *json, enum form form, struct ath_buf *out)
{
    struct writer writer = {.out = out, .form = form};

    write_value(&writer, tree_of(json));
}

void
json_write(const struct json *json, struct ath_buf *out)
{
    write_form(json, FORM_COMPACT, out);
}

void
json_write_pretty(const struct json *json, struct ath_buf *out)
{
    write_form(json, FORM_PRETTY, out);
}

void
json_canonical(const struct json *json, struct ath_buf *out)
{
    write_form(json, FORM_CANONICAL, out);
}

bool
json_equal(const struct json *a, const struct json *b)
{
    struct ath_buf text_a = {.max = SIZE_MAX}, text_b = {.max = SIZE_MAX};
    bool equal;

    if (a == NULL || b == NULL)
        return a == b;
    json_canonical(a, &text_a);
    json_canonical(b, &text_b);
    equal = text_a.err == ATH_OK && text_b.err == ATH_OK &&
            ath_slice_equal(ath_buf_slice(&text_a), ath_buf_slice(&text_b));
    ath_buf_done(&text_a);
    ath_buf_done(&text_b);
    return equal;
}
