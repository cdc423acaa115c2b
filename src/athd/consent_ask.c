/* From a request to its question: one that is open already, a new one, or none at all. */
#include <stdlib.h>
#include <string.h>

#include "athd/consent_question.h"
#include "athd/key.h"
#include "base/clock.h"

#define NET_MS 10000u /* the request's own deadline comes after the question's */
#define TEXT_MAX 16384u

static ath_err
refuse(struct request *request, const char *limit)
{
    request->limit = limit;
    return ATH_ERR_LIMIT_EXCEEDED;
}

static unsigned
count_of(const struct consent *consent, uid_t tenant, uint64_t identity)
{
    const struct consent_question *question;
    unsigned found = 0;

    TAILQ_FOREACH (question, &consent->questions, entry)
        found += question->asker.tenant == tenant && question->caller->identity == identity;
    return found;
}

static unsigned
count_of_tenant(const struct consent *consent, uid_t tenant)
{
    const struct consent_question *question;
    unsigned found = 0;

    TAILQ_FOREACH (question, &consent->questions, entry)
        found += question->asker.tenant == tenant;
    return found;
}

/* Callers take turns at the screen: each one's first question goes before anybody's second. */
static void
line_up(struct consent *consent, struct consent_question *question)
{
    struct consent_question *other;

    question->round = count_of(consent, question->asker.tenant, question->caller->identity);
    TAILQ_FOREACH (other, &consent->questions, entry)
        if (other->round > question->round)
            break;
    if (other != NULL)
        TAILQ_INSERT_BEFORE(other, question, entry);
    else
        TAILQ_INSERT_TAIL(&consent->questions, question, entry);
    question->is_listed = true;
    consent->count++;
}

/* The words without the number of the process. */
static ath_err
make_digest(const struct consent_text *text, struct consent_question *question)
{
    struct ath_slice words = ath_buf_slice(&text->text);
    struct ath_buf stable = {.max = TEXT_MAX};
    size_t behind = text->pid_at + text->pid_len;
    ath_err err;

    ath_buf_put(&stable, words.data, text->pid_at);
    ath_buf_put(&stable, words.data + behind, words.len - behind);
    err = stable.err != ATH_OK ? stable.err
                               : consent_about_digest(&question->about, &question->asker,
                                                      ath_buf_slice(&stable), question->digest);
    ath_buf_done(&stable);
    return err;
}

static ath_err
fill(struct consent_question *question, struct request *request, struct consent_text *text,
     const struct consent_order *order)
{
    const struct key *key = order->key;
    int64_t usual_s = request->athd->config->consent_timeout_s;
    ath_err err;

    consent_asker_of(request->caller, request->tenant->uid, &question->asker);
    if ((err = consent_about_copy(order->about, key != NULL ? key->name : NULL,
                                  key != NULL ? key->did : NULL, order->rest, &question->about)) !=
        ATH_OK)
        return err;
    question->about.method = request->method->name;
    question->can_narrow = order->can_narrow && question->about.has_scopes;
    question->can_remember = order->can_remember && consent_asker_is_known(&question->asker);
    question->only_prompter = order->only_prompter;
    question->tenant = request->tenant;
    question->caller = caller_ref(request->caller);
    question->asked_at = clock_now();
    question->asked_at_ms = consent_loop_ms();
    question->ends_at_ms =
        question->asked_at_ms +
        (uint64_t)(order->timeout_s > usual_s ? order->timeout_s : usual_s) * 1000;
    if ((question->text = ath_strdup(ath_buf_text(&text->text))) == NULL ||
        (question->ok_label = ath_strdup(order->ok_label)) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = consent_id_make('q', question->id)) != ATH_OK)
        return err;
    return make_digest(text, question);
}

static ath_err
question_new(struct request *request, struct consent_text *text, const struct consent_order *order,
             struct consent_question **ret_question)
{
    struct consent *consent = request->athd->consent;
    struct consent_question *question;
    struct consent_holds holds;
    ath_err err;

    consent_holds_of(request, order, &holds);
    consent_holds_text(&holds, request->method->name, text);
    if (text->text.len > TEXT_MAX)
        return refuse(request, "the question would be too long to be read");
    if (text->text.err != ATH_OK)
        return text->text.err;
    if ((question = calloc(1, sizeof(*question))) == NULL)
        return ATH_ERR_NOMEM;
    question->consent = consent;
    question->timer.data = question;
    question->holds = holds;
    TAILQ_INIT(&question->waiters);
    err = fill(question, request, text, order);
    if (err == ATH_OK && uv_timer_init(request->athd->loop, &question->timer) != 0)
        err = ATH_ERR_NOMEM;
    if (err != ATH_OK) {
        consent_question_free(question);
        return err;
    }
    consent->handles++;
    *ret_question = question;
    return ATH_OK;
}

static struct consent_question *
find_equal(const struct consent *consent, const struct consent_question *question)
{
    struct consent_question *other;

    TAILQ_FOREACH (other, &consent->questions, entry)
        if (memcmp(other->digest, question->digest, SHA256_LEN) == 0)
            return other;
    return NULL;
}

/* May there be one more? */
static ath_err
check_room(struct request *request, struct consent_question *question)
{
    struct consent *consent = question->consent;
    uid_t tenant = question->asker.tenant;
    bool is_refused = false;
    uint64_t wait_ms;

    wait_ms = consent_backoffs_wait(&consent->backoffs, &question->asker, question->about.key,
                                    &is_refused);
    if (is_refused) {
        question->retry_after_s = (int64_t)((wait_ms + 999) / 1000);
        consent_say_limit(request, question, ATH_ERR_RATE_LIMITED);
        return ATH_ERR_RATE_LIMITED;
    }
    if (count_of_tenant(consent, tenant) >= CONSENT_QUESTIONS_MAX)
        return refuse(request, "64 questions wait for an answer already; try again");
    if (count_of(consent, tenant, request->caller->identity) >= CONSENT_QUESTIONS_CALLER_MAX)
        return refuse(request, "56 questions of this caller's wait for an answer already");
    return ATH_OK;
}

/* The question becomes the request's stage. */
static void
take_over(struct consent_waiter *waiter, struct consent_question *question, int64_t timeout_s)
{
    struct request *request = waiter->request;
    uint64_t now_ms = consent_loop_ms();

    waiter->question = question;
    waiter->asked_at_ms = now_ms;
    waiter->ends_at_ms = now_ms + (uint64_t)timeout_s * 1000;
    if (waiter->ends_at_ms > question->ends_at_ms)
        waiter->ends_at_ms = question->ends_at_ms;
    waiter->cancel_before = request->cancel;
    waiter->stage_before = request->stage;
    request->cancel = consent_waiter_cancel;
    request->stage = waiter;
    request_set_deadline(request, clock_monotonic_ms() + waiter->ends_at_ms - now_ms + NET_MS);
    TAILQ_INSERT_TAIL(&question->waiters, waiter, entry);
    question->waiting++;
    question->asked++;
}

/* To one that is open already. */
static void
join(struct consent_waiter *waiter, struct consent_question *question, int64_t timeout_s)
{
    take_over(waiter, question, timeout_s);
    consent_record_asked(waiter);
    if (question->is_told)
        consent_publish(question, "asked", ATH_OK);
    consent_question_set_timer(question);
}

static void
begin(struct consent_waiter *waiter, struct consent_question *question, int64_t timeout_s)
{
    struct consent *consent = question->consent;

    line_up(consent, question);
    take_over(waiter, question, timeout_s);
    question->tenant->counters.prompts++;
    consent_record_asked(waiter);
    consent_question_set_timer(question);
    if (consent->is_closing)
        consent_question_end(question, ATH_ERR_HSM_UNAVAILABLE);
    else
        consent_show(consent);
}

/* What was allowed for a while needs no question, what is asked already no second one. */
static ath_err
ask(struct consent_waiter *waiter, struct consent_question *question, int64_t timeout_s)
{
    struct consent *consent = question->consent;
    struct consent_question *equal;
    ath_err err;

    if (question->can_remember && consent_windows_use(&consent->windows, &question->asker,
                                                      &question->about, question->window)) {
        question->is_by_window = true;
        take_over(waiter, question, timeout_s);
        consent_question_end(question, ATH_OK);
        return ATH_OK;
    }
    if ((equal = find_equal(consent, question)) != NULL) {
        if (equal->waiting >= CONSENT_WAITERS_MAX)
            return refuse(waiter->request, "64 requests wait for the answer to this question");
        join(waiter, equal, timeout_s);
        consent_question_drop(question);
        return ATH_OK;
    }
    if ((err = check_room(waiter->request, question)) == ATH_OK)
        begin(waiter, question, timeout_s);
    return err;
}

static void
fail(void (*done)(void), void *ctx, ath_err err)
{
    ((consent_done_fn *)done)(ctx, err, NULL);
}

void
consent_ask(struct request *request, struct consent_text *taken_text,
            const struct consent_order *order, consent_done_fn *done, void *ctx)
{
    struct athd *athd = request->athd;
    struct consent_question *question = NULL;
    struct consent_waiter *waiter = calloc(1, sizeof(*waiter));
    int64_t timeout_s = order->timeout_s > 0 ? order->timeout_s : athd->config->consent_timeout_s;
    ath_err err = waiter == NULL ? ATH_ERR_NOMEM : ATH_OK;

    if (err == ATH_OK)
        err = question_new(request, taken_text, order, &question);
    consent_text_done(taken_text);
    if (err == ATH_OK) {
        waiter->request = request;
        waiter->done = done;
        waiter->ctx = ctx;
        err = ask(waiter, question, timeout_s);
        if (err != ATH_OK)
            consent_question_drop(question);
    }
    if (err == ATH_OK)
        return;
    free(waiter);
    consent_record_refused(request, order->key != NULL ? order->key->name : NULL, err);
    deferred_fail(&athd->deferred, fail, (void (*)(void))done, ctx, err);
}
