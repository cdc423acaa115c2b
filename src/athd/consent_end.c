/* How questions end: by an answer, by time, because nobody waits for them any more. */
#include <stdlib.h>

#include "athd/consent_question.h"
#include "base/clock.h"

/* ---- the end of a question ---- */

void
consent_question_free(struct consent_question *question)
{
    consent_about_done(&question->about);
    scope_list_done(&question->approved);
    caller_free(question->caller);
    caller_free(question->answerer);
    free(question->text);
    free(question->ok_label);
    free(question);
}

static void
on_timer_closed(uv_handle_t *handle)
{
    struct consent_question *question = handle->data;

    question->consent->handles--;
    consent_question_free(question);
}

/* What policy would have said, had it been asked a moment later. */
static void
say_frozen(struct request *request)
{
    static const char sentence[] =
        "the key is frozen: it signs nothing until `ath unfreeze` ends that";
    struct json_maker data;

    request->limit = sentence;
    json_free(request->denied);
    request->denied = NULL;
    json_object_begin(&data);
    json_put_string(&data, "rule", POLICY_RULE_FROZEN);
    json_put_string(&data, "missing", sentence);
    if (json_maker_end(&data, &request->denied) != ATH_OK)
        request->denied = NULL;
}

void
consent_say_limit(struct request *request, const struct consent_question *question, ath_err answer)
{
    if (answer == ATH_ERR_RATE_LIMITED) {
        request->limit = "the user said no to this asker before; try again later";
        request->retry_after_s = question->retry_after_s;
    } else if (answer == ATH_ERR_POLICY_DENIED) {
        say_frozen(request);
    } else if (answer == ATH_ERR_NO_PROMPTER && !consent_has_prompter(question->consent)) {
        request->limit = "nobody can be asked: no program attends; run `ath consent`";
    }
}

static void
tell(void *ctx)
{
    struct consent_waiter *waiter = ctx;
    struct consent_question *question = waiter->question;
    struct request *request = waiter->request;

    request->cancel = waiter->cancel_before;
    request->stage = waiter->stage_before;
    /* the person took their time; what follows has its own */
    request_set_deadline(request, clock_monotonic_ms() + REQUEST_DEADLINE_MS);
    if (waiter->answer != ATH_OK)
        request->tenant->counters.denials++;
    log_info("event=consent method=%s caller=%ld/%lu answer=%s", request->method->name,
             (long)request->caller->pid, (unsigned long)request->caller->uid,
             waiter->answer == ATH_OK ? "yes" : ath_err_reason(waiter->answer));
    consent_say_limit(request, question, waiter->answer);
    consent_record_end(waiter);
    waiter->done(waiter->ctx, waiter->answer, question->is_narrowed ? &question->approved : NULL);
    TAILQ_REMOVE(&question->waiters, waiter, entry);
    free(waiter);
    if (question->is_over && TAILQ_EMPTY(&question->waiters))
        uv_close((uv_handle_t *)&question->timer, on_timer_closed);
}

/* It is told at the loop's next turn. */
static void
waiter_end(struct consent_waiter *waiter, ath_err answer)
{
    struct consent_question *question = waiter->question;

    if (waiter->is_over)
        return;
    waiter->is_over = true;
    waiter->answer = answer;
    waiter->request->cancel = NULL; /* nothing to drop any more */
    question->waiting--;
    deferred_add(&question->consent->athd->deferred, &waiter->deferred, tell, waiter);
}

/* What the user did with it decides when the next may come. */
static void
count(const struct consent_question *question, ath_err answer)
{
    struct consent_backoffs *backoffs = &question->consent->backoffs;
    const struct consent_asker *asker = &question->asker;
    const char *key = question->about.key;

    if (answer == ATH_OK && !question->is_by_window)
        consent_backoffs_approved(backoffs, asker, key);
    else if (answer == ATH_ERR_USER_DENIED)
        consent_backoffs_refused(backoffs, asker, key);
    else if (answer == ATH_ERR_CONSENT_TIMEOUT && question->shown_at_ms != 0)
        consent_backoffs_unanswered(backoffs, asker, key, question->shown_at_ms);
    if (answer != ATH_OK)
        consent_look_later(
            question->consent); /* others of this asker's may have to wait, or to go */
}

static void
leave_list(struct consent_question *question)
{
    struct consent *consent = question->consent;

    if (!question->is_listed)
        return;
    question->is_listed = false;
    TAILQ_REMOVE(&consent->questions, question, entry);
    consent->count--;
}

static void
end(struct consent_question *question, const char *state, ath_err answer)
{
    struct consent_waiter *waiter;

    question->is_over = true;
    uv_timer_stop(&question->timer);
    leave_list(question);
    if (question->prompter != NULL)
        prompter_end(question->prompter);
    question->prompter = NULL;
    if (question->is_told)
        consent_publish(question, state, answer);
    TAILQ_FOREACH (waiter, &question->waiters, entry)
        waiter_end(waiter, answer);
}

void
consent_question_end(struct consent_question *question, ath_err answer)
{
    if (question->is_over)
        return;
    if (!question->consent->is_closing)
        count(question, answer);
    end(question, answer == ATH_OK ? "approved" : "refused", answer);
}

/* ---- time ---- */

static void on_time(uv_timer_t *timer);

/* The next that somebody's time is over, or that the question may be shown. */
void
consent_question_set_timer(struct consent_question *question)
{
    uint64_t now_ms = consent_loop_ms(), next_ms = question->ends_at_ms;
    const struct consent_waiter *waiter;

    TAILQ_FOREACH (waiter, &question->waiters, entry)
        if (!waiter->is_over && waiter->ends_at_ms < next_ms)
            next_ms = waiter->ends_at_ms;
    if (question->not_before_ms != 0 && question->not_before_ms < next_ms)
        next_ms = question->not_before_ms;
    uv_update_time(question->consent->athd->loop);
    uv_timer_start(&question->timer, on_time, next_ms > now_ms ? next_ms - now_ms : 0, 0);
}

void
consent_question_wait(struct consent_question *question, uint64_t wait_ms)
{
    question->not_before_ms = consent_loop_ms() + wait_ms;
    consent_question_set_timer(question);
}

static void
on_time(uv_timer_t *timer)
{
    struct consent_question *question = timer->data;
    uint64_t now_ms = consent_loop_ms();
    struct consent_waiter *waiter;

    if (question->waiting > 0 && now_ms >= question->ends_at_ms) {
        consent_question_end(question, ATH_ERR_CONSENT_TIMEOUT);
        return;
    }
    TAILQ_FOREACH (waiter, &question->waiters, entry)
        if (!waiter->is_over && now_ms >= waiter->ends_at_ms) {
            if (question->waiting == 1) {
                consent_question_end(question, ATH_ERR_CONSENT_TIMEOUT);
                return;
            }
            waiter_end(waiter, ATH_ERR_CONSENT_TIMEOUT);
        }
    if (question->not_before_ms != 0 && now_ms >= question->not_before_ms) {
        question->not_before_ms = 0;
        consent_show(question->consent);
    }
    if (!question->is_over)
        consent_question_set_timer(question);
}

/* When the last one gives up who waits; at_least_ms where nobody does. */
static uint64_t
last_end_ms(const struct consent_question *question, uint64_t at_least_ms)
{
    const struct consent_waiter *waiter;
    uint64_t last_ms = at_least_ms;

    TAILQ_FOREACH (waiter, &question->waiters, entry)
        if (!waiter->is_over && waiter->ends_at_ms > last_ms)
            last_ms = waiter->ends_at_ms;
    return last_ms;
}

int64_t
consent_question_seconds_left(const struct consent_question *question)
{
    uint64_t now_ms = consent_loop_ms(), last_ms = last_end_ms(question, now_ms);

    return last_ms - now_ms < 1000 ? 1 : (int64_t)((last_ms - now_ms) / 1000);
}

int64_t
consent_question_expires_at(const struct consent_question *question)
{
    uint64_t from_ms = question->asked_at_ms;

    return question->asked_at + (int64_t)((last_end_ms(question, from_ms) - from_ms) / 1000);
}

/* Caller gone, deadline over or athd ending: to the caller all of these are no answer in time. The
 * others who ask the same go on waiting. */
void
consent_waiter_cancel(struct request *request, ath_err err)
{
    struct consent_waiter *waiter = request->stage;
    struct consent_question *question = waiter->question;

    waiter_end(waiter, err == ATH_ERR_AGENT_LOCKED ? err : ATH_ERR_CONSENT_TIMEOUT);
    if (question->waiting == 0 && !question->is_over) {
        if (err != ATH_ERR_AGENT_LOCKED && !question->consent->is_closing)
            count(question, ATH_ERR_CONSENT_TIMEOUT); /* else taking it back would be free */
        end(question, "gone", ATH_ERR_CONSENT_TIMEOUT);
        consent_look_later(question->consent);
    }
}

/* ---- without an answer ---- */

void
consent_question_drop(struct consent_question *question)
{
    question->is_over = true;
    uv_close((uv_handle_t *)&question->timer, on_timer_closed);
}
