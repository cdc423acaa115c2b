#include "ath_cmd_consent_words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ath_cmd.h"
#include "base/utf8.h"

#define SEPARATORS " ,\t\n"
#define WIDE_FROM 0x1100u /* no character below it takes two columns of a terminal (UAX 11) */

void
consent_words_id(const struct json *item, struct ath_buf *out)
{
    cmd_print_value("id", json_get(item, "id"), out);
}

/* ---- blocks ---- */

struct block {
    struct ath_buf *out;
    size_t columns, used;
};

static void
begin_row(struct block *block, const char *mark)
{
    ath_buf_put_string(block->out, mark);
    block->used = strlen(mark);
}

/* Writes the character that text begins with; how many bytes it has. */
static size_t
put_character(struct block *block, struct ath_slice text)
{
    uint32_t code_point = 0;
    size_t len = utf8_next(text, &code_point), width = code_point >= WIDE_FROM ? 2 : 1;

    if (block->columns > 0 && block->used + width > block->columns) {
        ath_buf_put_byte(block->out, '\n');
        begin_row(block, ": ");
    }
    block->used += width;
    if (len == 0 || utf8_is_harmful(code_point))
        ath_buf_put_byte(block->out, '?');
    else
        ath_buf_put(block->out, text.data, len);
    return len == 0 ? 1 : len;
}

void
consent_words_block(const char *text, size_t columns, struct ath_buf *out)
{
    struct block block = {.out = out, .columns = columns};

    if (columns > 0 && columns < CONSENT_COLUMNS_MIN)
        block.columns = CONSENT_COLUMNS_MIN;
    while (*text != '\0') {
        struct ath_slice line = ath_slice_of(text, strcspn(text, "\n"));

        text += line.len + (text[line.len] == '\n' ? 1 : 0);
        begin_row(&block, line.len == 0 ? "|" : "| ");
        while (line.len > 0) {
            size_t len = put_character(&block, line);

            line = ath_slice_of(line.data + len, line.len - len);
        }
        ath_buf_put_byte(out, '\n');
    }
}

/* ---- a question ---- */

static void
put_left(int64_t expires_at, int64_t now, struct ath_buf *out)
{
    cmd_print_duration(expires_at > now ? expires_at - now : 0, out);
    ath_buf_put_string(out, " left");
}

void
consent_words_heading(const struct json *question, size_t others, int64_t now, struct ath_buf *out)
{
    const char *separator = " (";
    int64_t count = 1, expires_at;

    ath_buf_put_string(out, "Question ");
    consent_words_id(question, out);
    if (json_get_int(question, "count", &count) && count > 1) {
        ath_buf_printf(out, "%sasked %" PRId64 " times", separator, count);
        separator = ", ";
    }
    if (json_get_int(question, "expires_at", &expires_at)) {
        ath_buf_put_string(out, separator);
        put_left(expires_at, now, out);
        separator = ", ";
    }
    if (others > 0) {
        ath_buf_printf(out, "%s%zu %s", separator, others,
                       others == 1 ? "other waits" : "others wait");
        separator = ", ";
    }
    if (strcmp(separator, ", ") == 0)
        ath_buf_put_byte(out, ')');
}

/* Members of the question and of its caller, a line each; what is text is made harmless below. */
static void
put_members(const struct json *object, const char *const *skipped, const char *prefix,
            struct ath_buf *lines)
{
    const struct json *member;

    for (member = json_first(object); member != NULL; member = json_next(member)) {
        const char *const *name = skipped;

        while (*name != NULL && strcmp(*name, json_name(member)) != 0)
            name++;
        if (*name != NULL)
            continue;
        ath_buf_printf(lines, "%s%s: ", prefix, json_name(member));
        cmd_print_value(json_name(member), member, lines);
        ath_buf_put_byte(lines, '\n');
    }
}

void
consent_words_details(const struct json *question, size_t columns, struct ath_buf *out)
{
    static const char *const skipped[] = {"text", "caller", "can_narrow", "can_remember", NULL};
    static const char *const nothing[] = {NULL};
    struct ath_buf lines = {0};

    put_members(question, skipped, "", &lines);
    put_members(json_get(question, "caller"), nothing, "caller ", &lines);
    if (ath_buf_text(&lines) != NULL)
        consent_words_block(ath_buf_text(&lines), columns, out);
    ath_buf_done(&lines);
}

void
consent_words_scopes(const struct json *scopes, size_t columns, struct ath_buf *out)
{
    const struct json *scope;
    struct ath_buf lines = {0};
    size_t number = 0;

    for (scope = json_first(scopes); scope != NULL; scope = json_next(scope)) {
        ath_buf_printf(&lines, "%zu  ", ++number);
        cmd_print_value("scope", scope, &lines);
        ath_buf_put_byte(&lines, '\n');
    }
    if (ath_buf_text(&lines) != NULL)
        consent_words_block(ath_buf_text(&lines), columns, out);
    ath_buf_done(&lines);
}

/* ---- one row each ---- */

typedef void put_item_fn(const struct json *item, int64_t now, struct ath_buf *out);

/* false: there is none. */
static bool
put_member(const struct json *object, const char *name, const char *before, const char *label,
           struct ath_buf *out)
{
    const struct json *member = json_get(object, name);

    if (member == NULL)
        return false;
    ath_buf_put_string(out, before);
    ath_buf_put_string(out, label);
    cmd_print_value(name, member, out);
    return true;
}

static void
put_asker(const struct json *asker, struct ath_buf *out)
{
    const char *before = "; asked by ";

    if (put_member(asker, "exe", before, "", out))
        before = ", ";
    if (put_member(asker, "unit", before, "unit ", out))
        before = ", ";
    if (put_member(asker, "grant", before, "grant ", out))
        before = ", ";
    (void)put_member(asker, "uid", before, "user ", out);
}

static void
put_window(const struct json *window, int64_t now, struct ath_buf *out)
{
    int64_t uses, expires_at;

    (void)put_member(window, "method", "", "", out);
    (void)put_member(window, "key", ", ", "key ", out);
    (void)put_member(window, "audiences", ", ", "for ", out);
    (void)put_member(window, "peers", ", ", "with ", out);
    (void)put_member(window, "scopes", ", ", "scopes ", out);
    (void)put_member(window, "ttl", ", ", "at most ", out);
    put_asker(json_get(window, "asker"), out);
    ath_buf_put_string(out, ": ");
    if (json_get_int(window, "uses_left", &uses))
        ath_buf_printf(out, "%" PRId64 " more time%s, ", uses, uses == 1 ? "" : "s");
    if (json_get_int(window, "expires_at", &expires_at))
        put_left(expires_at, now, out);
}

static void
put_refusal(const struct json *refusal, int64_t now, struct ath_buf *out)
{
    int64_t count, next_at;

    (void)put_member(refusal, "key", "", "key ", out);
    put_asker(json_get(refusal, "asker"), out);
    if (json_get_int(refusal, "refusals", &count))
        ath_buf_printf(out, ": %" PRId64 " time%s no", count, count == 1 ? "" : "s");
    if (json_get_int(refusal, "next_at", &next_at) && next_at > now) {
        ath_buf_put_string(out, ", the next question waits ");
        cmd_print_duration(next_at - now, out);
    }
}

void
consent_words_summary(const struct json *question, int64_t now, size_t columns, struct ath_buf *out)
{
    struct ath_buf row = {0};

    consent_words_heading(question, 0, now, &row);
    (void)put_member(question, "method", ": ", "", &row);
    (void)put_member(question, "key", ", ", "key ", &row);
    put_asker(json_get(question, "caller"), &row);
    consent_words_block(ath_buf_text(&row) == NULL ? "?" : ath_buf_text(&row), columns, out);
    ath_buf_done(&row);
}

void
consent_words_rules(const struct json *list, bool numbered, int64_t now, size_t columns,
                    struct ath_buf *out)
{
    static const struct {
        const char *member, *title;
        put_item_fn *put;
    } kinds[] = {
        {"allowed", "Allowed without asking:\n", put_window},
        {"refused", "Refused, so that the next question waits:\n", put_refusal},
    };
    struct ath_buf row = {0};
    size_t number = 0, kind;

    for (kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        const struct json *item = json_first(json_get(list, kinds[kind].member));

        if (item != NULL)
            ath_buf_put_string(out, kinds[kind].title);
        for (; item != NULL; item = json_next(item)) {
            ath_buf_clear(&row);
            if (numbered)
                ath_buf_printf(&row, "%zu", ++number);
            else
                consent_words_id(item, &row);
            ath_buf_put_string(&row, "  ");
            kinds[kind].put(item, now, &row);
            consent_words_block(ath_buf_text(&row) == NULL ? "?" : ath_buf_text(&row), columns,
                                out);
        }
    }
    ath_buf_done(&row);
}

/* ---- what a person types ---- */

/* The next word, at most size - 1 bytes; false: there is none, or it is too long. */
static bool
next_word(const char **text, char *word, size_t size)
{
    size_t len;

    *text += strspn(*text, SEPARATORS);
    len = strcspn(*text, SEPARATORS);
    if (len == 0 || len >= size)
        return false;
    memcpy(word, *text, len);
    word[len] = '\0';
    *text += len;
    return true;
}

static bool
is_at_end(const char *text)
{
    return text[strspn(text, SEPARATORS)] == '\0';
}

bool
consent_words_read_while(const char *text, struct consent_while *ret_remember)
{
    struct consent_while remember = {0, 0};
    char word[16];

    while (next_word(&text, word, sizeof(word))) {
        int64_t number = 0;
        bool is_count = strspn(word, "0123456789") == strlen(word);
        int64_t *place = is_count ? &remember.uses : &remember.seconds;

        if (*place != 0 || !cmd_input_duration(word, &number) || number <= 0 ||
            number > (is_count ? CONSENT_USES_MAX : CONSENT_SECONDS_MAX))
            return false;
        *place = number;
    }
    if (!is_at_end(text) || (remember.uses == 0 && remember.seconds == 0))
        return false;
    *ret_remember = remember;
    return true;
}

bool
consent_words_read_numbers(const char *text, size_t count, bool *ret_chosen)
{
    bool is_any = false;
    char word[8];

    memset(ret_chosen, 0, count * sizeof(*ret_chosen));
    while (next_word(&text, word, sizeof(word))) {
        unsigned long number;

        if (strspn(word, "0123456789") != strlen(word))
            return false;
        number = strtoul(word, NULL, 10);
        if (number < 1 || number > count)
            return false;
        ret_chosen[number - 1] = true;
        is_any = true;
    }
    return is_any && is_at_end(text);
}

void
consent_words_while(const struct consent_while *remember, struct ath_buf *out)
{
    if (remember->uses > 0)
        ath_buf_printf(out, "%" PRId64 " time%s", remember->uses, remember->uses == 1 ? "" : "s");
    if (remember->uses > 0 && remember->seconds > 0)
        ath_buf_put_string(out, ", ");
    if (remember->seconds > 0) {
        ath_buf_put_string(out, "for ");
        cmd_print_duration(remember->seconds, out);
    }
    if (remember->seconds == 0)
        ath_buf_printf(out, ", within %d h", CONSENT_SECONDS_MAX / 3600);
    if (remember->uses == 0)
        ath_buf_printf(out, ", at most %d times", CONSENT_USES_MAX);
}
