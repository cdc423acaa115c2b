/* What is printed as it came, JSON and raw text, must not steer a terminal either. */
#include "ath_cmd.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"

/* Of a text that stands on a terminal, what JSON and PEM have in them. */
static bool
is_layout(uint32_t code_point)
{
    return code_point == '\n' || code_point == '\t';
}

/* `escape`: as JSON escapes (all that is harmful lies in the basic plane), else as '?'. */
static void
put_safe(const char *text, bool escape, struct ath_buf *out)
{
    struct ath_slice rest = ath_slice_of_string(text);

    while (rest.len > 0) {
        uint32_t code_point = 0;
        size_t len = utf8_next(rest, &code_point);

        if (len > 0 && (is_layout(code_point) || !utf8_is_harmful(code_point)))
            ath_buf_put(out, rest.data, len);
        else if (len > 0 && escape)
            ath_buf_printf(out, "\\u%04" PRIx32, code_point);
        else
            ath_buf_put_byte(out, '?');
        len = len == 0 ? 1 : len;
        rest = ath_slice_of(rest.data + len, rest.len - len);
    }
}

static void
print(const char *text, bool escape)
{
    struct ath_buf out = {0};

    if (isatty(STDOUT_FILENO) == 0) {
        fputs(text, stdout);
        return;
    }
    put_safe(text, escape, &out);
    fputs(ath_buf_text(&out) != NULL ? ath_buf_text(&out) : "", stdout);
    ath_buf_done(&out);
}

void
cmd_print_json(const char *json)
{
    print(json, true);
    printf("\n");
}

void
cmd_print_part(const char *text)
{
    if (text != NULL)
        print(text, false);
}

void
cmd_print_raw(const char *text)
{
    size_t len = text == NULL ? 0 : strlen(text);

    if (len == 0)
        return;
    print(text, false);
    if (text[len - 1] != '\n')
        printf("\n");
}
