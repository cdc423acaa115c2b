/* A prompter that says anything. First byte: whether a PIN is asked for (0x80), whether that is a
 * new one (0x40), and how the bytes are cut into reads; then a description, a zero byte, and what
 * the prompter says. Whatever that is, we say one command a line, in the order we planned, CONFIRM
 * and GETPIN only behind the description's pages, and take nothing for a yes but a yes, nothing for
 * a PIN but a PIN. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pinentry/pinentry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every line is a command of ours, whole, and not longer than Assuan allows. */
static void
check_commands(const struct ath_buf *out)
{
    static const char *const commands[] = {
        "OPTION ",     "SETTITLE ",       "SETPROMPT ", "SETOK ",   "SETNOTOK ",
        "SETTIMEOUT ", "SETDESC ",        "CONFIRM\n",  "GETPIN\n", "BYE\n",
        "SETREPEAT ",  "SETREPEATERROR ", "SETERROR "};
    size_t begin = 0, end, i;

    while (begin < out->len) {
        for (end = begin; end < out->len && out->data[end] != '\n'; end++)
            assert(out->data[end] >= 0x20 && out->data[end] != 0x7F);
        assert(end < out->len && end - begin <= PINENTRY_LINE_MAX);
        for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
            if (strncmp((const char *)out->data + begin, commands[i], strlen(commands[i])) == 0)
                break;
        assert(i < sizeof(commands) / sizeof(commands[0]));
        begin = end + 1;
    }
}

static unsigned
count_lines(struct ath_slice text, const char *line)
{
    size_t len = strlen(line), i;
    unsigned count = 0;

    for (i = 0; i + len <= text.len; i++)
        count += (i == 0 || text.data[i - 1] == '\n') && memcmp(text.data + i, line, len) == 0;
    return count;
}

/* There is a PIN if one was asked for and it is over well, and it was said in D lines. */
static void
check_pin(struct pinentry *pinentry, struct ath_slice said,
          const struct pinentry_question *question)
{
    bool has_pin = question->asks_pin && pinentry_is_done(pinentry);
    struct ath_secret pin = {NULL, 0};
    ath_err err = pinentry_take_pin(pinentry, &pin);

    assert(err == (has_pin ? ATH_OK : ATH_ERR_NOT_FOUND));
    assert(!has_pin || (pin.len >= 1 && pin.len <= PINENTRY_PIN_MAX &&
                        memchr(pin.data, '\0', pin.len) == NULL && count_lines(said, "D ") > 0));
    assert(!has_pin || question->new_max == 0 ||
           (pin.len >= question->new_min && pin.len <= question->new_max));
    ath_secret_done(&pin);
}

static void
talk(struct pinentry *pinentry, struct ath_slice said, size_t step,
     const struct pinentry_question *question)
{
    struct ath_buf out = {.max = 65536};
    struct ath_slice all = said;
    ath_err err = ATH_OK;

    while (err == ATH_OK && said.len > 0 && !pinentry_is_done(pinentry)) {
        size_t len = said.len < step ? said.len : step;

        err = pinentry_receive(pinentry, ath_slice_of(said.data, len), &out);
        said = ath_slice_of(said.data + len, said.len - len);
    }
    check_commands(&out);
    assert(err != ATH_OK || !pinentry_is_done(pinentry) ||
           count_lines(all, "OK") > count_lines(ath_buf_slice(&out), "CONFIRM"));
    assert(count_lines(ath_buf_slice(&out), "GETPIN") <= (question->new_max > 0 ? 6
                                                          : question->asks_pin  ? 1
                                                                                : 0));
    assert(err == ATH_OK || !pinentry_is_done(pinentry));
    check_pin(pinentry, all, question);
    ath_buf_done(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end;
    struct pinentry_question question = {
        .title = "athd", .ok = "Allow", .not_ok = "Deny", .timeout_s = 120};
    size_t step;
    struct pinentry *pinentry = NULL;
    char *description;

    if (size < 2 || (end = memchr(data + 1, '\0', size - 1)) == NULL)
        return 0;
    question.asks_pin = (data[0] & 0x80) != 0;
    if (question.asks_pin && (data[0] & 0x40) != 0) {
        question.new_min = 4;
        question.new_max = 32;
        question.again = "Again";
    }
    step = (size_t)(data[0] & 0x3F) + 1;
    description = ath_slice_dup(ath_slice_of(data + 1, (size_t)(end - data) - 1));
    question.description = question.ttyname = description;
    if (pinentry_new(&question, &pinentry) == ATH_OK)
        talk(pinentry, ath_slice_of(end + 1, size - (size_t)(end - data) - 1), step, &question);
    pinentry_free(pinentry);
    free(description);
    return 0;
}
