/* `ath consent --prompter PROGRAM`: each question is shown by a prompter that is started from here,
 * so that an athd that knows nothing of this desktop or terminal asks on it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ath_cmd_consent.h"
#include "ath_cmd_consent_pin.h"
#include "ath_cmd_consent_prompter.h"
#include "ath_cmd_consent_tty.h"
#include "ath_cmd_consent_words.h"
#include "base/clock.h"

#define SHOWN_MAX 64u  /* as many questions as athd has */
#define ENDING_MS 50   /* between looks at prompters that end */
#define TIMEOUT_S 120u /* told to the prompter where athd does not say */

/* A question that was seen, until it is not asked any more and its prompter has gone. */
struct shown {
    char *id;                          /* NULL: an empty place */
    struct consent_prompter *prompter; /* NULL: it has gone, or could not be started */
    bool is_over;                      /* answered, or not asked any more: the prompter is to go */
    bool is_asked;
    bool waits_for_room; /* a PIN, and athd has as many as it takes: it is offered again */
};

struct agent {
    const struct cmd_context *context;
    const char *program;
    struct ath_client *client;
    char terminal[256]; /* "": none */
    struct shown shown[SHOWN_MAX];
    bool is_stale;
    uint64_t listed_ms;
    int status;
};

static volatile sig_atomic_t is_ending;

static void
on_end(int number)
{
    (void)number;
    is_ending = 1;
}

/* ---- what is shown ---- */

static struct shown *
find(struct agent *agent, const char *id)
{
    for (size_t i = 0; i < SHOWN_MAX; i++) {
        if (agent->shown[i].id != NULL && strcmp(agent->shown[i].id, id) == 0)
            return &agent->shown[i];
    }
    return NULL;
}

static struct shown *
find_place(struct agent *agent)
{
    for (size_t i = 0; i < SHOWN_MAX; i++) {
        if (agent->shown[i].id == NULL && agent->shown[i].prompter == NULL)
            return &agent->shown[i];
    }
    return NULL;
}

static size_t
count_prompters(const struct agent *agent)
{
    size_t count = 0, i;

    for (i = 0; i < SHOWN_MAX; i++)
        count += agent->shown[i].prompter != NULL;
    return count;
}

static bool
is_set(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0';
}

/* A terminal shows one question; a desktop as many as there are. */
static bool
has_room(const struct agent *agent)
{
    size_t count = count_prompters(agent);

    if (agent->terminal[0] != '\0' && !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY"))
        return count == 0;
    return count < SHOWN_MAX;
}

static void
end_shown(struct shown *shown)
{
    shown->is_over = true;
    if (shown->prompter != NULL)
        consent_prompter_end(shown->prompter);
}

/* One that somebody else talks to ends by itself, and nothing of it is heard here. */
static bool
may_go(const struct shown *shown)
{
    return shown->prompter != NULL &&
           (shown->is_over || consent_prompter_is_others(shown->prompter));
}

/* Frees places: of questions that are not asked any more, whose prompter has gone. */
static void
bury(struct agent *agent)
{
    for (size_t i = 0; i < SHOWN_MAX; i++) {
        struct shown *shown = &agent->shown[i];

        if (may_go(shown) && consent_prompter_is_gone(shown->prompter)) {
            shown->prompter = NULL;
            agent->is_stale = true; /* there is room for another */
            consent_tty_put_back();
        }
        if (shown->prompter == NULL && !shown->is_asked) {
            free(shown->id);
            *shown = (struct shown){0};
        }
    }
}

/* ---- showing ---- */

static unsigned
seconds_left(const struct json *question)
{
    int64_t expires_at, now = clock_now();

    if (!json_get_int(question, "expires_at", &expires_at))
        return TIMEOUT_S;
    if (expires_at <= now)
        return 1;
    return expires_at - now > UINT16_MAX ? UINT16_MAX : (unsigned)(expires_at - now);
}

static ath_err
start(const struct agent *agent, const struct json *question, const char *description,
      struct consent_prompter **ret_prompter)
{
    struct pinentry_question words = {
        .title = "athd",
        .description = description,
        .ok = "Allow",
        .not_ok = "Deny",
        .timeout_s = seconds_left(question),
        .ttyname = agent->terminal[0] != '\0' ? agent->terminal : NULL,
        .ttytype = getenv("TERM"),
        .lc_ctype = consent_lc_ctype(),
    };

    return consent_prompter_start(agent->program, &words, ret_prompter);
}

static ath_err
start_for(const struct agent *agent, const struct json *question,
          struct consent_prompter **ret_prompter)
{
    const char *text = json_get_string(question, "text");
    struct ath_buf description = {0};
    int64_t count = 1;
    ath_err err;

    if (text == NULL)
        return ATH_ERR_NOT_FOUND; /* it went while it was looked at */
    ath_buf_put_string(&description, text);
    if (json_get_int(question, "count", &count) && count > 1)
        ath_buf_printf(&description, "\nAsked %lld times.", (long long)count);
    err = ath_buf_text(&description) == NULL
              ? ATH_ERR_NOMEM
              : start(agent, question, ath_buf_text(&description), ret_prompter);
    ath_buf_done(&description);
    return err;
}

/* What stands against it is athd's to say, and others' to do. */
static void
show_pin(struct agent *agent, struct shown *shown)
{
    const struct consent_pin_order order = {shown->id, agent->program, agent->terminal};
    char why[CONSENT_PIN_WHY_SIZE];
    ath_err err = consent_pin_start(agent->context, &order, why, &shown->prompter);
    bool is_said = shown->waits_for_room;

    shown->waits_for_room = err == ATH_ERR_LIMIT_EXCEEDED;
    shown->is_over = err != ATH_OK && !shown->waits_for_room;
    if (err != ATH_OK && err != ATH_ERR_CONSENT_NOT_FOUND && !(is_said && shown->waits_for_room))
        cmd_note(agent->context, "question %s: %s", shown->id, why);
}

/* ATH_ERR_NO_PROMPTER, ATH_ERR_NOMEM: this program is of no use. */
static ath_err
show(struct agent *agent, const struct json *question, const char *id)
{
    struct shown *shown = find_place(agent);
    ath_err err;

    if (shown == NULL)
        return ATH_OK;
    if ((shown->id = ath_strdup(id)) == NULL)
        return ATH_ERR_NOMEM;
    shown->is_asked = true;
    if (json_is_true(json_get(question, "pin"))) {
        show_pin(agent, shown);
        return ATH_OK;
    }
    err = start_for(agent, question, &shown->prompter);
    shown->is_over = err != ATH_OK;
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        cmd_note(agent->context, "question %s is too long for a prompter; `ath consent` shows it",
                 id);
    return err == ATH_ERR_LIMIT_EXCEEDED || err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
}

/* Prompters for what is asked, none for what is not. */
static ath_err
follow(struct agent *agent, const struct json *list)
{
    const struct json *question;
    ath_err err = ATH_OK;
    size_t i;

    for (i = 0; i < SHOWN_MAX; i++)
        agent->shown[i].is_asked = false;
    for (question = json_first(json_get(list, "questions")); question != NULL;
         question = json_next(question)) {
        const char *id = json_get_string(question, "id");
        struct shown *shown = id == NULL ? NULL : find(agent, id);

        if (shown != NULL)
            shown->is_asked = true;
        if (id == NULL || err != ATH_OK || !has_room(agent) ||
            json_is_true(json_get(question, "taken")))
            continue;
        if (shown == NULL)
            err = show(agent, question, id);
        else if (shown->waits_for_room)
            show_pin(agent, shown);
    }
    for (i = 0; i < SHOWN_MAX; i++) {
        if (agent->shown[i].id != NULL && !agent->shown[i].is_asked)
            end_shown(&agent->shown[i]);
    }
    return err;
}

static ath_err
renew_list(struct agent *agent)
{
    struct json *list = NULL;
    ath_err err = consent_list(agent->client, true, &list);

    if (err == ATH_OK) {
        agent->is_stale = false;
        agent->listed_ms = clock_monotonic_ms();
        if ((err = follow(agent, list)) != ATH_OK) {
            (void)cmd_error("%s cannot be started: %s", agent->program, ath_err_sentence(err));
            agent->status = ath_err_exit_status(err);
        }
    }
    json_free(list);
    return err;
}

/* ---- answers ---- */

static ath_err
answer(struct agent *agent, const struct shown *shown, bool is_yes)
{
    struct json_maker maker;
    struct json *params = NULL;
    ath_err err;

    json_object_begin(&maker);
    json_put_string(&maker, "id", shown->id);
    json_put_bool(&maker, "approve", is_yes);
    if ((err = json_maker_end(&maker, &params)) == ATH_OK)
        err = consent_call(agent->client, "consent.answer", params);
    agent->is_stale = true;
    return err == ATH_ERR_CONSENT_NOT_FOUND ? ATH_OK : err; /* somebody else was faster */
}

static void
say_useless(struct agent *agent, const struct consent_prompter *prompter)
{
    const char *complaint = consent_prompter_complaint(prompter);

    (void)cmd_error("%s gave no answer: %s", agent->program,
                    complaint[0] != '\0'
                        ? complaint
                        : "it ended, or spoke another protocol; can it be run, and "
                          "has it a display, or a terminal (GPG_TTY)?");
    agent->status = ath_err_exit_status(ATH_ERR_NO_PROMPTER);
}

/* A prompter that does not work must not keep questions from those that do: we go. */
static ath_err
take_answer(struct agent *agent, struct shown *shown)
{
    ath_err said = ATH_OK, err = ATH_OK;

    if (!consent_prompter_read(shown->prompter, &said))
        return ATH_OK;
    if (said == ATH_OK || said == ATH_ERR_USER_DENIED)
        err = answer(agent, shown, said == ATH_OK);
    else if (said != ATH_ERR_CONSENT_TIMEOUT) /* athd notices that by itself */
        say_useless(agent, shown->prompter);
    end_shown(shown);
    if (said != ATH_OK && said != ATH_ERR_USER_DENIED && said != ATH_ERR_CONSENT_TIMEOUT)
        err = said;
    return err;
}

/* ---- the loop ---- */

static void
take_signals(sigset_t *ret_waiting_mask)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_end};
    sigset_t held;
    size_t i;

    sigemptyset(&action.sa_mask);
    sigemptyset(&held);
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaction(numbers[i], &action, NULL);
        sigaddset(&held, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &held, ret_waiting_mask);
    signal(SIGPIPE, SIG_IGN); /* a prompter that has gone */
}

static bool
has_ending(const struct agent *agent)
{
    for (size_t i = 0; i < SHOWN_MAX; i++) {
        if (may_go(&agent->shown[i]))
            return true;
    }
    return false;
}

static int
list_pause_ms(const struct agent *agent)
{
    uint64_t gone_ms = clock_monotonic_ms() - agent->listed_ms;

    return gone_ms >= CONSENT_LIST_PAUSE_MS ? 0 : (int)(CONSENT_LIST_PAUSE_MS - gone_ms);
}

/* -1: until something happens. */
static int
pause_ms(const struct agent *agent)
{
    int list_ms = list_pause_ms(agent);

    if (has_ending(agent))
        return agent->is_stale && list_ms < ENDING_MS ? list_ms : ENDING_MS;
    return agent->is_stale ? list_ms : -1;
}

/* Waits; takes what prompters have said. */
static ath_err
wait_and_take(struct agent *agent, const sigset_t *waiting_mask)
{
    struct pollfd entries[SHOWN_MAX + 1];
    struct timespec limit;
    int limit_ms = pause_ms(agent);
    size_t i;
    ath_err err = ATH_OK;

    for (i = 0; i < SHOWN_MAX; i++) {
        const struct shown *shown = &agent->shown[i];
        bool is_heard = shown->prompter != NULL && !shown->is_over;

        entries[i] = (struct pollfd){.events = POLLIN};
        entries[i].fd = is_heard ? consent_prompter_fd(shown->prompter) : -1;
    }
    entries[SHOWN_MAX] = (struct pollfd){.fd = ath_client_fd(agent->client), .events = POLLIN};
    limit =
        (struct timespec){.tv_sec = limit_ms / 1000, .tv_nsec = (long)(limit_ms % 1000) * 1000000L};
    if (ppoll(entries, SHOWN_MAX + 1, limit_ms < 0 ? NULL : &limit, waiting_mask) < 0)
        return errno == EINTR ? ATH_OK : ATH_ERR_IO;
    for (i = 0; i < SHOWN_MAX && err == ATH_OK; i++) {
        if (entries[i].fd >= 0 && entries[i].revents != 0)
            err = take_answer(agent, &agent->shown[i]);
    }
    return err;
}

/* What they say is in the list. */
static ath_err
drop_events(struct agent *agent)
{
    ath_err err = ath_client_take_in(agent->client);

    while (err == ATH_OK && ath_client_events_kept(agent->client) > 0) {
        char *text = NULL;

        err = ath_client_event(agent->client, &text);
        ath_string_free(text);
        agent->is_stale = true;
    }
    return err;
}

/* athd is heard last before we wait: what came with an answer is no longer in the socket. */
static ath_err
serve(struct agent *agent, const sigset_t *waiting_mask)
{
    ath_err err = ATH_OK;

    agent->is_stale = true;
    while (err == ATH_OK && !is_ending) {
        bury(agent);
        if (agent->is_stale && list_pause_ms(agent) == 0)
            err = renew_list(agent);
        if (err == ATH_OK && (err = drop_events(agent)) == ATH_OK)
            err = wait_and_take(agent, waiting_mask);
    }
    return err;
}

static void
end_all(struct agent *agent)
{
    for (size_t i = 0; i < SHOWN_MAX; i++) {
        agent->shown[i].is_asked = false;
        if (agent->shown[i].id != NULL)
            end_shown(&agent->shown[i]);
    }
    for (bury(agent); count_prompters(agent) > 0; bury(agent))
        (void)poll(NULL, 0, ENDING_MS);
}

static void
find_terminal(struct agent *agent)
{
    const char *named = getenv("GPG_TTY");

    if (named != NULL && named[0] != '\0')
        (void)snprintf(agent->terminal, sizeof(agent->terminal), "%s", named);
    else if (ttyname_r(STDIN_FILENO, agent->terminal, sizeof(agent->terminal)) != 0)
        agent->terminal[0] = '\0';
}

int
cmd_run_consent_agent(struct cmd_context *context)
{
    struct agent agent = {.context = context, .status = EXIT_SUCCESS};
    sigset_t waiting_mask;
    struct why why;
    ath_err err;

    agent.program = json_get_string(context->extra, "--prompter");
    if ((err = consent_prompter_check(agent.program, &why)) != ATH_OK) {
        (void)cmd_error("%s", why.text);
        return ath_err_exit_status(err);
    }
    find_terminal(&agent);
    consent_tty_note();
    if ((agent.client = consent_attend(context, &agent.status)) == NULL)
        return agent.status;
    take_signals(&waiting_mask); /* before it is said: from then on it ends as it should */
    cmd_note(context, "athd's questions are shown by %s from here", agent.program);
    err = serve(&agent, &waiting_mask);
    if (err != ATH_OK && agent.status == EXIT_SUCCESS)
        agent.status = cmd_fail(context, agent.client, err);
    /* first it leaves, then it ends prompters: so their questions are asked elsewhere at once */
    ath_client_free(agent.client);
    agent.client = NULL;
    end_all(&agent);
    return agent.status;
}
