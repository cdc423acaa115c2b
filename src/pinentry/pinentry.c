#include "pinentry/pinentry.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "pinentry/pinentry_steps.h"

#define IN_MAX (PINENTRY_LINE_MAX + 2u) /* a line with its CR */
#define HEARD_MAX 65536u /* bytes a prompter may say, comments and status lines included */
#define NEW_TRIES 3u     /* of a new PIN that is too short, or not the same the second time */

/* libgpg-error's codes; the upper byte of what comes over the wire says which program it is from.
 */
#define CODE_MASK 0xFFFFu
#define CODE_TIMEOUT 62u
#define CODE_CANCELED 99u
#define CODE_NOT_CONFIRMED 114u
#define CODE_FULLY_CANCELED 198u

static ath_err
make_room(struct pinentry *pinentry, const struct pinentry_question *question)
{
    ath_err err;

    if (!question->asks_pin) {
        pinentry->in = calloc(1, IN_MAX);
        return pinentry->in == NULL ? ATH_ERR_NOMEM : ATH_OK;
    }
    if ((err = ath_secret_init(&pinentry->locked_in, IN_MAX)) == ATH_OK &&
        (err = ath_secret_init(&pinentry->pin, PINENTRY_PIN_MAX)) == ATH_OK)
        pinentry->in = pinentry->locked_in.data;
    if (err == ATH_OK && question->new_max > 0)
        err = ath_secret_init(&pinentry->new_pin.first, PINENTRY_PIN_MAX);
    pinentry->new_pin.min = question->new_min;
    pinentry->new_pin.max = question->new_max;
    return err;
}

ath_err
pinentry_new(const struct pinentry_question *question, struct pinentry **ret_pinentry)
{
    struct pinentry *pinentry = calloc(1, sizeof(*pinentry));
    ath_err err = ATH_ERR_NOMEM;

    if (pinentry == NULL)
        return err;
    if ((err = make_room(pinentry, question)) == ATH_OK)
        err = pinentry_steps_plan(pinentry, question);
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
    if (pinentry == NULL)
        return;
    pinentry_steps_free(pinentry);
    if (pinentry->in != pinentry->locked_in.data)
        free(pinentry->in);
    ath_secret_done(&pinentry->locked_in);
    ath_secret_done(&pinentry->pin);
    ath_secret_done(&pinentry->new_pin.first);
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
        const struct step *step = &pinentry->steps[pinentry->next];

        ath_buf_put_string(out, step->line);
        pinentry->asked = pinentry->next;
        pinentry->next = step->then;
        pinentry->has_asked = true;
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
    enum step_kind waiting = pinentry->steps[pinentry->asked].kind;

    return pinentry->has_asked && (waiting == STEP_GETPIN || waiting == STEP_GETPIN_AGAIN);
}

/* ---- a new PIN ---- */

/* From the beginning, with a word of why; a few times. */
static ath_err
ask_anew(struct pinentry *pinentry, size_t step)
{
    struct new_pin *new_pin = &pinentry->new_pin;

    if (++new_pin->refused == NEW_TRIES && step == new_pin->length_at)
        return why_set(&pinentry->complaint, ATH_ERR_USER_DENIED,
                       "no PIN of %zu to %zu bytes was given", new_pin->min, new_pin->max);
    if (new_pin->refused == NEW_TRIES)
        return why_set(&pinentry->complaint, ATH_ERR_USER_DENIED,
                       "the PIN was not the same when it was entered again");
    explicit_bzero(pinentry->pin.data, pinentry->pin.len);
    explicit_bzero(new_pin->first.data, new_pin->first.len);
    pinentry->pin_len = new_pin->first_len = 0;
    new_pin->is_repeated = false;
    pinentry->next = step;
    return ATH_OK;
}

/* GETPIN has been answered. */
static ath_err
take_new_pin(struct pinentry *pinentry)
{
    struct new_pin *new_pin = &pinentry->new_pin;
    struct ath_secret entered = pinentry->pin;
    bool is_second = pinentry->steps[pinentry->asked].kind == STEP_GETPIN_AGAIN;

    if (!is_second && (pinentry->pin_len < new_pin->min || pinentry->pin_len > new_pin->max))
        return ask_anew(pinentry, new_pin->length_at);
    if (is_second && (pinentry->pin_len != new_pin->first_len ||
                      !bytes_equal_secret(entered.data, new_pin->first.data, entered.len)))
        return ask_anew(pinentry, new_pin->different_at);
    if (is_second || new_pin->is_repeated) {
        pinentry->next = pinentry->count;
        return ATH_OK;
    }
    pinentry->pin =
        new_pin->first; /* empty; both are PINENTRY_PIN_MAX bytes, wiped behind the PIN */
    new_pin->first = entered;
    new_pin->first_len = pinentry->pin_len;
    pinentry->pin_len = 0;
    return ATH_OK;
}

/* The answer to the command that was said last. */
static ath_err
take_answer(struct pinentry *pinentry, struct ath_slice line, struct ath_buf *out)
{
    enum step_kind waiting = pinentry->steps[pinentry->asked].kind;
    ath_err err;

    if (begins_with_word(line, "ERR")) {
        if (waiting == STEP_CONFIRM || waits_for_pin(pinentry))
            return error_of(line);
        if (waiting == STEP_REQUIRED)
            return ATH_ERR_NO_PROMPTER;
    } else if (!begins_with_word(line, "OK")) {
        return ATH_ERR_NO_PROMPTER; /* INQUIRE, or not this protocol */
    } else if (waits_for_pin(pinentry) && pinentry->pin_len == 0) {
        return why_set(&pinentry->complaint, ATH_ERR_USER_DENIED, "no PIN was given");
    } else if (waits_for_pin(pinentry) && pinentry->new_pin.max > 0 &&
               (err = take_new_pin(pinentry)) != ATH_OK) {
        return err;
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
    if (begins_with_word(line, "S PIN_REPEATED") && waits_for_pin(pinentry) && !is_early)
        pinentry->new_pin.is_repeated = true;
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
