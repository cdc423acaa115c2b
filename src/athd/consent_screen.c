/* Who shows a question: the user's programs that attend, else a prompter, in its turn. */
#include <stdlib.h>
#include <string.h>

#include "athd/consent_question.h"
#include "athd/pin_offer.h"
#include "base/clock.h"

#define PROMPTERS_MAX 64u /* processes: those that were told to go included */
#define TITLE "athd"
#define NOT_OK_LABEL "Deny"

/* ---- where the user is ---- */

bool
consent_has_prompter(const struct consent *consent)
{
    return !consent->athd->config->is_system;
}

char *const *
consent_environment(const struct consent *consent)
{
    return consent_environment_vector(&consent->environment);
}

const char *
consent_ttyname(const struct consent *consent)
{
    return consent_environment_get(&consent->environment, "GPG_TTY");
}

const char *
consent_ttytype(const struct consent *consent)
{
    return consent_environment_get(&consent->environment, "TERM");
}

const char *
consent_lc_ctype(const struct consent *consent)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"}; /* POSIX.1-2017, XBD 8.2 */
    const char *value = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && value == NULL; i++) {
        value = consent_environment_get(&consent->environment, names[i]);
        if (value != NULL && value[0] == '\0')
            value = NULL;
    }
    return value;
}

/* A terminal shows one question; a desktop as many as there are. */
static bool
is_on_terminal(const struct consent *consent)
{
    const struct consent_environment *environment = &consent->environment;

    return consent_ttyname(consent) != NULL &&
           consent_environment_get(environment, "DISPLAY") == NULL &&
           consent_environment_get(environment, "WAYLAND_DISPLAY") == NULL;
}

/* ---- a prompter ---- */

/* The prompter outlives its question for the moment it takes to end it. */
static void
on_prompter_gone(void *ctx)
{
    struct consent *consent = ctx;

    consent->on_screen--;
    consent_show(consent);
}

/* One that broke while a program attends is not missed. */
static void
on_answer(void *ctx, ath_err err)
{
    struct consent_question *question = ctx;

    if (err == ATH_ERR_NO_PROMPTER && consent_is_attended(question)) {
        prompter_end(question->prompter);
        question->prompter = NULL;
    } else {
        consent_question_end(question, err);
    }
}

/* The words; and how often it has been asked, where that is more than once. */
static const char *
describe(const struct consent_question *question, struct ath_buf *words)
{
    ath_buf_put_string(words, question->text);
    if (question->asked > 1)
        ath_buf_printf(words, "Asked %u times.\n", question->asked);
    return ath_buf_text(words);
}

static ath_err
start_prompter(struct consent_question *question, const char *description)
{
    struct consent *consent = question->consent;
    const struct athd *athd = consent->athd;
    const struct prompter_events events = {on_answer, question, on_prompter_gone, consent};
    const struct pinentry_question words = {
        .title = TITLE,
        .description = description,
        .ok = question->ok_label,
        .not_ok = NOT_OK_LABEL,
        .timeout_s = (unsigned)consent_question_seconds_left(question),
        .ttyname = consent_ttyname(consent),
        .ttytype = consent_ttytype(consent),
        .lc_ctype = consent_lc_ctype(consent),
    };

    if (description == NULL)
        return ATH_ERR_NOMEM;
    return prompter_start(athd->loop, athd->config->prompter, consent_environment(consent), &words,
                          &events, &question->prompter);
}

static void
show(struct consent_question *question)
{
    struct ath_buf words = {0};
    ath_err err = start_prompter(question, describe(question, &words));

    ath_buf_done(&words);
    if (err == ATH_OK) {
        question->consent->on_screen++;
        question->shown_at_ms = clock_boot_ms();
    } else {
        consent_question_end(question, err);
    }
}

/* ---- turns ---- */

static bool
has_room(const struct consent *consent)
{
    return !consent->is_closing && consent->on_screen < PROMPTERS_MAX &&
           (consent->on_screen == 0 || !is_on_terminal(consent));
}

static struct consent_question *
next_question(const struct consent *consent)
{
    struct consent_question *question;

    if (!consent_has_prompter(consent)) /* who attended has left, and that is about to be noticed */
        return NULL;
    TAILQ_FOREACH (question, &consent->questions, entry)
        if (question->prompter == NULL && question->is_told && !consent_is_attended(question))
            return question;
    return NULL;
}

static struct consent_turn *
next_turn(const struct consent *consent)
{
    struct consent_turn *turn;

    TAILQ_FOREACH (turn, &consent->turns, entry)
        if (turn->is_waiting)
            return turn;
    return NULL;
}

static void
grant(struct consent *consent, struct consent_turn *turn)
{
    turn->is_waiting = false;
    turn->is_on_screen = true;
    consent->on_screen++;
    turn->granted(turn->ctx);
}

/* Those in line that are not shown yet, as far as there is room for them. */
static void
fill_screen(struct consent *consent)
{
    struct consent_question *question;
    struct consent_turn *turn;

    while (has_room(consent)) {
        question = next_question(consent);
        turn = next_turn(consent);
        if (question == NULL && turn == NULL)
            break;
        consent->turn_was_last = turn != NULL && (question == NULL || !consent->turn_was_last);
        if (consent->turn_was_last)
            grant(consent, turn);
        else
            show(question);
    }
}

/* May it be shown now, and to whom? One that a prompter shows stays there. */
static void
prepare(struct consent_question *question)
{
    struct consent *consent = question->consent;
    bool is_refused = false, is_attended = consent_is_attended(question);
    uint64_t wait_ms = consent_backoffs_wait(&consent->backoffs, &question->asker,
                                             question->about.key, &is_refused);

    if (is_refused) {
        question->retry_after_s = (int64_t)((wait_ms + 999) / 1000);
        consent_question_end(question, ATH_ERR_RATE_LIMITED);
        return;
    }
    if (wait_ms > 0 && !question->is_told) {
        consent_question_wait(question, wait_ms);
        return;
    }
    question->not_before_ms = 0;
    if (!is_attended && !consent_has_prompter(consent)) {
        consent_question_end(question, ATH_ERR_NO_PROMPTER);
        return;
    }
    if (!question->is_told) {
        question->is_told = true;
        consent_publish(question, "asked", ATH_OK);
    }
    if (is_attended && question->shown_at_ms == 0)
        question->shown_at_ms = clock_boot_ms();
}

void
consent_show(struct consent *consent)
{
    struct consent_question *question, *next;

    if (consent->is_showing || consent->is_closing)
        return; /* one whose prompter cannot be started gives its place on: to fill_screen's loop */
    consent->is_showing = true;
    for (question = TAILQ_FIRST(&consent->questions); question != NULL; question = next) {
        next = TAILQ_NEXT(question, entry);
        if (question->prompter == NULL && !question->is_over) /* what one ends may end others */
            prepare(question);
    }
    pin_offers_look(consent);
    fill_screen(consent);
    consent->is_showing = false;
}

void
consent_turn_wait(struct consent *consent, struct consent_turn *turn)
{
    turn->is_waiting = true;
    turn->is_on_screen = false;
    TAILQ_INSERT_TAIL(&consent->turns, turn, entry);
    if (consent->is_closing)
        turn->closed(turn->ctx);
    else
        consent_show(consent);
}

void
consent_turn_end(struct consent *consent, struct consent_turn *turn)
{
    if (!turn->is_waiting && !turn->is_on_screen)
        return;
    TAILQ_REMOVE(&consent->turns, turn, entry);
    if (turn->is_on_screen)
        consent->on_screen--;
    turn->is_waiting = turn->is_on_screen = false;
    consent_show(consent);
}
