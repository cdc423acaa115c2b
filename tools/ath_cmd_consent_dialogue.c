#include "ath_cmd_consent_dialogue.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ath_cmd_consent_state.h"

#define NOTE_PAUSE_MS 2000u /* between remarks about questions that come */
#define WARN_S 20           /* before its time is over this is said */

/* ---- the list ---- */

/* The same id. */
static bool
is_same(const struct json *a, const struct json *b)
{
    const struct json *id_a = json_get(a, "id"), *id_b = json_get(b, "id");

    return id_a != NULL && id_b != NULL && json_equal(id_a, id_b);
}

const struct json *
dialogue_first(const struct consent_dialogue *dialogue)
{
    return json_first(json_get(dialogue->list, "questions"));
}

/* The question of the list that has the id of this one; NULL: there is none. */
static const struct json *
find(const struct consent_dialogue *dialogue, const struct json *like)
{
    const struct json *question = dialogue_first(dialogue);

    while (question != NULL && !is_same(question, like))
        question = json_next(question);
    return question;
}

size_t
dialogue_waiting(const struct consent_dialogue *dialogue)
{
    return json_count(json_get(dialogue->list, "questions"));
}

static int64_t
count_of(const struct json *question)
{
    int64_t count = 1;

    return json_get_int(question, "count", &count) ? count : 1;
}

/* What a person read is what they answer. */
static bool
says_the_same(const struct json *a, const struct json *b)
{
    static const char *const members[] = {"text", "method", "key", "audiences", "scopes"};

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const struct json *of_a = json_get(a, members[i]), *of_b = json_get(b, members[i]);

        if ((of_a == NULL) != (of_b == NULL) || (of_a != NULL && !json_equal(of_a, of_b)))
            return false;
    }
    return true;
}

void
dialogue_drop_draft(struct consent_dialogue *dialogue)
{
    json_free(dialogue->scopes);
    dialogue->scopes = NULL;
    dialogue->remember = (struct consent_while){0, 0};
}

/* Nothing stands there any more. */
static void
put_away(struct consent_dialogue *dialogue)
{
    json_free(dialogue->shown);
    dialogue->shown = NULL;
    dialogue->mode = MODE_IDLE;
    dialogue->fate = NULL;
    dialogue_drop_draft(dialogue);
}

/* INT64_MAX: for ever. */
static int64_t
seconds_left(const struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    int64_t expires_at;

    return json_get_int(dialogue->shown, "expires_at", &expires_at) ? expires_at - moment->now
                                                                    : INT64_MAX;
}

/* `question` may be of the list. Where it cannot be shown for want of memory, none is. */
static void
take_up(struct consent_dialogue *dialogue, const struct json *question,
        const struct consent_moment *moment)
{
    struct json *copy = json_clone(question);

    put_away(dialogue);
    if ((dialogue->shown = copy) == NULL)
        return;
    dialogue->has_warned = seconds_left(dialogue, moment) <= WARN_S; /* the heading says it */
    dialogue->waiting = dialogue_waiting(dialogue);
    dialogue->rings = true;
    dialogue_show(dialogue, moment);
}

/* ---- what athd says ---- */

static void
begin_line(struct consent_dialogue *dialogue)
{
    if (dialogue->mode != MODE_IDLE)
        dialogue_say(dialogue, "\n"); /* from behind the prompt */
}

/* The question that stands there is no longer asked. */
static void
say_gone(struct consent_dialogue *dialogue)
{
    begin_line(dialogue);
    dialogue_say(dialogue, "Question ");
    dialogue_put_id(dialogue);
    dialogue_say(dialogue, dialogue->fate != NULL
                               ? dialogue->fate
                               : " is no longer asked: it was answered elsewhere, its "
                                 "time is over, or nobody waits for the answer.");
    dialogue_say(dialogue, "\n");
    put_away(dialogue);
}

static bool
has_prompt(const struct consent_dialogue *dialogue)
{
    return dialogue->mode == MODE_ASKING || dialogue->mode == MODE_PAGES;
}

/* Remarks that do not take the question from under the person's finger. */
static void
note_changes(struct consent_dialogue *dialogue, const struct json *question,
             const struct consent_moment *moment)
{
    size_t now_waiting = dialogue_waiting(dialogue);
    int64_t count = count_of(question);
    bool has_more = now_waiting > dialogue->waiting,
         is_repeated = count > count_of(dialogue->shown);

    if ((!has_more && !is_repeated) || !has_prompt(dialogue))
        return;
    if (dialogue->has_noted && moment->ms - dialogue->noted_ms < NOTE_PAUSE_MS)
        return;
    dialogue->has_noted = true;
    dialogue->noted_ms = moment->ms;
    begin_line(dialogue);
    if (has_more)
        ath_buf_printf(&dialogue->out, "(%zu questions wait now)\n", now_waiting);
    if (is_repeated)
        ath_buf_printf(&dialogue->out, "(asked %lld times now)\n", (long long)count);
    dialogue->waiting = now_waiting;
    json_free(dialogue->shown);
    dialogue->shown = json_clone(question);
    if (dialogue->shown == NULL)
        put_away(dialogue);
    else
        dialogue_put_prompt(dialogue);
}

int
consent_dialogue_tick_ms(const struct consent_dialogue *dialogue,
                         const struct consent_moment *moment)
{
    int64_t left = seconds_left(dialogue, moment);

    if (dialogue->shown == NULL || dialogue->has_warned || left > INT_MAX / 1000)
        return -1;
    return left <= WARN_S ? 0 : (int)(left - WARN_S) * 1000;
}

void
consent_dialogue_tick(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    if (consent_dialogue_tick_ms(dialogue, moment) != 0)
        return;
    dialogue->has_warned = true;
    if (!has_prompt(dialogue))
        return;
    ath_buf_printf(&dialogue->out, "\n(%d s left)\n", WARN_S);
    dialogue_put_prompt(dialogue);
}

void
consent_dialogue_list(struct consent_dialogue *dialogue, struct json *taken_list,
                      const struct consent_moment *moment)
{
    const struct json *question;
    bool had_any = dialogue_waiting(dialogue) > 0 || dialogue->list == NULL;

    json_free(dialogue->list);
    dialogue->list = taken_list;
    if (dialogue->call != CALL_NONE)
        return; /* what stands there is being answered */
    if (dialogue->shown != NULL) {
        question = find(dialogue, dialogue->shown);
        if (question != NULL && says_the_same(question, dialogue->shown)) {
            note_changes(dialogue, question, moment);
            return;
        }
        say_gone(dialogue);
    }
    if (dialogue->mode == MODE_FORGET)
        return; /* shown when the person is done with that */
    if (dialogue_first(dialogue) != NULL)
        take_up(dialogue, dialogue_first(dialogue), moment);
    else if (had_any)
        dialogue_say(dialogue, "No question waits.\n");
}

void
consent_dialogue_event(struct consent_dialogue *dialogue, const struct json *event)
{
    const char *state = json_get_string(event, "state");
    const char *reason = json_get_string(event, "reason");

    if (state == NULL || dialogue->shown == NULL || !is_same(event, dialogue->shown))
        return;
    if (strcmp(state, "approved") == 0)
        dialogue->fate = " was answered elsewhere: yes.";
    else if (strcmp(state, "refused") == 0 && reason != NULL && strcmp(reason, "USER_DENIED") == 0)
        dialogue->fate = " was answered elsewhere: no.";
    else if (strcmp(state, "refused") == 0)
        dialogue->fate = " got no answer in time.";
    else if (strcmp(state, "gone") == 0)
        dialogue->fate = " is gone: nobody waits for the answer any more.";
}

void
dialogue_go_on(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    const struct json *next = find(dialogue, dialogue->shown);

    next = next == NULL || json_next(next) == NULL ? dialogue_first(dialogue) : json_next(next);
    if (next != NULL && !is_same(next, dialogue->shown)) {
        take_up(dialogue, next, moment);
        return;
    }
    dialogue_say(dialogue, "No other question waits.\n");
    dialogue_put_prompt(dialogue);
}

void
dialogue_resume(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    if (dialogue->shown != NULL) {
        dialogue_show_rest(dialogue, moment);
        return;
    }
    dialogue->mode = MODE_IDLE;
    if (dialogue_first(dialogue) != NULL)
        take_up(dialogue, dialogue_first(dialogue), moment);
}

/* ---- calls ---- */

static void
put_answer(const struct consent_dialogue *dialogue, struct json_maker *params)
{
    bool is_yes = dialogue->call == CALL_YES;
    struct json_maker remember;

    json_put_copy(params, "id", json_get(dialogue->shown, "id"));
    json_put_bool(params, "approve", is_yes);
    if (is_yes && dialogue->scopes != NULL)
        json_put_copy(params, "scopes", dialogue->scopes);
    if (is_yes && (dialogue->remember.uses > 0 || dialogue->remember.seconds > 0)) {
        json_object_begin(&remember);
        if (dialogue->remember.uses > 0)
            json_put_int(&remember, "uses", dialogue->remember.uses);
        if (dialogue->remember.seconds > 0)
            json_put_int(&remember, "seconds", dialogue->remember.seconds);
        json_put_maker(params, "remember", &remember);
    }
    if (dialogue->call == CALL_FREEZE)
        json_put_bool(params, "freeze", true);
}

/* The next that was chosen; NULL: no more. */
static const struct json *
next_forgotten(const struct consent_dialogue *dialogue, size_t *ret_number)
{
    const struct json *item = json_first(dialogue->forgettable);
    size_t number;

    for (number = 0; item != NULL; item = json_next(item), number++) {
        if (number >= dialogue->forget_next && dialogue->forget_chosen[number]) {
            *ret_number = number;
            return item;
        }
    }
    return NULL;
}

static void
put_forget(struct consent_dialogue *dialogue, struct json_maker *params)
{
    size_t number = 0;
    const struct json *item = next_forgotten(dialogue, &number);

    dialogue->forget_next = number + 1;
    json_put_copy(params, "id", json_get(item, "id"));
}

const char *
consent_dialogue_take_call(struct consent_dialogue *dialogue, struct json **ret_params)
{
    bool is_pin = dialogue->call == CALL_YES && dialogue_is_pin(dialogue);
    struct json_maker params;

    if (dialogue->call == CALL_NONE || dialogue->is_called)
        return NULL;
    json_object_begin(&params);
    if (dialogue->call == CALL_FORGET)
        put_forget(dialogue, &params);
    else if (is_pin)
        json_put_copy(&params, "id", json_get(dialogue->shown, "id"));
    else
        put_answer(dialogue, &params);
    dialogue->is_called = true;
    if (json_maker_end(&params, ret_params) != ATH_OK)
        *ret_params = NULL; /* athd refuses a call without params */
    return dialogue->call == CALL_FORGET ? "consent.forget"
           : is_pin                      ? "consent.pinentry"
                                         : "consent.answer";
}

static void
say_done(struct consent_dialogue *dialogue)
{
    if (dialogue->call == CALL_FORGET) {
        dialogue_say(dialogue, "Forgotten.\n");
        return;
    }
    dialogue_say(dialogue, "Question ");
    dialogue_put_id(dialogue);
    dialogue_say(dialogue, dialogue_is_pin(dialogue) && dialogue->call == CALL_YES
                               ? ": its prompter has gone.\n"
                           : dialogue->call == CALL_YES ? ": yes.\n"
                           : dialogue->call == CALL_NO  ? ": no.\n"
                                                        : ": no, and the key is frozen.\n");
}

void
consent_dialogue_called(struct consent_dialogue *dialogue, ath_err err, const char *message,
                        const struct consent_moment *moment)
{
    bool is_forget = dialogue->call == CALL_FORGET;
    size_t number;

    if (err == ATH_OK) {
        say_done(dialogue);
    } else {
        dialogue_say(dialogue, "athd did not take that: ");
        dialogue_put(dialogue, message);
        dialogue_say(dialogue, "\n");
    }
    dialogue->is_called = false;
    if (is_forget && next_forgotten(dialogue, &number) != NULL)
        return;
    dialogue->call = CALL_NONE;
    if (is_forget)
        dialogue_resume(dialogue, moment);
    else
        put_away(dialogue);
}

/* ---- the rest ---- */

struct consent_dialogue *
consent_dialogue_new(void)
{
    return calloc(1, sizeof(struct consent_dialogue));
}

void
consent_dialogue_free(struct consent_dialogue *dialogue)
{
    if (dialogue == NULL)
        return;
    put_away(dialogue);
    json_free(dialogue->list);
    json_free(dialogue->forgettable);
    free(dialogue->forget_chosen);
    ath_buf_done(&dialogue->pages);
    ath_buf_done(&dialogue->out);
    free(dialogue);
}

struct ath_buf *
consent_dialogue_out(struct consent_dialogue *dialogue)
{
    return &dialogue->out;
}

bool
consent_dialogue_takes_bell(struct consent_dialogue *dialogue)
{
    bool rings = dialogue->rings;

    dialogue->rings = false;
    return rings;
}

bool
consent_dialogue_takes_flush(struct consent_dialogue *dialogue)
{
    bool flushes = dialogue->flushes;

    dialogue->flushes = false;
    return flushes;
}

void
consent_dialogue_shown(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    if (dialogue->is_settling)
        dialogue->settled_ms = moment->ms + CONSENT_SETTLE_MS;
    dialogue->is_settling = false;
}

int
consent_dialogue_look_ms(const struct consent_dialogue *dialogue,
                         const struct consent_moment *moment)
{
    if (dialogue->shown == NULL || dialogue->is_settling || consent_dialogue_wants_line(dialogue) ||
        moment->empty_ms >= dialogue->settled_ms)
        return -1;
    return moment->ms >= dialogue->settled_ms ? 0 : (int)(dialogue->settled_ms - moment->ms);
}

bool
consent_dialogue_wants_line(const struct consent_dialogue *dialogue)
{
    return dialogue->mode == MODE_SCOPES || dialogue->mode == MODE_WHILE ||
           dialogue->mode == MODE_FORGET;
}

bool
consent_dialogue_is_over(const struct consent_dialogue *dialogue)
{
    return dialogue->is_over;
}
