/* The words of a question. What strangers chose stands in quotes, is cut at 256 characters, and can
 * neither begin a line of its own nor change the direction of ours. */
#include <inttypes.h>
#include <unistd.h>

#include "athd/consent.h"
#include "base/utf8.h"

#define STRANGER_MAX_CHARACTERS 256u
#define DAY_S 86400
#define HOUR_S 3600
#define MINUTE_S 60

/* What must not reach a screen as it is becomes its number, \u{202e}. */
static void
put_visible(struct ath_buf *text, const char *words, size_t max_characters, bool quoted)
{
    struct ath_slice rest = ath_slice_of_string(words);
    size_t count;

    for (count = 0; rest.len > 0 && count < max_characters; count++) {
        uint32_t code_point = 0;
        size_t len = utf8_next(rest, &code_point);

        if (len == 0)
            ath_buf_printf(text, "\\x{%02x}", rest.data[0]);
        else if (utf8_is_harmful(code_point))
            ath_buf_printf(text, "\\u{%04" PRIx32 "}", code_point);
        else if (quoted && (code_point == '"' || code_point == '\\'))
            ath_buf_printf(text, "\\%c", (char)code_point);
        else
            ath_buf_put(text, rest.data, len);
        len = len == 0 ? 1 : len;
        rest = ath_slice_of(rest.data + len, rest.len - len);
    }
    if (rest.len > 0)
        ath_buf_put_string(text, "...");
}

static void
put_words(struct ath_buf *text, const char *words, enum consent_text_kind kind)
{
    bool is_stranger = kind == CONSENT_STRANGER;

    if (is_stranger)
        ath_buf_put_byte(text, '"');
    put_visible(text, words, is_stranger ? STRANGER_MAX_CHARACTERS : SIZE_MAX, is_stranger);
    if (is_stranger)
        ath_buf_put_byte(text, '"');
}

void
consent_text_title(struct consent_text *text, const char *title)
{
    put_visible(&text->text, title, SIZE_MAX, false);
    ath_buf_put_string(&text->text, "\n\n");
}

void
consent_text_line(struct consent_text *text, const char *label, const char *value,
                  enum consent_text_kind kind)
{
    if (value == NULL)
        return;
    ath_buf_printf(&text->text, "%s: ", label);
    put_words(&text->text, value, kind);
    ath_buf_put_byte(&text->text, '\n');
}

/* What was said of a process holds while it is that one: else its name would speak for whoever has
 * its connection now. */
static void
put_process(struct ath_buf *text, const struct caller *caller)
{
    if (caller->is_proven && !caller_is_still(caller)) {
        ath_buf_put_string(text, ", which has ended, or runs another program by now");
        return;
    }
    if (caller->exe[0] != '\0') {
        ath_buf_put_string(text, ", ");
        put_words(text, caller->exe, CONSENT_STRANGER); /* a path anybody may choose */
    }
    if (caller->unit[0] != '\0') {
        ath_buf_put_string(text, ", unit ");
        put_words(text, caller->unit, CONSENT_STRANGER);
    }
}

void
consent_text_caller(struct consent_text *text, const struct caller *caller)
{
    if (caller->pid != 0) {
        ath_buf_put_string(&text->text, "Asked by: process ");
        text->pid_at = text->text.len;
        ath_buf_printf(&text->text, "%ld", (long)caller->pid);
        text->pid_len = text->text.len - text->pid_at;
    } else {
        ath_buf_put_string(&text->text, "Asked by: a process that cannot be seen from here");
    }
    put_process(&text->text, caller);
    if (caller->name_space == CALLER_OTHER)
        ath_buf_put_string(&text->text, ", in a container");
    if (caller->uid != geteuid())
        ath_buf_printf(&text->text, ", user %lu", (unsigned long)caller->uid);
    ath_buf_put_byte(&text->text, '\n');
    if (caller->grant[0] != '\0')
        consent_text_line(text, "By its grant", caller->grant, CONSENT_OURS);
}

void
consent_text_scopes(struct consent_text *text, const char *label, const struct scope_list *scopes)
{
    size_t i;

    ath_buf_printf(&text->text, "%s:\n", label);
    for (i = 0; i < scopes->count; i++) {
        ath_buf_put_string(&text->text, "  ");
        put_words(&text->text, scopes->items[i], CONSENT_STRANGER);
        ath_buf_put_byte(&text->text, '\n');
    }
    if (scopes->count == 0)
        ath_buf_put_string(&text->text, "  none\n");
}

static void
put_part(struct ath_buf *text, int64_t count, const char *unit, bool *first)
{
    if (count == 0)
        return;
    ath_buf_printf(text, "%s%" PRId64 " %s%s", *first ? "" : " ", count, unit,
                   count == 1 ? "" : "s");
    *first = false;
}

void
consent_text_duration(struct consent_text *text, const char *label, int64_t seconds)
{
    bool first = true;

    ath_buf_printf(&text->text, "%s: ", label);
    put_part(&text->text, seconds / DAY_S, "day", &first);
    put_part(&text->text, seconds % DAY_S / HOUR_S, "hour", &first);
    put_part(&text->text, seconds % HOUR_S / MINUTE_S, "minute", &first);
    put_part(&text->text, seconds % MINUTE_S, "second", &first);
    ath_buf_put_string(&text->text, first ? "0 seconds\n" : "\n");
}

void
consent_text_done(struct consent_text *text)
{
    ath_buf_done(&text->text);
}
