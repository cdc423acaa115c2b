#include "athd/passphrase_question.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/consent.h"
#include "athd/prompter.h"
#include "base/clock.h"

#define TITLE "athd"
#define NOT_OK_LABEL "Cancel"

struct passphrase_question {
    struct athd *athd;
    struct ath_buf description;
    struct passphrase_words words;
    struct consent_turn turn;
    struct prompter *prompter; /* NULL: waits for the screen, or has gone */
    uv_timer_t timer;
    uint64_t asked_at_ms;
    bool is_timer_closed;
    bool is_over; /* answered, or nobody waits */
    ath_err answer;
    struct ath_secret passphrase;
    struct deferred deferred; /* tells the answer */
    passphrase_question_fn *done;
    void *ctx;
};

/* ---- the end ---- */

static void
free_if_gone(struct passphrase_question *question)
{
    if (!question->is_timer_closed || question->prompter != NULL || question->deferred.waiting)
        return;
    ath_secret_done(&question->passphrase);
    ath_buf_done(&question->description);
    free(question);
}

static void
on_timer_closed(uv_handle_t *handle)
{
    struct passphrase_question *question = handle->data;

    question->is_timer_closed = true;
    free_if_gone(question);
}

static void
on_prompter_gone(void *gone_ctx)
{
    struct passphrase_question *question = gone_ctx;

    question->prompter = NULL;
    consent_turn_end(question->athd->consent, &question->turn);
    free_if_gone(question);
}

/* The turn ends when the prompter has gone. */
static void
leave_screen(struct passphrase_question *question)
{
    if (question->prompter != NULL)
        prompter_end(question->prompter);
    else
        consent_turn_end(question->athd->consent, &question->turn);
    uv_close((uv_handle_t *)&question->timer, on_timer_closed);
}

static void
tell(void *ctx)
{
    struct passphrase_question *question = ctx;
    struct ath_secret passphrase = question->passphrase;
    passphrase_question_fn *done = question->done;
    void *done_ctx = question->ctx;
    ath_err err = question->answer;

    question->passphrase = (struct ath_secret){NULL, 0};
    free_if_gone(question);
    done(done_ctx, err, err == ATH_OK ? &passphrase : NULL);
}

static void
answer(struct passphrase_question *question, ath_err err)
{
    if (question->is_over)
        return;
    question->is_over = true;
    question->answer = err;
    leave_screen(question);
    deferred_add(&question->athd->deferred, &question->deferred, tell, question);
}

void
passphrase_question_end(struct passphrase_question *question)
{
    if (question == NULL)
        return;
    deferred_remove(&question->athd->deferred, &question->deferred);
    if (!question->is_over)
        leave_screen(question);
    else
        free_if_gone(question);
    question->is_over = true;
}

/* ---- the beginning ---- */

static void
on_answer(void *ctx, ath_err err)
{
    struct passphrase_question *question = ctx;

    if (err == ATH_OK)
        err = prompter_take_pin(question->prompter, &question->passphrase);
    answer(question, err == ATH_ERR_NOT_FOUND ? ATH_ERR_NO_PROMPTER : err);
}

static void
on_timeout(uv_timer_t *timer)
{
    answer(timer->data, ATH_ERR_CONSENT_TIMEOUT);
}

static void
on_closed(void *ctx)
{
    answer(ctx, ATH_ERR_HSM_UNAVAILABLE);
}

static unsigned
seconds_left(const struct passphrase_question *question)
{
    uint64_t gone_s = (clock_monotonic_ms() - question->asked_at_ms) / 1000;
    uint64_t timeout_s = (uint64_t)question->athd->config->consent_timeout_s;

    return timeout_s > gone_s ? (unsigned)(timeout_s - gone_s) : 1;
}

static void
on_granted(void *ctx)
{
    struct passphrase_question *question = ctx;
    struct athd *athd = question->athd;
    const struct pinentry_question words = {
        .asks_pin = true,
        .prompt = question->words.prompt,
        .new_min = question->words.new_min,
        .new_max = question->words.new_max,
        .again = question->words.again,
        .title = TITLE,
        .description = ath_buf_text(&question->description),
        .ok = question->words.ok,
        .not_ok = NOT_OK_LABEL,
        .timeout_s = seconds_left(question),
        .ttyname = consent_ttyname(athd->consent),
        .ttytype = consent_ttytype(athd->consent),
        .lc_ctype = consent_lc_ctype(athd->consent),
    };
    const struct prompter_events events = {on_answer, question, on_prompter_gone, question};
    ath_err err;

    err = prompter_start(athd->loop, athd->config->prompter, consent_environment(athd->consent),
                         &words, &events, &question->prompter);
    if (err == ATH_OK)
        athd->counters.prompts++;
    else
        answer(question, err);
}

ath_err
passphrase_question_ask(struct athd *athd, struct ath_buf *taken_description,
                        const struct passphrase_words *words, passphrase_question_fn *done,
                        void *ctx, struct passphrase_question **ret_question)
{
    struct passphrase_question *question = NULL;
    ath_err err = ATH_ERR_NOMEM;

    if (athd->config->is_system) {
        err = ATH_ERR_NO_PROMPTER;
        goto out;
    }
    if (ath_buf_text(taken_description) == NULL ||
        (question = calloc(1, sizeof(*question))) == NULL ||
        uv_timer_init(athd->loop, &question->timer) != 0)
        goto out;
    question->athd = athd;
    question->description = *taken_description;
    *taken_description = (struct ath_buf){0};
    question->words = *words;
    question->done = done;
    question->ctx = ctx;
    question->timer.data = question;
    question->asked_at_ms = clock_monotonic_ms();
    question->turn =
        (struct consent_turn){.granted = on_granted, .closed = on_closed, .ctx = question};
    uv_timer_start(&question->timer, on_timeout, (uint64_t)athd->config->consent_timeout_s * 1000,
                   0);
    *ret_question = question;
    consent_turn_wait(athd->consent, &question->turn);
    return ATH_OK;
out:
    ath_buf_done(taken_description);
    free(question);
    return err;
}
