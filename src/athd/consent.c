#include "athd/consent.h"

#include <stdlib.h>
#include <string.h>

#include "athd/consent_question.h"
#include "athd/pin_offer.h"

uint64_t
consent_loop_ms(void)
{
    return uv_hrtime() / 1000000u;
}

bool
consent_question_is_shown(const struct consent_question *question)
{
    return question->is_told && !question->only_prompter;
}

struct consent_question *
consent_question_find(struct consent *consent, uid_t tenant, const char *id)
{
    struct consent_question *question;

    TAILQ_FOREACH (question, &consent->questions, entry)
        if (question->asker.tenant == tenant && strcmp(question->id, id) == 0 &&
            consent_question_is_shown(question))
            return question;
    return NULL;
}

/* ---- what ends others ---- */

void
consent_end_windows(struct consent *consent)
{
    if (consent != NULL && consent_windows_end(&consent->windows) > 0)
        log_info("event=consent reason=\"what was allowed for a while has ended\"");
}

void
consent_end_windows_of(struct consent *consent, uid_t tenant)
{
    if (consent != NULL)
        (void)consent_windows_end_tenant(&consent->windows, tenant);
}

void
consent_end_windows_of_key(struct consent *consent, uid_t tenant, const char *key)
{
    if (consent != NULL)
        consent_windows_end_key(&consent->windows, tenant, key);
}

void
consent_end_frozen(struct consent *consent, uid_t tenant, const char *key)
{
    struct consent_question *question, *next;

    if (consent == NULL)
        return;
    if (key != NULL)
        consent_windows_end_key(&consent->windows, tenant, key);
    else
        (void)consent_windows_end_tenant(&consent->windows, tenant);
    for (question = TAILQ_FIRST(&consent->questions); question != NULL; question = next) {
        next = TAILQ_NEXT(question, entry);
        if (question->asker.tenant == tenant &&
            (key == NULL || (question->about.key != NULL && strcmp(question->about.key, key) == 0)))
            consent_question_end(question, ATH_ERR_POLICY_DENIED);
    }
}

/* ---- programs that attend ---- */

static void
on_look(void *ctx)
{
    consent_show(ctx);
}

void
consent_look_later(struct consent *consent)
{
    if (!consent->look.waiting && !consent->is_closing)
        deferred_add(&consent->athd->deferred, &consent->look, on_look, consent);
}

/* ---- life ---- */

ath_err
consent_new(struct athd *athd, struct consent **ret_consent)
{
    struct consent *consent = calloc(1, sizeof(*consent));

    if (consent == NULL)
        return ATH_ERR_NOMEM;
    consent->athd = athd;
    TAILQ_INIT(&consent->questions);
    TAILQ_INIT(&consent->turns);
    TAILQ_INIT(&consent->pins);
    TAILQ_INIT(&consent->windows);
    TAILQ_INIT(&consent->backoffs);
    LIST_INIT(&consent->attending);
    *ret_consent = consent;
    return ATH_OK;
}

void
consent_close(struct consent *consent)
{
    struct consent_question *question;
    struct consent_turn *turn, *next;

    consent->is_closing = true;
    deferred_remove(&consent->athd->deferred, &consent->look);
    while ((question = TAILQ_FIRST(&consent->questions)) != NULL)
        consent_question_end(question, ATH_ERR_HSM_UNAVAILABLE);
    pin_offers_close(consent);
    for (turn = TAILQ_FIRST(&consent->turns); turn != NULL; turn = next) {
        next = TAILQ_NEXT(turn, entry);
        turn->closed(turn->ctx); /* may end it */
    }
}

bool
consent_is_idle(const struct consent *consent)
{
    return consent->count == 0 && consent->on_screen == 0 && consent->handles == 0;
}

void
consent_free(struct consent *consent)
{
    if (consent == NULL)
        return;
    (void)consent_windows_end(&consent->windows);
    consent_backoffs_end(&consent->backoffs);
    consent_environment_done(&consent->environment);
    free(consent);
}

size_t
consent_waiting(const struct consent *consent)
{
    return consent->count;
}
