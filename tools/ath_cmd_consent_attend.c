/* `ath consent` at a terminal: athd on one side, the dialogue in the middle, keys on the other. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ath_cmd_consent.h"
#include "ath_cmd_consent_dialogue.h"
#include "ath_cmd_consent_pin.h"
#include "ath_cmd_consent_tty.h"
#include "base/clock.h"

#define READ_SIZE 4096       /* of a terminal's line */
#define PINENTRY_LOOK_MS 100 /* between looks whether it has gone */

struct attending {
    const struct cmd_context *context;
    struct ath_client *client;
    struct consent_dialogue *dialogue;
    bool is_stale; /* something has happened since the last list */
    uint64_t listed_ms;
    uint64_t empty_ms; /* when the terminal was seen last with nothing to read */
    bool has_terminal;
    char terminal[256]; /* its path; "": not known */
    int status;
};

static struct consent_moment
moment(void)
{
    struct consent_moment now = {.ms = clock_monotonic_ms(), .now = clock_now()};

    consent_tty_size(&now.columns, &now.rows);
    return now;
}

/* ---- athd ---- */

static ath_err
renew_list(struct attending *attending)
{
    struct consent_moment now;
    struct json *list = NULL;
    ath_err err = consent_list(attending->client, false, &list);

    if (err != ATH_OK)
        return err;
    now = moment();
    attending->is_stale = false;
    attending->listed_ms = now.ms;
    consent_dialogue_list(attending->dialogue, list, &now);
    return ATH_OK;
}

/* What has come from athd. */
static ath_err
take_events(struct attending *attending)
{
    ath_err err = ath_client_take_in(attending->client);

    while (err == ATH_OK && ath_client_events_kept(attending->client) > 0) {
        char *text = NULL;
        struct json *event;

        if ((err = ath_client_event(attending->client, &text)) != ATH_OK)
            break;
        if ((event = cmd_parse(text)) != NULL)
            consent_dialogue_event(attending->dialogue, event);
        attending->is_stale = true;
        json_free(event);
        ath_string_free(text);
    }
    return err;
}

static bool
has_pin(const struct json *list, const char *id)
{
    for (const struct json *item = json_first(json_get(list, "questions")); item != NULL;
         item = json_next(item)) {
        const char *other = json_get_string(item, "id");

        if (other != NULL && strcmp(other, id) == 0)
            return true;
    }
    return false;
}

/* Whether the PIN is still asked for. What athd has to say meanwhile is in the next list. */
static bool
is_asked(struct attending *attending, const char *id)
{
    struct json *list = NULL;
    bool is_there;

    attending->is_stale = true;
    if (take_events(attending) != ATH_OK || consent_list(attending->client, true, &list) != ATH_OK)
        return false;
    is_there = has_pin(list, id);
    json_free(list);
    return is_there;
}

/* The terminal is the pinentry's until it has gone; it has to go when nobody wants the PIN. */
static void
wait_for_pinentry(struct attending *attending, const char *id, struct consent_prompter *prompter)
{
    struct pollfd entry = {.fd = ath_client_fd(attending->client), .events = POLLIN};

    while (!consent_prompter_is_gone(prompter)) {
        if (poll(&entry, 1, PINENTRY_LOOK_MS) > 0 && !is_asked(attending, id)) {
            consent_prompter_end(prompter);
            entry.fd = -1; /* what is left is to wait for its end */
        }
    }
}

static ath_err
enter_pin(struct attending *attending, struct json *taken_params,
          char ret_why[CONSENT_PIN_WHY_SIZE])
{
    const char *named = json_get_string(attending->context->extra, "--pinentry");
    const struct consent_pin_order order = {json_get_string(taken_params, "id"),
                                            named != NULL ? named : "pinentry",
                                            attending->terminal};
    struct consent_prompter *prompter = NULL;
    ath_err err = ATH_ERR_NOMEM;

    if (order.id != NULL) {
        consent_tty_lend();
        if ((err = consent_pin_start(attending->context, &order, ret_why, &prompter)) == ATH_OK)
            wait_for_pinentry(attending, order.id, prompter);
        consent_tty_take_back();
    }
    json_free(taken_params);
    return err;
}

static ath_err
call(struct attending *attending, const char *method, struct json *taken_params,
     char ret_why[CONSENT_PIN_WHY_SIZE])
{
    ath_err err;

    ret_why[0] = '\0';
    if (strcmp(method, "consent.pinentry") == 0)
        return enter_pin(attending, taken_params, ret_why);
    if ((err = consent_call(attending->client, method, taken_params)) != ATH_OK)
        (void)snprintf(ret_why, CONSENT_PIN_WHY_SIZE, "%s",
                       ath_client_error_message(attending->client));
    return err;
}

/* What the person wants of athd. An error of athd's is theirs to read; what ends us is none. */
static ath_err
make_calls(struct attending *attending)
{
    char why[CONSENT_PIN_WHY_SIZE];
    struct json *params = NULL;
    const char *method;

    while ((method = consent_dialogue_take_call(attending->dialogue, &params)) != NULL) {
        ath_err err = call(attending, method, params, why);
        struct consent_moment now = moment();

        params = NULL;
        if (err == ATH_ERR_UNREACHABLE)
            return err;
        consent_dialogue_called(attending->dialogue, err, why, &now);
        attending->is_stale = true;
        attending->listed_ms = 0; /* the person waits for it */
    }
    return ATH_OK;
}

/* ---- the terminal ---- */

/* What cannot be shown whole for want of memory is not asked. A change of mode loses what was typed:
 * it comes before the words, so that nothing is lost of what is typed for them. */
static ath_err
show(struct attending *attending)
{
    struct ath_buf *out = consent_dialogue_out(attending->dialogue);
    struct consent_moment now;
    ath_err err = out->err;

    consent_tty_read_lines(consent_dialogue_wants_line(attending->dialogue));
    cmd_print_part(ath_buf_text(out));
    ath_buf_clear(out);
    if (consent_dialogue_takes_bell(attending->dialogue) && !attending->context->quiet)
        putchar('\a');
    fflush(stdout);
    consent_tty_drain();
    if (consent_dialogue_takes_flush(attending->dialogue))
        consent_tty_flush();
    now = moment();
    consent_dialogue_shown(attending->dialogue, &now);
    return err;
}

static void
take_keys(struct attending *attending)
{
    char bytes[READ_SIZE];
    size_t len = 0;
    struct consent_moment now;

    if (consent_tty_read(bytes, sizeof(bytes), &len) != ATH_OK) {
        attending->has_terminal = false;
        return;
    }
    now = moment();
    now.empty_ms = attending->empty_ms;
    consent_dialogue_keys(attending->dialogue, bytes, len, &now);
}

/* Until a new list may be asked for; -1: none is wanted. */
static int
list_pause_ms(const struct attending *attending)
{
    uint64_t gone_ms = clock_monotonic_ms() - attending->listed_ms;

    if (!attending->is_stale)
        return -1;
    return gone_ms >= CONSENT_LIST_PAUSE_MS ? 0 : (int)(CONSENT_LIST_PAUSE_MS - gone_ms);
}

/* The shorter; -1: without end. */
static int
min_pause(int a, int b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* -1: until something happens. */
static int
pause_ms(const struct attending *attending)
{
    struct consent_moment now = moment();

    now.empty_ms = attending->empty_ms;
    return min_pause(list_pause_ms(attending),
                     min_pause(consent_dialogue_tick_ms(attending->dialogue, &now),
                               consent_dialogue_look_ms(attending->dialogue, &now)));
}

/* The time is taken first: what is typed after the look came after that time. */
static void
look_whether_empty(struct attending *attending)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (consent_tty_is_empty())
        attending->empty_ms = now_ms;
}

static void
tick(struct attending *attending)
{
    struct consent_moment now = moment();

    consent_dialogue_tick(attending->dialogue, &now);
}

/* Who is stopped shows nothing: questions go elsewhere until we go on. */
static ath_err
stop(struct attending *attending)
{
    struct consent_moment now;
    ath_err err;

    ath_client_free(attending->client);
    consent_tty_stop();
    if ((attending->client = consent_attend(attending->context, &attending->status)) == NULL)
        return ATH_ERR_UNREACHABLE;
    if ((err = renew_list(attending)) != ATH_OK)
        return err;
    now = moment();
    consent_dialogue_redraw(attending->dialogue, &now);
    return ATH_OK;
}

/* Keys first: they were pressed for what stands there, not for what comes now. */
static ath_err
wait_and_take(struct attending *attending)
{
    struct consent_tty_news news = {0};
    struct consent_moment now;
    ath_err err;

    look_whether_empty(attending);
    err = consent_tty_wait(ath_client_fd(attending->client), pause_ms(attending), &news);
    if (err != ATH_OK || news.is_to_stop)
        return err != ATH_OK ? err : stop(attending);
    if (news.was_away) {
        attending->is_stale = true;
        now = moment();
        consent_dialogue_redraw(attending->dialogue, &now);
    } else if (news.has_keys) {
        take_keys(attending);
    }
    return ATH_OK;
}

/* athd is heard last before we wait: what came with an answer is no longer in the socket. */
static ath_err
talk(struct attending *attending)
{
    ath_err err = ATH_OK;

    attending->is_stale = true;
    while (err == ATH_OK && attending->has_terminal &&
           !consent_dialogue_is_over(attending->dialogue)) {
        if ((err = make_calls(attending)) == ATH_OK && list_pause_ms(attending) == 0)
            err = renew_list(attending);
        tick(attending);
        if (err == ATH_OK && (err = take_events(attending)) == ATH_OK &&
            (err = show(attending)) == ATH_OK)
            err = wait_and_take(attending);
    }
    return err;
}

/* Says why it ended, where that is not said yet. */
static void
say_end(struct attending *attending, ath_err err)
{
    if (attending->client == NULL || err == ATH_OK)
        return;
    attending->status = ath_err_exit_status(err);
    if (strcmp(ath_client_error_reason(attending->client), "OK") != 0)
        (void)cmd_fail(attending->context, attending->client, err);
    else
        (void)cmd_error("the terminal cannot be used: %s", ath_err_sentence(err));
}

/* The terminal first: in its background we are stopped there, before anything is asked here. */
static int
run(struct attending *attending)
{
    ath_err err = consent_tty_begin();

    attending->has_terminal = err == ATH_OK;
    if (err != ATH_OK) {
        (void)cmd_error("the terminal cannot be used: %s", ath_err_sentence(err));
        return ath_err_exit_status(err);
    }
    if ((attending->client = consent_attend(attending->context, &attending->status)) != NULL) {
        cmd_note(attending->context, "athd's questions come here. ? for help, q to leave.");
        err = talk(attending);
        (void)show(attending);
    }
    consent_tty_end();
    say_end(attending, err);
    return attending->status;
}

/* `ath consent` */
int
cmd_run_consent(struct cmd_context *context)
{
    struct attending attending = {.context = context, .status = EXIT_SUCCESS};
    int status;

    if (json_get_string(context->extra, "--prompter") != NULL)
        return cmd_run_consent_agent(context);
    if (!consent_tty_is_there())
        return cmd_error(
            "this talks to a person at a terminal, and there is none; see `ath consent "
            "list` and `ath consent answer`, or --prompter");
    if (ttyname_r(STDIN_FILENO, attending.terminal, sizeof(attending.terminal)) != 0)
        attending.terminal[0] = '\0';
    if ((attending.dialogue = consent_dialogue_new()) == NULL)
        return cmd_error("out of memory");
    status = run(&attending);
    ath_client_free(attending.client);
    consent_dialogue_free(attending.dialogue);
    return status;
}
