#include "pinentry/pinentry_steps.h"

#include <stdlib.h>

#define PAGE_MAX 900u /* bytes of a description's page, escaped */

static const char different[] = "They are not the same";

/* ---- lines ---- */

static void
put_escaped(struct ath_buf *line, struct ath_slice text)
{
    size_t i;

    for (i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];

        if (byte == '%' || byte < 0x20 || byte == 0x7F)
            ath_buf_printf(line, "%%%02X", byte);
        else
            ath_buf_put_byte(line, byte);
    }
}

static size_t
escaped_len(uint8_t byte)
{
    return byte == '%' || byte < 0x20 || byte == 0x7F ? 3 : 1;
}

static ath_err
add_step(struct pinentry *pinentry, enum step_kind kind, const char *command, struct ath_slice text)
{
    struct ath_buf line = {.max = PINENTRY_LINE_MAX + 1};
    ath_err err;

    if (pinentry->count == PINENTRY_STEPS_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    ath_buf_put_string(&line, command);
    put_escaped(&line, text);
    ath_buf_put_byte(&line, '\n');
    if ((err = line.err) == ATH_OK) {
        struct step *step = &pinentry->steps[pinentry->count];

        *step = (struct step){ath_slice_dup(ath_buf_slice(&line)), kind, pinentry->count + 1};
        err = step->line == NULL ? ATH_ERR_NOMEM : ATH_OK;
        pinentry->count += err == ATH_OK;
    }
    ath_buf_done(&line);
    return err;
}

static ath_err
add_text(struct pinentry *pinentry, enum step_kind kind, const char *command, const char *text)
{
    return text == NULL ? ATH_OK : add_step(pinentry, kind, command, ath_slice_of_string(text));
}

/* How much of `rest` fits on a page: whole lines where possible, never half a character. */
static size_t
page_len(struct ath_slice rest, size_t room)
{
    size_t used = 0, len, after_line = 0;

    for (len = 0; len < rest.len && used + escaped_len(rest.data[len]) <= room; len++) {
        used += escaped_len(rest.data[len]);
        if (rest.data[len] == '\n')
            after_line = len + 1;
    }
    if (len == rest.len)
        return len;
    if (after_line > 0)
        return after_line;
    while (len > 1 && (rest.data[len] & 0xC0) == 0x80) /* a continuation byte, RFC 3629 section 3 */
        len--;
    return len;
}

static unsigned
count_pages(struct ath_slice text)
{
    unsigned pages = 0;

    do {
        size_t len = page_len(text, PAGE_MAX);

        text = ath_slice_of(text.data + len, text.len - len);
        pages++;
    } while (text.len > 0);
    return pages;
}

static ath_err
add_page(struct pinentry *pinentry, struct ath_slice text, unsigned page, unsigned pages)
{
    struct ath_buf description = {.max = PINENTRY_LINE_MAX};
    ath_err err;

    if (pages > 1)
        ath_buf_printf(&description, "(%u of %u) ", page, pages);
    ath_buf_put_slice(&description, text);
    err = description.err;
    if (err == ATH_OK)
        err = add_step(pinentry, STEP_REQUIRED, "SETDESC ", ath_buf_slice(&description));
    ath_buf_done(&description);
    return err;
}

/* The description; every page but the last is confirmed. */
static ath_err
add_pages(struct pinentry *pinentry, const char *description)
{
    struct ath_slice rest = ath_slice_of_string(description);
    unsigned page, pages = count_pages(rest);
    ath_err err = pages > PINENTRY_PAGES_MAX ? ATH_ERR_LIMIT_EXCEEDED : ATH_OK;

    for (page = 1; page <= pages && err == ATH_OK; page++) {
        size_t len = page_len(rest, PAGE_MAX);

        err = add_page(pinentry, ath_slice_of(rest.data, len), page, pages);
        if (err == ATH_OK && page < pages)
            err = add_step(pinentry, STEP_CONFIRM, "CONFIRM", ath_slice_of(NULL, 0));
        rest = ath_slice_of(rest.data + len, rest.len - len);
    }
    return err;
}

/* ---- a new PIN ---- */

/* Some prompters ask again by themselves when they are told SETREPEAT, and say so ("S
 * PIN_REPEATED": pinentry-tty, -gtk, -qt). Where one does not (pinentry-curses), we ask again. */
static ath_err
add_repeat(struct pinentry *pinentry)
{
    ath_err err = add_text(pinentry, STEP_OPTIONAL, "SETREPEAT ", "Again:");

    return err != ATH_OK ? err : add_text(pinentry, STEP_OPTIONAL, "SETREPEATERROR ", different);
}

/* Behind GETPIN: the second time, and the ways back to where the first begins. */
static ath_err
add_second_time(struct pinentry *pinentry, const struct pinentry_question *question, size_t first)
{
    struct new_pin *new_pin = &pinentry->new_pin;
    struct ath_buf length = {.max = 128};
    ath_err err;

    ath_buf_printf(&length, "It must have %u to %u characters", question->new_min,
                   question->new_max);
    new_pin->again_at = pinentry->count;
    if ((err = length.err) == ATH_OK &&
        (err = add_text(pinentry, STEP_REQUIRED, "SETDESC ", question->again)) == ATH_OK &&
        (err = add_step(pinentry, STEP_GETPIN_AGAIN, "GETPIN", ath_slice_of(NULL, 0))) == ATH_OK) {
        new_pin->different_at = pinentry->count;
        err = add_text(pinentry, STEP_OPTIONAL, "SETERROR ", different);
    }
    if (err == ATH_OK) {
        new_pin->length_at = pinentry->count;
        err = add_step(pinentry, STEP_OPTIONAL, "SETERROR ", ath_buf_slice(&length));
    }
    if (err == ATH_OK) {
        pinentry->steps[new_pin->different_at].then = first;
        pinentry->steps[new_pin->length_at].then = first;
    }
    ath_buf_done(&length);
    return err;
}

static ath_err
add_question(struct pinentry *pinentry, const struct pinentry_question *question)
{
    const struct ath_slice nothing = ath_slice_of(NULL, 0);
    size_t last_page = pinentry->count - 1;
    ath_err err;

    if (!question->asks_pin)
        return add_step(pinentry, STEP_CONFIRM, "CONFIRM", nothing);
    if (question->new_max == 0)
        return add_step(pinentry, STEP_GETPIN, "GETPIN", nothing);
    if ((err = add_repeat(pinentry)) != ATH_OK ||
        (err = add_step(pinentry, STEP_GETPIN, "GETPIN", nothing)) != ATH_OK)
        return err;
    return add_second_time(pinentry, question, last_page);
}

static ath_err
add_timeout(struct pinentry *pinentry, unsigned seconds)
{
    struct ath_buf text = {.max = 32};
    ath_err err;

    ath_buf_printf(&text, "%u", seconds);
    err = text.err;
    if (err == ATH_OK)
        err = add_step(pinentry, STEP_OPTIONAL, "SETTIMEOUT ", ath_buf_slice(&text));
    ath_buf_done(&text);
    return err;
}

/* ---- the whole ---- */

ath_err
pinentry_steps_plan(struct pinentry *pinentry, const struct pinentry_question *question)
{
    const char *prompt = question->prompt != NULL ? question->prompt : question->title;
    ath_err err;

    if ((err = add_text(pinentry, STEP_OPTIONAL, "OPTION ttyname=", question->ttyname)) == ATH_OK &&
        (err = add_text(pinentry, STEP_OPTIONAL, "OPTION ttytype=", question->ttytype)) == ATH_OK &&
        (err = add_text(pinentry, STEP_OPTIONAL, "OPTION lc-ctype=", question->lc_ctype)) ==
            ATH_OK &&
        (err = add_text(pinentry, STEP_OPTIONAL, "SETTITLE ", question->title)) == ATH_OK &&
        (err = add_text(pinentry, STEP_OPTIONAL, "SETPROMPT ", prompt)) == ATH_OK &&
        (err = add_text(pinentry, STEP_OPTIONAL, "SETERROR ", question->error)) == ATH_OK &&
        (err = add_text(pinentry, STEP_OPTIONAL, "SETOK ", question->ok)) == ATH_OK &&
        (err = add_text(pinentry, STEP_OPTIONAL, "SETNOTOK ", question->not_ok)) == ATH_OK &&
        (err = add_timeout(pinentry, question->timeout_s)) == ATH_OK &&
        (err = add_pages(pinentry, question->description)) == ATH_OK)
        err = add_question(pinentry, question);
    return err;
}

void
pinentry_steps_free(struct pinentry *pinentry)
{
    for (size_t i = 0; i < pinentry->count; i++)
        free(pinentry->steps[i].line);
}
