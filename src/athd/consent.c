#include "athd/consent.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/events.h"
#include "athd/prompter.h"
#include "base/clock.h"

#define QUESTIONS_MAX 64u
#define QUESTIONS_CALLER_MAX 56u /* so that there is room for somebody else's */
#define PROMPTERS_MAX 64u        /* processes: those that were told to go included */
#define TITLE "athd"
#define NOT_OK_LABEL "Deny"
#define NET_MS 10000u /* the request's own deadline comes after the question's */

struct consent_question {
    TAILQ_ENTRY(consent_question) entry;
    struct consent *consent;
    struct request *request;
    char *description, *ok_label;
    uint64_t asked_at_ms;
    int64_t timeout_s;
    uv_timer_t timer;
    unsigned round;            /* how many of its caller's were waiting when it came */
    struct prompter *prompter; /* NULL: waits for the screen, or is over */
    bool is_over;              /* its answer is known */
    ath_err answer;
    struct deferred deferred; /* tells the answer */
    void (*cancel_before)(struct request *request, ath_err err);
    void *stage_before;
    consent_done_fn *done;
    void *ctx;
};

TAILQ_HEAD(question_list, consent_question);
TAILQ_HEAD(turn_list, consent_turn);

struct consent {
    struct athd *athd;
    struct question_list questions; /* not answered yet, in the order they are shown */
    size_t count;
    struct turn_list turns; /* waiting, and on the screen */
    bool turn_was_last;     /* a PIN had the screen, now it is a question's turn */
    unsigned on_screen;     /* prompters that have not gone */
    unsigned handles;       /* timers that are not closed */
    bool is_showing;        /* in show_next */
    bool is_closing;
};

static void show_next(struct consent *consent);

/* A terminal shows one question; a desktop as many as there are. */
static bool
is_on_terminal(void)
{
    return getenv("GPG_TTY") != NULL && getenv("DISPLAY") == NULL &&
           getenv("WAYLAND_DISPLAY") == NULL;
}

static void
publish(const struct consent_question *question, const char *state)
{
    const struct request *request = question->request;
    struct json_maker event;

    json_object_begin(&event);
    json_put_string(&event, "state", state);
    json_put_string(&event, "method", request->method->name);
    json_put_int(&event, "pid", request->caller->pid);
    events_publish_to(request->tenant, EVENT_CONSENT, &event);
}

/* That nothing was signed, and why, is on record, too. */
static void
record_end(struct request *request, ath_err answer, uint64_t asked_at_ms)
{
    struct json_maker record;

    request->has_consent = answer == ATH_OK;
    audit_record_begin(&record, answer == ATH_OK ? "consent_given" : "consent_refused", request);
    json_put_string(&record, "method", request->method->name);
    json_put_string(&record, "key", request->asked_key);
    if (answer != ATH_OK)
        json_put_string(&record, "denial_reason", ath_err_reason(answer));
    if (asked_at_ms != 0)
        json_put_int(&record, "waited_ms", (int64_t)(clock_monotonic_ms() - asked_at_ms));
    audit_record_note(request->athd, &record);
    request->asked_key = NULL;
}

static void
record_asked(const struct consent_question *question)
{
    const struct request *request = question->request;
    struct json_maker record;

    audit_record_begin(&record, "consent_asked", request);
    json_put_string(&record, "method", request->method->name);
    json_put_string(&record, "key", request->asked_key);
    json_put_int(&record, "timeout_s", question->timeout_s);
    audit_record_note(request->athd, &record);
}

/* ---- the end of a question ---- */

static void
on_timer_closed(uv_handle_t *handle)
{
    struct consent_question *question = handle->data;

    question->consent->handles--;
    free(question->description);
    free(question->ok_label);
    free(question);
}

static void
tell(void *ctx)
{
    struct consent_question *question = ctx;
    struct request *request = question->request;

    request->cancel = question->cancel_before;
    request->stage = question->stage_before;
    /* the person took their time; what follows has its own */
    request_set_deadline(request, clock_monotonic_ms() + REQUEST_DEADLINE_MS);
    if (question->answer != ATH_OK)
        request->athd->counters.denials++;
    log_info("event=consent method=%s caller=%ld/%lu answer=%s", request->method->name,
             (long)request->caller->pid, (unsigned long)request->caller->uid,
             question->answer == ATH_OK ? "yes" : ath_err_reason(question->answer));
    record_end(request, question->answer, question->asked_at_ms);
    publish(question, question->answer == ATH_OK ? "approved" : "refused");
    uv_close((uv_handle_t *)&question->timer, on_timer_closed);
    question->done(question->ctx, question->answer);
}

/* The answer is known; it is told at the loop's next turn. */
static void
end_question(struct consent_question *question, ath_err answer)
{
    struct consent *consent = question->consent;

    if (question->is_over)
        return;
    question->is_over = true;
    question->answer = answer;
    uv_timer_stop(&question->timer);
    TAILQ_REMOVE(&consent->questions, question, entry);
    consent->count--;
    if (question->prompter != NULL)
        prompter_end(question->prompter);
    question->prompter = NULL;
    question->request->cancel = NULL; /* nothing to drop any more */
    deferred_add(&consent->athd->deferred, &question->deferred, tell, question);
}

static void
on_timeout(uv_timer_t *timer)
{
    end_question(timer->data, ATH_ERR_CONSENT_TIMEOUT);
}

/* Caller gone, deadline over or athd ending: to the caller all of these are no answer in time. */
static void
on_cancel(struct request *request, ath_err err)
{
    (void)err;
    end_question(request->stage, ATH_ERR_CONSENT_TIMEOUT);
}

/* ---- the screen ---- */

/* The prompter outlives its question for the moment it takes to end it. */
static void
on_prompter_gone(void *ctx)
{
    struct consent *consent = ctx;

    consent->on_screen--;
    show_next(consent);
}

static void
on_answer(void *ctx, ath_err err)
{
    end_question(ctx, err);
}

static unsigned
seconds_left(const struct consent_question *question)
{
    uint64_t gone_s = (clock_monotonic_ms() - question->asked_at_ms) / 1000;

    return (uint64_t)question->timeout_s > gone_s
               ? (unsigned)((uint64_t)question->timeout_s - gone_s)
               : 1;
}

const char *
consent_ttyname(void)
{
    return getenv("GPG_TTY");
}

const char *
consent_ttytype(void)
{
    return getenv("TERM");
}

const char *
consent_lc_ctype(void)
{
    return getenv("LC_ALL") != NULL ? getenv("LC_ALL") : getenv("LC_CTYPE");
}

static void
show(struct consent_question *question)
{
    struct consent *consent = question->consent;
    struct pinentry_question words = {
        .title = TITLE,
        .description = question->description,
        .ok = question->ok_label,
        .not_ok = NOT_OK_LABEL,
        .timeout_s = seconds_left(question),
        .ttyname = consent_ttyname(),
        .ttytype = consent_ttytype(),
        .lc_ctype = consent_lc_ctype(),
    };
    struct prompter_events events = {on_answer, question, on_prompter_gone, consent};
    ath_err err;

    err = prompter_start(consent->athd->loop, consent->athd->config->prompter, &words, &events,
                         &question->prompter);
    if (err == ATH_OK)
        consent->on_screen++;
    else
        end_question(question, err);
}

static bool
has_room(const struct consent *consent)
{
    return !consent->is_closing && consent->on_screen < PROMPTERS_MAX &&
           (consent->on_screen == 0 || !is_on_terminal());
}

static struct consent_question *
next_question(const struct consent *consent)
{
    struct consent_question *question;

    TAILQ_FOREACH (question, &consent->questions, entry)
        if (question->prompter == NULL)
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
show_next(struct consent *consent)
{
    struct consent_question *question;
    struct consent_turn *turn;

    if (consent->is_showing)
        return; /* one whose prompter cannot be started gives its place on: to the loop below */
    consent->is_showing = true;
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
    consent->is_showing = false;
}

/* ---- turns of others ---- */

void
consent_turn_wait(struct consent *consent, struct consent_turn *turn)
{
    turn->is_waiting = true;
    turn->is_on_screen = false;
    TAILQ_INSERT_TAIL(&consent->turns, turn, entry);
    if (consent->is_closing)
        turn->closed(turn->ctx);
    else
        show_next(consent);
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
    show_next(consent);
}

/* ---- asking ---- */

static void
fail(void (*done)(void), void *ctx, ath_err err)
{
    ((consent_done_fn *)done)(ctx, err);
}

static unsigned
count_of(const struct consent *consent, uint64_t identity)
{
    const struct consent_question *question;
    unsigned count = 0;

    TAILQ_FOREACH (question, &consent->questions, entry)
        count += question->request->caller->identity == identity;
    return count;
}

static ath_err
refuse(struct request *request, const char *limit)
{
    request->limit = limit;
    return ATH_ERR_LIMIT_EXCEEDED;
}

static ath_err
question_new(struct request *request, struct consent_text *text, const char *ok_label,
             struct consent_question **ret_question)
{
    struct consent *consent = request->athd->consent;
    struct consent_question *question;
    const char *description = ath_buf_text(&text->text);

    if (text->text.err != ATH_OK)
        return text->text.err;
    if (consent->count >= QUESTIONS_MAX)
        return refuse(request, "64 questions wait for an answer already; try again");
    if (count_of(consent, request->caller->identity) >= QUESTIONS_CALLER_MAX)
        return refuse(request, "56 questions of this caller's wait for an answer already");
    if (description == NULL || (question = calloc(1, sizeof(*question))) == NULL)
        return ATH_ERR_NOMEM;
    question->description = ath_strdup(description);
    question->ok_label = ath_strdup(ok_label);
    if (question->description == NULL || question->ok_label == NULL ||
        uv_timer_init(request->athd->loop, &question->timer) != 0) {
        free(question->description);
        free(question->ok_label);
        free(question);
        return ATH_ERR_NOMEM;
    }
    question->consent = consent;
    question->timer.data = question;
    consent->handles++;
    *ret_question = question;
    return ATH_OK;
}

/* The question becomes the request's stage. */
static void
take_over(struct consent_question *question, struct request *request)
{
    question->request = request;
    question->cancel_before = request->cancel;
    question->stage_before = request->stage;
    request->cancel = on_cancel;
    request->stage = question;
    request_set_deadline(request,
                         question->asked_at_ms + (uint64_t)question->timeout_s * 1000 + NET_MS);
}

/* Callers take turns at the screen: each one's first question goes before anybody's second. */
static void
line_up(struct consent *consent, struct consent_question *question)
{
    uint64_t identity = question->request->caller->identity;
    struct consent_question *other;

    question->round = count_of(consent, identity);
    TAILQ_FOREACH (other, &consent->questions, entry)
        if (other->round > question->round)
            break;
    if (other != NULL)
        TAILQ_INSERT_BEFORE(other, question, entry);
    else
        TAILQ_INSERT_TAIL(&consent->questions, question, entry);
    consent->count++;
}

void
consent_ask(struct request *request, struct consent_text *taken_text, const char *ok_label,
            int64_t timeout_s, consent_done_fn *done, void *ctx)
{
    struct athd *athd = request->athd;
    struct consent_question *question = NULL;
    ath_err err = question_new(request, taken_text, ok_label, &question);

    consent_text_done(taken_text);
    if (err == ATH_ERR_LIMIT_EXCEEDED && request->limit == NULL)
        request->limit = "the question would be too long to be read";
    if (err != ATH_OK) {
        record_end(request, err, 0);
        deferred_fail(&athd->deferred, fail, (void (*)(void))done, ctx, err);
        return;
    }
    question->asked_at_ms = clock_monotonic_ms();
    question->timeout_s = timeout_s > 0 ? timeout_s : athd->config->consent_timeout_s;
    question->done = done;
    question->ctx = ctx;
    take_over(question, request);
    line_up(athd->consent, question);
    athd->counters.prompts++;
    record_asked(question);
    publish(question, "asked");
    uv_timer_start(&question->timer, on_timeout, (uint64_t)question->timeout_s * 1000, 0);
    if (athd->consent->is_closing)
        end_question(question, ATH_ERR_CONSENT_TIMEOUT);
    else
        show_next(athd->consent);
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
    *ret_consent = consent;
    return ATH_OK;
}

void
consent_close(struct consent *consent)
{
    struct consent_question *question;
    struct consent_turn *turn, *next;

    consent->is_closing = true;
    while ((question = TAILQ_FIRST(&consent->questions)) != NULL)
        end_question(question, ATH_ERR_CONSENT_TIMEOUT);
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
    free(consent);
}

size_t
consent_waiting(const struct consent *consent)
{
    return consent->count;
}
