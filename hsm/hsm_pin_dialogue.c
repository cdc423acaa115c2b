#include "hsm/hsm_pin_dialogue.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "pinentry/pinentry.h"

#define READ_LEN 1024u
#define GRACE_MS 1000u /* the prompter has a timer of its own, which is to end first */

struct dialogue {
    int fd, cancel_fd;
    uint64_t ends_at_ms;
    struct pinentry *pinentry;
    struct ath_secret in; /* what is read may hold the PIN */
    struct ath_buf out;
    struct why *why;
};

/* ---- the question ---- */

/* Without what could turn, hide or end lines; LF stays where lines are expected. */
static void
put_harmless(struct ath_buf *out, struct ath_slice text, bool has_lines)
{
    while (text.len > 0) {
        uint32_t code_point = 0;
        size_t len = utf8_next(text, &code_point);

        if ((has_lines && code_point == '\n' && len == 1) ||
            (len > 0 && !utf8_is_harmful(code_point)))
            ath_buf_put(out, text.data, len);
        else
            ath_buf_put_byte(out, '?');
        len = len == 0 ? 1 : len;
        text = ath_slice_of(text.data + len, text.len - len);
    }
}

static void
put_fact(struct ath_buf *out, const char *before, const char *fact)
{
    if (fact[0] == '\0')
        return;
    ath_buf_put_string(out, before);
    put_harmless(out, ath_slice_of_string(fact), false);
    ath_buf_put_string(out, "\n");
}

static void
put_token(struct ath_buf *out, const struct hsm_info *info)
{
    put_fact(out, "Token: ", info->label[0] != '\0' ? info->label : "(without a label)");
    put_fact(out, "Made by: ", info->manufacturer);
    put_fact(out, "Serial number: ", info->serial);
}

/* The TPM is the machine's, and there is one; which key it is says the text. */
static void
put_tpm(struct ath_buf *out, const struct hsm_info *info, bool is_new)
{
    const char *where = info->software ? "software TPM" : "TPM";

    if (is_new)
        ath_buf_printf(out, "Choose a PIN for a new key in the %s: %u to %u characters\n", where,
                       HSM_PIN_MIN, HSM_PIN_MAX);
    else
        ath_buf_printf(out, "The PIN of a key in the %s\n", where);
}

void
pin_question_put_description(struct ath_buf *out, const struct hsm_info *info,
                             struct ath_slice text, bool is_new)
{
    if (strcmp(info->kind, "tpm") == 0)
        put_tpm(out, info, is_new);
    else
        put_token(out, info);
    if (info->tries_left == 1)
        ath_buf_put_string(out, "Only 1 try is left: a wrong PIN locks the token.\n");
    else if (info->tries_left > 1)
        ath_buf_printf(out, "%u tries are left before the token locks.\n", info->tries_left);
    ath_buf_put_string(out, "\n");
    put_harmless(out, text, true);
}

/* ---- talking ---- */

static ath_err
failed(struct dialogue *dialogue, const char *reason)
{
    const char *complaint = pinentry_complaint(dialogue->pinentry);

    if (complaint[0] != '\0')
        return why_set(dialogue->why, ATH_ERR_NO_PROMPTER,
                       "the prompter does not work (has athd a terminal, GPG_TTY, or a display?); "
                       "it said: %s",
                       complaint);
    return why_set(dialogue->why, ATH_ERR_NO_PROMPTER, "the prompter does not work: %s", reason);
}

/* Waits for the prompter. */
static ath_err
wait_readable(struct dialogue *dialogue)
{
    struct pollfd items[2] = {{.fd = dialogue->fd, .events = POLLIN},
                              {.fd = dialogue->cancel_fd, .events = POLLIN}};
    uint64_t now = clock_monotonic_ms();
    int n;

    if (now >= dialogue->ends_at_ms)
        return ATH_ERR_CONSENT_TIMEOUT;
    n = poll(items, 2, (int)(dialogue->ends_at_ms - now));
    if (n < 0 && errno != EINTR)
        return ATH_ERR_NO_PROMPTER;
    if (n > 0 && items[1].revents != 0)
        return failed(dialogue, "the question was taken back");
    return ATH_OK;
}

/* Has it not even read the command that it answers? (unix(7): what lies unread with the peer.) */
static bool
has_unread(const struct dialogue *dialogue)
{
    int len = 0;

    return ioctl(dialogue->fd, SIOCOUTQ, &len) == 0 && len > 0;
}

/* A line at a time goes into an empty socket; a prompter that does not take it is not reading. */
static ath_err
say(struct dialogue *dialogue)
{
    ssize_t n = 0;

    if (dialogue->out.len > 0) {
        do {
            n = send(dialogue->fd, dialogue->out.data, dialogue->out.len,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
        } while (n < 0 && errno == EINTR);
        if (n != (ssize_t)dialogue->out.len && !pinentry_is_done(dialogue->pinentry))
            return failed(dialogue, "it does not read what it is told");
    }
    ath_buf_clear(&dialogue->out);
    return ATH_OK;
}

/* What there is to be heard, if there is anything; our buffer is wiped at once. */
static ath_err
hear(struct dialogue *dialogue)
{
    ssize_t n = recv(dialogue->fd, dialogue->in.data, dialogue->in.len, MSG_DONTWAIT);
    ath_err err;

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return ATH_OK;
    if (n <= 0)
        return failed(dialogue, "it ended before there was an answer; can it be run, and has it a "
                                "terminal (GPG_TTY) or a display?");
    pinentry_note_unread(dialogue->pinentry, has_unread(dialogue));
    err = pinentry_receive(dialogue->pinentry, ath_slice_of(dialogue->in.data, (size_t)n),
                           &dialogue->out);
    explicit_bzero(dialogue->in.data, (size_t)n);
    return err;
}

static ath_err
talk(struct dialogue *dialogue, struct ath_secret *ret_pin)
{
    ath_err err = ATH_OK;

    while (err == ATH_OK && !pinentry_is_done(dialogue->pinentry)) {
        if ((err = wait_readable(dialogue)) == ATH_OK && (err = hear(dialogue)) == ATH_OK)
            err = say(dialogue);
    }
    if (err == ATH_OK)
        return pinentry_take_pin(dialogue->pinentry, ret_pin);
    if (err == ATH_ERR_NO_PROMPTER && dialogue->why->text[0] == '\0')
        return failed(dialogue, "it speaks another protocol");
    if (err == ATH_ERR_USER_DENIED && pinentry_complaint(dialogue->pinentry)[0] != '\0')
        return why_set(dialogue->why, err, "%s", pinentry_complaint(dialogue->pinentry));
    return err;
}

static const char *
told(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : text;
}

ath_err
pin_dialogue_run(int fd, int cancel_fd, const struct pin_question *question, struct why *why,
                 struct ath_secret *ret_pin)
{
    uint64_t patience_ms = (uint64_t)question->timeout_s * 1000 + GRACE_MS;
    struct dialogue dialogue = {.fd = fd, .cancel_fd = cancel_fd, .why = why};
    const struct pinentry_question words = {.asks_pin = true,
                                            .new_min = question->is_new ? HSM_PIN_MIN : 0,
                                            .new_max = question->is_new ? HSM_PIN_MAX : 0,
                                            .again = "Enter the same PIN again",
                                            .title = "athd",
                                            .description = question->description,
                                            .prompt = "PIN:",
                                            .timeout_s = question->timeout_s,
                                            .ttyname = told(question->ttyname),
                                            .ttytype = told(question->ttytype),
                                            .lc_ctype = told(question->lc_ctype)};
    ath_err err;

    dialogue.ends_at_ms =
        clock_monotonic_ms() + (patience_ms < INT32_MAX ? patience_ms : INT32_MAX);
    dialogue.out.max = 4 * PINENTRY_LINE_MAX;
    *why = (struct why){""};
    if ((err = ath_secret_init(&dialogue.in, READ_LEN)) == ATH_OK &&
        (err = pinentry_new(&words, &dialogue.pinentry)) == ATH_OK)
        err = talk(&dialogue, ret_pin);
    pinentry_free(dialogue.pinentry);
    ath_secret_done(&dialogue.in);
    ath_buf_done(&dialogue.out);
    return err;
}
