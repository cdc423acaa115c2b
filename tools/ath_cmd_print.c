/* Results as a person reads them. */
#include "ath_cmd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/utf8.h"

#define COLUMNS_MAX 12
#define CELL_MAX 200 /* of a table: what is longer is cut there, --json has it all */

static void
put_harmless(struct ath_buf *out, const char *text)
{
    char *copy = ath_strdup(text);

    if (copy == NULL)
        return;
    utf8_make_harmless(copy);
    ath_buf_put_string(out, copy);
    free(copy);
}

void
cmd_print_text(FILE *stream, const char *text)
{
    struct ath_buf out = {0};
    const char *harmless;

    put_harmless(&out, text);
    harmless = ath_buf_text(&out);
    fputs(harmless != NULL ? harmless : "", stream);
    ath_buf_done(&out);
}

void
cmd_print_duration(int64_t seconds, struct ath_buf *out)
{
    static const struct {
        int64_t seconds;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    size_t i = 0;

    while (i < 3 && seconds < units[i].seconds)
        i++;
    ath_buf_printf(out, "%" PRId64 " %s", seconds / units[i].seconds, units[i].unit);
    if (i < 3 && seconds % units[i].seconds / units[i + 1].seconds > 0)
        ath_buf_printf(out, " %" PRId64 " %s", seconds % units[i].seconds / units[i + 1].seconds,
                       units[i + 1].unit);
}

/* "2027-01-31 10:00:00 UTC (in 5 min)" */
static void
put_time(int64_t when, struct ath_buf *out)
{
    int64_t away = when - clock_now();
    time_t seconds = (time_t)when;
    struct tm moment;
    char text[40];

    if (gmtime_r(&seconds, &moment) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &moment) == 0) {
        ath_buf_printf(out, "%" PRId64, when);
        return;
    }
    ath_buf_put_string(out, text);
    ath_buf_put_string(out, away >= 0 ? " (in " : " (");
    cmd_print_duration(away >= 0 ? away : -away, out);
    ath_buf_put_string(out, away >= 0 ? ")" : " ago)");
}

static bool
ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void
put_number(const char *name, int64_t number, struct ath_buf *out)
{
    if (ends_with(name, "_at") || strcmp(name, "exp") == 0 || strcmp(name, "iat") == 0 ||
        strcmp(name, "nbf") == 0)
        put_time(number, out);
    else if (strcmp(name, "uptime") == 0 || ends_with(name, "ttl") ||
             strcmp(name, "retry_after") == 0)
        cmd_print_duration(number, out);
    else
        ath_buf_printf(out, "%" PRId64, number);
}

static bool
is_array_of_strings(const struct json *value)
{
    const struct json *entry;

    if (!json_is_array(value))
        return false;
    for (entry = json_first(value); entry != NULL; entry = json_next(entry)) {
        if (json_string(entry) == NULL)
            return false;
    }
    return true;
}

static void
put_strings(const struct json *array, struct ath_buf *out)
{
    const struct json *entry;

    if (json_first(array) == NULL)
        ath_buf_put_string(out, "-");
    for (entry = json_first(array); entry != NULL; entry = json_next(entry)) {
        if (entry != json_first(array))
            ath_buf_put_string(out, " ");
        put_harmless(out, json_string(entry));
    }
}

void
cmd_print_value(const char *name, const struct json *value, struct ath_buf *out)
{
    struct ath_buf text = {0};
    int64_t number;

    if (value == NULL || json_is_null(value))
        ath_buf_put_string(out, "-");
    else if (json_string(value) != NULL && *json_string(value) == '\0')
        ath_buf_put_string(out, "-");
    else if (json_string(value) != NULL)
        put_harmless(out, json_string(value));
    else if (json_is_bool(value))
        ath_buf_put_string(out, json_is_true(value) ? "yes" : "no");
    else if (json_int(value, &number))
        put_number(name, number, out);
    else if (is_array_of_strings(value))
        put_strings(value, out);
    else {
        json_write(value, &text);
        if (ath_buf_text(&text) != NULL)
            put_harmless(out, ath_buf_text(&text));
    }
    ath_buf_done(&text);
}

/* ---- a line a member ---- */

static void print_object(const struct json *object, const char *fields, int indent);

static int
widest_name(const struct json *object)
{
    const struct json *member;
    int widest = 0;

    for (member = json_first(object); member != NULL; member = json_next(member)) {
        int len = (int)strlen(json_name(member));

        if (len > widest && len <= 24)
            widest = len;
    }
    return widest;
}

/* Text of several lines (a PEM) keeps them. */
static void
print_lines(const char *text, int indent)
{
    printf("\n");
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char *line = ath_slice_dup(ath_slice_of(text, len));

        printf("%*s", indent + 2, "");
        cmd_print_text(stdout, line == NULL ? "" : line);
        printf("\n");
        free(line);
        text += len + (text[len] == '\n' ? 1 : 0);
    }
}

static void
print_array_of_objects(const struct json *array, int indent)
{
    const struct json *entry;

    printf("\n");
    for (entry = json_first(array); entry != NULL; entry = json_next(entry)) {
        print_object(entry, NULL, indent + 2);
        if (json_next(entry) != NULL)
            printf("\n");
    }
}

static void
print_member(const char *name, const struct json *value, int width, int indent)
{
    struct ath_buf text = {0};

    put_harmless(&text, name); /* of a claim, it may be a stranger's word like its value */
    printf("%*s%-*s  ", indent, "", width, ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "");
    ath_buf_clear(&text);
    if (json_is_object(value) && json_first(value) != NULL) {
        printf("\n");
        print_object(value, NULL, indent + 2);
    } else if (json_is_array(value) && json_is_object(json_first(value))) {
        print_array_of_objects(value, indent);
    } else if (json_string(value) != NULL && strchr(json_string(value), '\n') != NULL) {
        print_lines(json_string(value), indent);
    } else {
        cmd_print_value(name, value, &text);
        printf("%s\n", ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "");
    }
    ath_buf_done(&text);
}

/* The word of a list separated by spaces that *rest begins with; moves *rest behind it. */
static bool
next_word(const char **rest, char *word, size_t size)
{
    size_t len;

    *rest += strspn(*rest, " ");
    len = strcspn(*rest, " ");
    if (len == 0 || len >= size)
        return false;
    memcpy(word, *rest, len);
    word[len] = '\0';
    *rest += len;
    return true;
}

static void
print_object(const struct json *object, const char *fields, int indent)
{
    const struct json *member;
    int width = widest_name(object);
    char name[64];

    if (fields == NULL) {
        for (member = json_first(object); member != NULL; member = json_next(member))
            print_member(json_name(member), member, width, indent);
        return;
    }
    while (next_word(&fields, name, sizeof(name))) {
        if ((member = json_get(object, name)) != NULL)
            print_member(name, member, width, indent);
    }
}

void
cmd_print_fields(const struct json *object, const char *fields)
{
    print_object(object, fields, 0);
}

/* ---- tables ---- */

struct column {
    char name[64];
    size_t width; /* characters, as near as it matters: bytes that begin one */
};

static size_t
width_of(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* A cell's text on the heap; NULL when out of memory. */
static char *
cell_of(const struct json *row, const char *name)
{
    struct ath_buf text = {0};
    const char *cell;
    char *copy;

    cmd_print_value(name, json_get(row, name), &text);
    cell = ath_buf_text(&text);
    copy = cell == NULL ? NULL : ath_slice_dup(ath_slice_of(cell, strnlen(cell, CELL_MAX)));
    if (copy != NULL)
        utf8_make_harmless(copy); /* a character may have been cut */
    ath_buf_done(&text);
    return copy;
}

static size_t
columns_of(const struct json *rows, const char *fields, struct column *columns)
{
    const struct json *row;
    size_t count = 0;

    while (count < COLUMNS_MAX &&
           next_word(&fields, columns[count].name, sizeof(columns[0].name))) {
        struct column *column = &columns[count++];

        column->width = strlen(column->name);
        for (row = json_first(rows); row != NULL; row = json_next(row)) {
            char *cell = cell_of(row, column->name);
            size_t width = cell == NULL ? 0 : width_of(cell);

            if (width > column->width)
                column->width = width;
            free(cell);
        }
    }
    return count;
}

static void
print_padded(const char *text, size_t width, bool is_last)
{
    fputs(text, stdout);
    if (is_last)
        printf("\n");
    else
        printf("%*s", (int)(width - width_of(text)) + 2, "");
}

static void
print_heading(const struct cmd_context *context, const struct column *columns, size_t count)
{
    size_t i, k;

    fputs(context->colour ? "\033[1m" : "", stdout);
    for (i = 0; i < count; i++) {
        char heading[64];

        for (k = 0; columns[i].name[k] != '\0'; k++)
            heading[k] = columns[i].name[k] == '_' ? ' '
                         : columns[i].name[k] >= 'a' && columns[i].name[k] <= 'z'
                             ? (char)(columns[i].name[k] - 'a' + 'A')
                             : columns[i].name[k];
        heading[k] = '\0';
        print_padded(heading, columns[i].width, i + 1 == count);
    }
    fputs(context->colour ? "\033[0m" : "", stdout);
}

void
cmd_print_table(const struct cmd_context *context, const struct json *rows, const char *fields)
{
    struct column columns[COLUMNS_MAX];
    const struct json *row;
    size_t count, i;

    if (json_first(rows) == NULL) {
        cmd_note(context, "none");
        return;
    }
    count = columns_of(rows, fields, columns);
    print_heading(context, columns, count);
    for (row = json_first(rows); row != NULL; row = json_next(row)) {
        for (i = 0; i < count; i++) {
            char *cell = cell_of(row, columns[i].name);

            print_padded(cell == NULL ? "" : cell, columns[i].width, i + 1 == count);
            free(cell);
        }
    }
}
