#include "athd/pin_dialogue.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/consent.h"
#include "athd/prompter.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

struct pin_dialogue {
    struct athd *athd;
    struct pin_dialogue_events events;
    struct consent_turn turn;
    struct prompter *prompter; /* NULL: waits for the screen, or has gone */
    uv_timer_t timer;
    bool is_timer_closed;
    bool is_over; /* no event comes any more, but for the failure that is deferred */
    bool is_ended;
    uint64_t asked_at_ms;
    ath_err failed;
    struct deferred deferred;
};

/* ---- the end ---- */

static void
free_if_gone(struct pin_dialogue *dialogue)
{
    if (dialogue->is_ended && dialogue->is_timer_closed && dialogue->prompter == NULL)
        free(dialogue);
}

static void
on_timer_closed(uv_handle_t *handle)
{
    struct pin_dialogue *dialogue = handle->data;

    dialogue->is_timer_closed = true;
    free_if_gone(dialogue);
}

static void
on_prompter_gone(void *gone_ctx)
{
    struct pin_dialogue *dialogue = gone_ctx;

    /* one that ends by itself: the helper sees the end of file, and says what became of it */
    dialogue->prompter = NULL;
    consent_turn_end(dialogue->athd->consent, &dialogue->turn);
    free_if_gone(dialogue);
}

static void
leave_screen(struct pin_dialogue *dialogue)
{
    if (dialogue->prompter != NULL)
        prompter_end(dialogue->prompter); /* the turn ends when it has gone */
    else
        consent_turn_end(dialogue->athd->consent, &dialogue->turn);
}

static void
tell_failure(void *ctx)
{
    struct pin_dialogue *dialogue = ctx;

    dialogue->events.on_failed(dialogue->events.ctx, dialogue->failed);
}

static void
fail(struct pin_dialogue *dialogue, ath_err err)
{
    if (dialogue->is_over)
        return;
    dialogue->is_over = true;
    dialogue->failed = err;
    leave_screen(dialogue);
    deferred_add(&dialogue->athd->deferred, &dialogue->deferred, tell_failure, dialogue);
}

void
pin_dialogue_end(struct pin_dialogue *dialogue)
{
    if (dialogue == NULL || dialogue->is_ended)
        return;
    dialogue->is_ended = true;
    deferred_remove(&dialogue->athd->deferred, &dialogue->deferred);
    if (!dialogue->is_over)
        leave_screen(dialogue);
    dialogue->is_over = true;
    uv_close((uv_handle_t *)&dialogue->timer, on_timer_closed);
}

/* ---- the beginning ---- */

static void
on_timeout(uv_timer_t *timer)
{
    fail(timer->data, ATH_ERR_CONSENT_TIMEOUT);
}

static void
on_closed(void *ctx)
{
    fail(ctx, ATH_ERR_CONSENT_TIMEOUT);
}

static uint32_t
seconds_left(const struct pin_dialogue *dialogue)
{
    uint64_t gone_s = (clock_monotonic_ms() - dialogue->asked_at_ms) / 1000;
    uint64_t timeout_s = (uint64_t)dialogue->athd->config->consent_timeout_s;

    return timeout_s > gone_s ? (uint32_t)(timeout_s - gone_s) : 1;
}

static void
on_granted(void *ctx)
{
    struct pin_dialogue *dialogue = ctx;
    struct athd *athd = dialogue->athd;
    const struct prompter_events events = {.on_gone = on_prompter_gone, .gone_ctx = dialogue};
    ath_err err;
    int fd = -1;

    err = prompter_start_for_other(athd->loop, athd->config->prompter,
                                   consent_environment(athd->consent), &events, &dialogue->prompter,
                                   &fd);
    if (err != ATH_OK) {
        log_warning("event=prompter program=\"%s\" reason=\"it cannot be started\"",
                    athd->config->prompter);
        fail(dialogue, err);
        return;
    }
    athd->counters.prompts++;
    dialogue->events.on_shown(dialogue->events.ctx, fd, seconds_left(dialogue));
    fd_close(&fd);
}

ath_err
pin_dialogue_check(const struct athd *athd, struct why *why)
{
    if (!athd->config->is_system)
        return ATH_OK;
    return why_set(why, ATH_ERR_NO_PROMPTER,
                   "nobody can be asked for a PIN by an athd for the whole machine (--system): it "
                   "has no screen of yours");
}

ath_err
pin_dialogue_start(struct athd *athd, const struct pin_dialogue_events *events,
                   struct pin_dialogue **ret_dialogue)
{
    struct pin_dialogue *dialogue = calloc(1, sizeof(*dialogue));

    if (dialogue == NULL)
        return ATH_ERR_NOMEM;
    if (uv_timer_init(athd->loop, &dialogue->timer) != 0) {
        free(dialogue);
        return ATH_ERR_NOMEM;
    }
    dialogue->athd = athd;
    dialogue->events = *events;
    dialogue->timer.data = dialogue;
    dialogue->asked_at_ms = clock_monotonic_ms();
    dialogue->turn =
        (struct consent_turn){.granted = on_granted, .closed = on_closed, .ctx = dialogue};
    uv_timer_start(&dialogue->timer, on_timeout, (uint64_t)athd->config->consent_timeout_s * 1000,
                   0);
    *ret_dialogue = dialogue; /* before the turn: on_shown may come from inside */
    consent_turn_wait(athd->consent, &dialogue->turn);
    return ATH_OK;
}
