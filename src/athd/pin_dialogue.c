#include "athd/pin_dialogue.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "athd/pin_dialogue_private.h"
#include "athd/pin_offer.h"
#include "base/clock.h"
#include "base/fd.h"

/* ---- the end ---- */

static void
dialogue_free(struct pin_dialogue *dialogue)
{
    caller_free(dialogue->caller);
    free(dialogue->key);
    free(dialogue->text);
    free(dialogue);
}

/* The loop's next turn, or later: what the PIN was is counted by now, and the next question knows. */
static void
free_if_gone(struct pin_dialogue *dialogue)
{
    if (!dialogue->is_ended || !dialogue->is_timer_closed || dialogue->prompter != NULL)
        return;
    consent_turn_end(dialogue->athd->consent, &dialogue->turn);
    dialogue_free(dialogue);
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

    /* One that ends by itself keeps its turn: the helper sees the end of file, or tries the PIN, and
     * says what became of it. Until then nobody else's PIN is asked for: it could be one try more. */
    dialogue->prompter = NULL;
    if (dialogue->is_over)
        consent_turn_end(dialogue->athd->consent, &dialogue->turn);
    free_if_gone(dialogue);
}

/* A program's connection is broken at both ends, whoever has a copy of it. */
static void
leave_prompter(struct pin_dialogue *dialogue)
{
    if (dialogue->taken_fd >= 0)
        (void)shutdown(dialogue->taken_fd, SHUT_RDWR);
    fd_close(&dialogue->taken_fd);
    if (dialogue->prompter != NULL)
        prompter_end(dialogue->prompter); /* the turn ends when it has gone */
    else if (!dialogue->turn.is_on_screen)
        consent_turn_end(dialogue->athd->consent, &dialogue->turn);
}

static void
end(struct pin_dialogue *dialogue, ath_err how)
{
    dialogue->is_over = true;
    TAILQ_REMOVE(&dialogue->athd->consent->pins, dialogue, entry);
    pin_offer_withdraw(dialogue, how);
    pin_record_answered(dialogue, how);
    leave_prompter(dialogue);
}

static void
tell_failure(void *ctx)
{
    struct pin_dialogue *dialogue = ctx;

    dialogue->events.on_failed(dialogue->events.ctx, dialogue->failed);
}

void
pin_dialogue_fail(struct pin_dialogue *dialogue, ath_err err)
{
    if (dialogue->is_over)
        return;
    dialogue->failed = err;
    end(dialogue, err);
    deferred_add(&dialogue->athd->deferred, &dialogue->deferred, tell_failure, dialogue);
}

void
pin_dialogue_end(struct pin_dialogue *dialogue, ath_err how)
{
    if (dialogue == NULL || dialogue->is_ended)
        return;
    dialogue->is_ended = true;
    deferred_remove(&dialogue->athd->deferred, &dialogue->deferred);
    if (!dialogue->is_over)
        end(dialogue, how);
    uv_close((uv_handle_t *)&dialogue->timer, on_timer_closed);
}

/* ---- athd's own prompter ---- */

static void
on_timeout(uv_timer_t *timer)
{
    pin_dialogue_fail(timer->data, ATH_ERR_CONSENT_TIMEOUT);
}

static void
on_closed(void *ctx)
{
    pin_dialogue_fail(ctx, ATH_ERR_HSM_UNAVAILABLE);
}

uint32_t
pin_dialogue_seconds_left(const struct pin_dialogue *dialogue)
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
    struct pin_shown shown = {.fd = -1,
                              .timeout_s = pin_dialogue_seconds_left(dialogue),
                              .ttyname = consent_ttyname(athd->consent),
                              .ttytype = consent_ttytype(athd->consent),
                              .lc_ctype = consent_lc_ctype(athd->consent)};
    ath_err err;

    err = prompter_start_for_other(athd->loop, athd->config->prompter,
                                   consent_environment(athd->consent), &events, &dialogue->prompter,
                                   &shown.fd);
    if (err != ATH_OK) {
        log_warning("event=prompter program=\"%s\" reason=\"it cannot be started\"",
                    athd->config->prompter);
        pin_dialogue_fail(dialogue, err);
        return;
    }
    athd->counters.prompts++;
    dialogue->is_shown = true;
    pin_record_asked(dialogue, "prompter");
    dialogue->events.on_shown(dialogue->events.ctx, &shown);
    fd_close(&shown.fd);
}

/* ---- the beginning ---- */

ath_err
pin_dialogue_check(struct athd *athd, const struct tenant *tenant, const struct caller *caller,
                   struct why *why)
{
    if (!athd->config->is_system || pin_offer_is_attended(athd->consent, tenant, caller))
        return ATH_OK;
    return why_set(why, ATH_ERR_NO_PROMPTER,
                   "nobody can be asked for a PIN: an athd for the whole machine (--system) has no "
                   "screen of yours, and no program of yours attends that has a pinentry; run `ath "
                   "consent`, or start ath-consent.service");
}

static ath_err
fill(struct pin_dialogue *dialogue, const struct pin_dialogue_order *order)
{
    struct athd *athd = dialogue->athd;

    dialogue->taken_fd = -1;
    dialogue->tenant = order->tenant;
    dialogue->caller = order->caller == NULL ? NULL : caller_ref(order->caller);
    dialogue->method = order->method;
    dialogue->hsm = order->hsm;
    dialogue->is_new = order->is_new;
    dialogue->tries_left = order->tries_left;
    dialogue->asked_at = clock_now();
    dialogue->asked_at_ms = clock_monotonic_ms();
    dialogue->turn =
        (struct consent_turn){.granted = on_granted, .closed = on_closed, .ctx = dialogue};
    dialogue->timer.data = dialogue;
    if ((order->key != NULL && (dialogue->key = ath_strdup(order->key)) == NULL) ||
        (dialogue->text = ath_strdup(order->text)) == NULL)
        return ATH_ERR_NOMEM;
    if (uv_timer_init(athd->loop, &dialogue->timer) != 0)
        return ATH_ERR_NOMEM;
    return ATH_OK;
}

ath_err
pin_dialogue_start(struct athd *athd, const struct pin_dialogue_order *order,
                   const struct pin_dialogue_events *events, struct pin_dialogue **ret_dialogue)
{
    struct pin_dialogue *dialogue = calloc(1, sizeof(*dialogue));
    ath_err err = ATH_ERR_NOMEM;

    if (dialogue == NULL)
        return err;
    dialogue->athd = athd;
    dialogue->events = *events;
    if ((err = consent_id_make('p', dialogue->id)) != ATH_OK ||
        (err = fill(dialogue, order)) != ATH_OK) {
        dialogue_free(dialogue);
        return err;
    }
    uv_timer_start(&dialogue->timer, on_timeout, (uint64_t)athd->config->consent_timeout_s * 1000,
                   0);
    TAILQ_INSERT_TAIL(&athd->consent->pins, dialogue, entry);
    *ret_dialogue = dialogue; /* before it is placed: on_shown may come from inside */
    pin_offer_place(dialogue);
    return ATH_OK;
}
