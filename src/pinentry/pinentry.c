#include "pinentry/pinentry.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define PAGE_MAX 900u /* bytes of a description's page, escaped */
#define STEPS_MAX (9u + 2u * PINENTRY_PAGES_MAX)
#define IN_MAX (PINENTRY_LINE_MAX + 2u) /* a line with its CR */
#define HEARD_MAX 65536u /* bytes a prompter may say, comments and status lines included */

/* libgpg-error's codes; the upper byte of what comes over the wire says which program it is from.
 */
#define CODE_MASK 0xFFFFu
#define CODE_TIMEOUT 62u
#define CODE_CANCELED 99u
#define CODE_NOT_CONFIRMED 114u
#define CODE_FULLY_CANCELED 198u

enum step_kind {
    STEP_OPTIONAL, /* prompters may not know it */
    STEP_REQUIRED, /* without it the person would be asked something else */
    STEP_CONFIRM,
    STEP_GETPIN,
};

struct pinentry {
    char *lines[STEPS_MAX]; /* commands with their line ends, owned */
    enum step_kind kinds[STEPS_MAX];
    size_t count;
    size_t next; /* the step to be sent; the one before it waits for its answer */
    uint8_t *in; /* IN_MAX bytes: the line that is coming in; points into locked_in for a PIN */
    size_t in_len;
    struct ath_secret locked_in;
    struct ath_secret
        pin; /* PINENTRY_PIN_MAX bytes, of which pin_len hold; none: yes is asked for */
    size_t pin_len;
    size_t heard;
    bool is_unread; /* our last command has not been taken from the pipe yet */
    bool is_greeted;
    bool is_done;
    struct why complaint;
};

/* ---- our commands ---- */

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

    if (pinentry->count == STEPS_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    ath_buf_put_string(&line, command);
    put_escaped(&line, text);
    ath_buf_put_byte(&line, '\n');
    if ((err = line.err) == ATH_OK) {
        pinentry->lines[pinentry->count] = ath_slice_dup(ath_buf_slice(&line));
        pinentry->kinds[pinentry->count] = kind;
        err = pinentry->lines[pinentry->count] == NULL ? ATH_ERR_NOMEM : ATH_OK;
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
add_question(struct pinentry *pinentry, bool is_last)
{
    struct ath_slice nothing = ath_slice_of(NULL, 0);

    if (is_last && pinentry->pin.data != NULL)
        return add_step(pinentry, STEP_GETPIN, "GETPIN", nothing);
    return add_step(pinentry, STEP_CONFIRM, "CONFIRM", nothing);
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
    if (err == ATH_OK)
        err = add_question(pinentry, page == pages);
    ath_buf_done(&description);
    return err;
}

static ath_err
add_pages(struct pinentry *pinentry, const char *description)
{
    struct ath_slice rest = ath_slice_of_string(description);
    unsigned page, pages = count_pages(rest);
    ath_err err = pages > PINENTRY_PAGES_MAX ? ATH_ERR_LIMIT_EXCEEDED : ATH_OK;

    for (page = 1; page <= pages && err == ATH_OK; page++) {
        size_t len = page_len(rest, PAGE_MAX);

        err = add_page(pinentry, ath_slice_of(rest.data, len), page, pages);
        rest = ath_slice_of(rest.data + len, rest.len - len);
    }
    return err;
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

static ath_err
add_all(struct pinentry *pinentry, const struct pinentry_question *question)
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
        (err = add_timeout(pinentry, question->timeout_s)) == ATH_OK)
        err = add_pages(pinentry, question->description);
    return err;
}

static ath_err
make_room(struct pinentry *pinentry, bool asks_pin)
{
    ath_err err;

    if (!asks_pin) {
        pinentry->in = calloc(1, IN_MAX);
        return pinentry->in == NULL ? ATH_ERR_NOMEM : ATH_OK;
    }
    if ((err = ath_secret_init(&pinentry->locked_in, IN_MAX)) == ATH_OK &&
        (err = ath_secret_init(&pinentry->pin, PINENTRY_PIN_MAX)) == ATH_OK)
        pinentry->in = pinentry->locked_in.data;
    return err;
}

ath_err
pinentry_new(const struct pinentry_question *question, struct pinentry **ret_pinentry)
{
    struct pinentry *pinentry = calloc(1, sizeof(*pinentry));
    ath_err err = ATH_ERR_NOMEM;

    if (pinentry == NULL)
        return err;
    if ((err = make_room(pinentry, question->asks_pin)) == ATH_OK)
        err = add_all(pinentry, question);
    if (err != ATH_OK) {
        pinentry_free(pinentry);
        return err;
    }
    *ret_pinentry = pinentry;
    return ATH_OK;
}

void
pinentry_free(struct pinentry *pinentry)
{
    size_t i;

    if (pinentry == NULL)
        return;
    for (i = 0; i < pinentry->count; i++)
        free(pinentry->lines[i]);
    if (pinentry->in != pinentry->locked_in.data)
        free(pinentry->in);
    ath_secret_done(&pinentry->locked_in);
    ath_secret_done(&pinentry->pin);
    free(pinentry);
}

bool
pinentry_is_done(const struct pinentry *pinentry)
{
    return pinentry->is_done;
}

const char *
pinentry_complaint(const struct pinentry *pinentry)
{
    return pinentry->complaint.text;
}

ath_err
pinentry_take_pin(struct pinentry *pinentry, struct ath_secret *ret_pin)
{
    if (!pinentry->is_done || pinentry->pin_len == 0)
        return ATH_ERR_NOT_FOUND;
    return ath_secret_from(ath_slice_of(pinentry->pin.data, pinentry->pin_len), ret_pin);
}

/* ---- the prompter's answers ---- */

static void
send_next(struct pinentry *pinentry, struct ath_buf *out)
{
    if (pinentry->next < pinentry->count) {
        ath_buf_put_string(out, pinentry->lines[pinentry->next++]);
        return;
    }
    pinentry->is_done = true;
    ath_buf_put_string(out, "BYE\n");
}

/* "ERR 83886179 Operation cancelled <Pinentry>" */
static ath_err
error_of(struct ath_slice line)
{
    unsigned long code = 0;
    size_t i;

    for (i = strlen("ERR "); i < line.len && line.data[i] >= '0' && line.data[i] <= '9'; i++) {
        if (code > UINT32_MAX / 10)
            return ATH_ERR_NO_PROMPTER;
        code = code * 10 + (unsigned long)(line.data[i] - '0');
    }
    switch (code & CODE_MASK) {
    case CODE_NOT_CONFIRMED:
    case CODE_CANCELED:
    case CODE_FULLY_CANCELED:
        return ATH_ERR_USER_DENIED;
    case CODE_TIMEOUT:
        return ATH_ERR_CONSENT_TIMEOUT;
    default:
        return ATH_ERR_NO_PROMPTER;
    }
}

/* Does the line consist of this word, alone or with more behind a space? */
static bool
begins_with_word(struct ath_slice line, const char *word)
{
    size_t len = strlen(word);

    return line.len >= len && memcmp(line.data, word, len) == 0 &&
           (line.len == len || line.data[len] == ' ');
}

/* The byte of an escape, "%25", that begins at `at`; -1: it is none. */
static int
escaped_byte(struct ath_slice line, size_t at)
{
    int high = line.len - at < 3 ? -1 : hex_digit(line.data[at + 1]);
    int low = high < 0 ? -1 : hex_digit(line.data[at + 2]);

    return low < 0 ? -1 : high << 4 | low;
}

/* "D 12%2534": more of the PIN (Assuan, "Server responses"). */
static ath_err
take_data(struct pinentry *pinentry, struct ath_slice line)
{
    size_t i;

    for (i = strlen("D "); i < line.len; i++) {
        int byte = line.data[i];

        if (byte == '%') {
            byte = escaped_byte(line, i);
            i += 2;
        }
        if (byte <= 0 || pinentry->pin_len == PINENTRY_PIN_MAX)
            return why_set(&pinentry->complaint, ATH_ERR_NO_PROMPTER,
                           "what it gave is no PIN of 1 to %u bytes", PINENTRY_PIN_MAX);
        pinentry->pin.data[pinentry->pin_len++] = (uint8_t)byte;
    }
    return ATH_OK;
}

static bool
waits_for_pin(const struct pinentry *pinentry)
{
    return pinentry->next > 0 && pinentry->kinds[pinentry->next - 1] == STEP_GETPIN;
}

/* The answer to the command that was said last. */
static ath_err
take_answer(struct pinentry *pinentry, struct ath_slice line, struct ath_buf *out)
{
    enum step_kind waiting = pinentry->kinds[pinentry->next - 1];

    if (begins_with_word(line, "ERR")) {
        if (waiting == STEP_CONFIRM || waiting == STEP_GETPIN)
            return error_of(line);
        if (waiting == STEP_REQUIRED)
            return ATH_ERR_NO_PROMPTER;
    } else if (!begins_with_word(line, "OK")) {
        return ATH_ERR_NO_PROMPTER; /* INQUIRE, or not this protocol */
    } else if (waiting == STEP_GETPIN && pinentry->pin_len == 0) {
        return why_set(&pinentry->complaint, ATH_ERR_USER_DENIED, "no PIN was given");
    }
    send_next(pinentry, out);
    return out->err;
}

/* has_asked: a command lies in `out` that the prompter cannot have seen yet. */
static ath_err
take_line(struct pinentry *pinentry, struct ath_slice line, bool has_asked, struct ath_buf *out)
{
    bool is_early = has_asked || pinentry->is_unread;

    if (line.len > 0 && line.data[0] == '#')
        return ATH_OK; /* a comment */
    if (begins_with_word(line, "D") && waits_for_pin(pinentry) && !is_early)
        return take_data(pinentry, line);
    if (begins_with_word(line, "S") || begins_with_word(line, "D"))
        return ATH_OK; /* status, data: nothing we asked for */
    if (is_early)
        return ATH_ERR_NO_PROMPTER; /* who answers before the question has not read it */
    if (pinentry->is_greeted)
        return take_answer(pinentry, line, out);
    if (!begins_with_word(line, "OK"))
        return ATH_ERR_NO_PROMPTER;
    pinentry->is_greeted = true;
    send_next(pinentry, out);
    return out->err;
}

void
pinentry_note_unread(struct pinentry *pinentry, bool is_unread)
{
    pinentry->is_unread = is_unread;
}

/* What a line said that was no answer goes to the log, unless a PIN may stand in it. */
static void
note_complaint(struct pinentry *pinentry, struct ath_slice line)
{
    if (pinentry->complaint.text[0] == '\0' && line.len > 0 &&
        (!waits_for_pin(pinentry) || begins_with_word(line, "ERR")))
        (void)why_set(&pinentry->complaint, ATH_ERR_NO_PROMPTER, "%.*s", (int)line.len,
                      (const char *)line.data);
}

static ath_err
take_in_line(struct pinentry *pinentry, bool has_asked, struct ath_buf *out)
{
    struct ath_slice line = ath_slice_of(pinentry->in, pinentry->in_len);
    ath_err err;

    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    err = take_line(pinentry, line, has_asked, out);
    if (err == ATH_ERR_NO_PROMPTER)
        note_complaint(pinentry, line);
    explicit_bzero(pinentry->in, pinentry->in_len);
    pinentry->in_len = 0;
    return err;
}

ath_err
pinentry_receive(struct pinentry *pinentry, struct ath_slice bytes, struct ath_buf *out)
{
    size_t i, before = out->len;
    ath_err err = ATH_OK;

    pinentry->heard += bytes.len;
    if (pinentry->heard > HEARD_MAX)
        return ATH_ERR_NO_PROMPTER;
    for (i = 0; i < bytes.len && err == ATH_OK && !pinentry->is_done; i++) {
        if (bytes.data[i] == '\n')
            err = take_in_line(pinentry, out->len > before, out);
        else if (pinentry->in_len == IN_MAX)
            err = ATH_ERR_NO_PROMPTER;
        else
            pinentry->in[pinentry->in_len++] = bytes.data[i];
    }
    return err;
}
