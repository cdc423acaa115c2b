/* What a person types. */
#include "ath_cmd_consent_state.h"

#include <stdlib.h>
#include <string.h>

#define KEY_ESCAPE '\033'
#define KEY_REDRAW '\014' /* ctrl-L */
#define LINE_SIZE 256u

/* ---- lines ---- */

static void
ask_line(struct consent_dialogue *dialogue, enum consent_mode mode, const char *prompt)
{
    dialogue->mode = mode;
    dialogue_say(dialogue, prompt);
}

static void
say_numbers(struct consent_dialogue *dialogue, size_t count)
{
    ath_buf_printf(&dialogue->out, "Numbers from 1 to %zu, with spaces between them.\n", count);
}

/* The asked scopes without those of the numbers. */
static void
take_scopes_away(struct consent_dialogue *dialogue, const bool *is_away)
{
    const struct json *scope;
    struct json_maker left;
    struct json *array = NULL;
    size_t number = 0;

    json_array_begin(&left);
    for (scope = json_first(json_get(dialogue->shown, "scopes")); scope != NULL;
         scope = json_next(scope), number++) {
        if (!is_away[number])
            json_put_copy(&left, NULL, scope);
    }
    if (json_maker_end(&left, &array) != ATH_OK) {
        dialogue_say(dialogue, "Out of memory.\n");
        return;
    }
    json_free(dialogue->scopes);
    dialogue->scopes = array;
    if (json_count(array) == 0) {
        dialogue_say(dialogue, "That would leave nothing to allow; n says no.\n");
        json_free(dialogue->scopes);
        dialogue->scopes = NULL;
    }
}

static void
read_scopes(struct consent_dialogue *dialogue, const char *line,
            const struct consent_moment *moment)
{
    bool is_away[CONSENT_SCOPES_MAX];
    size_t count = json_count(json_get(dialogue->shown, "scopes"));

    if (*line == '\0') {
        json_free(dialogue->scopes);
        dialogue->scopes = NULL;
    } else if (consent_words_read_numbers(line, count, is_away)) {
        take_scopes_away(dialogue, is_away);
    } else {
        say_numbers(dialogue, count);
    }
    dialogue_show_rest(dialogue, moment);
}

static void
read_while(struct consent_dialogue *dialogue, const char *line, const struct consent_moment *moment)
{
    struct consent_while remember = {0, 0};

    if (*line == '\0' || consent_words_read_while(line, &remember))
        dialogue->remember = remember;
    else
        dialogue_say(dialogue,
                     "For example: 20 (times), 2h, or 20 2h; at most 10000 times and 24h.\n");
    dialogue_show_rest(dialogue, moment);
}

static void
put_forgettable(struct json_maker *all, const struct json *list)
{
    for (const struct json *item = json_first(list); item != NULL; item = json_next(item))
        json_put_copy(all, NULL, item);
}

static void
begin_forgetting(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    struct json_maker all;

    json_free(dialogue->forgettable);
    dialogue->forgettable = NULL;
    json_array_begin(&all);
    put_forgettable(&all, json_get(dialogue->list, "allowed"));
    put_forgettable(&all, json_get(dialogue->list, "refused"));
    if (json_maker_end(&all, &dialogue->forgettable) == ATH_OK &&
        dialogue_put_rules(dialogue, moment))
        ask_line(dialogue, MODE_FORGET, "numbers to forget (Enter: none): ");
    else
        dialogue_put_prompt(dialogue);
}

static void
read_forget(struct consent_dialogue *dialogue, const char *line,
            const struct consent_moment *moment)
{
    size_t count = json_count(dialogue->forgettable);

    free(dialogue->forget_chosen);
    dialogue->forget_chosen = calloc(count, sizeof(*dialogue->forget_chosen));
    dialogue->forget_next = 0;
    if (*line != '\0' && dialogue->forget_chosen != NULL &&
        consent_words_read_numbers(line, count, dialogue->forget_chosen)) {
        dialogue->mode = dialogue->shown != NULL ? MODE_ASKING : MODE_IDLE;
        dialogue->call = CALL_FORGET;
        return;
    }
    if (*line != '\0')
        say_numbers(dialogue, count);
    dialogue_resume(dialogue, moment);
}

/* ---- keys ---- */

/* Keys that ask for something to be read; false: it is none of them. */
static bool
take_reading_key(struct consent_dialogue *dialogue, char key, const struct consent_moment *moment)
{
    switch (key) {
    case '?':
    case 'h':
        dialogue_put_help(dialogue);
        break;
    case 'l':
        dialogue_put_list(dialogue, moment);
        break;
    case 'd':
        if (dialogue->shown == NULL)
            return false;
        consent_words_details(dialogue->shown, dialogue_columns(moment), &dialogue->out);
        break;
    default:
        return false;
    }
    dialogue_put_prompt(dialogue);
    return true;
}

static void
begin_scopes(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    consent_words_scopes(json_get(dialogue->shown, "scopes"), dialogue_columns(moment),
                         &dialogue->out);
    ask_line(dialogue, MODE_SCOPES, "numbers to take away (Enter: none): ");
}

/* The key that is held down for it is no second one. */
static void
begin_freezing(struct consent_dialogue *dialogue)
{
    dialogue_say(dialogue, "This says no, and key ");
    dialogue_put(dialogue, dialogue_key(dialogue));
    dialogue_say(dialogue, " signs nothing more until `ath unfreeze`. ");
    dialogue->mode = MODE_FREEZING;
    dialogue->has_said_early = false;
    dialogue_settle(dialogue);
    dialogue_put_prompt(dialogue);
}

/* A key about the question that stands there whole. */
static void
take_answer_key(struct consent_dialogue *dialogue, char key, const struct consent_moment *moment)
{
    if (key == 'y')
        dialogue->call = CALL_YES;
    else if (key == 'n')
        dialogue->call = CALL_NO;
    else if (key == 's' && dialogue_can_narrow(dialogue))
        begin_scopes(dialogue, moment);
    else if (key == 'w' && dialogue_can_remember(dialogue))
        ask_line(dialogue, MODE_WHILE, "how often, how long (20 2h; Enter: only now): ");
    else if (key == 'f' && dialogue_key(dialogue) != NULL && !dialogue_is_pin(dialogue))
        begin_freezing(dialogue);
    else if (key == 'j')
        dialogue_go_on(dialogue, moment);
    else if (key == KEY_ESCAPE) {
        dialogue_drop_draft(dialogue);
        dialogue_put_prompt(dialogue);
    } else {
        dialogue_put_prompt(dialogue);
    }
}

/* Of what is typed before a question can have been read nothing counts; a key held down neither. */
static bool
is_too_early(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    if (dialogue->shown == NULL ||
        (!dialogue->is_settling && moment->empty_ms >= dialogue->settled_ms))
        return false;
    dialogue_settle(dialogue);
    if (!dialogue->has_said_early)
        dialogue_say(dialogue, "\n(That key came too early to be an answer: press it again.)\n");
    if (!dialogue->has_said_early)
        dialogue_put_prompt(dialogue);
    dialogue->has_said_early = true;
    return true;
}

static bool
is_printable(char key)
{
    return key > ' ' && key < 0x7f;
}

/* A question that does not stand there whole can be refused, and nothing else. */
static void
take_page_key(struct consent_dialogue *dialogue, char key, const struct consent_moment *moment)
{
    if (key == 'n')
        dialogue->call = CALL_NO;
    else if (key == ' ')
        dialogue_show_page(dialogue, moment);
    else
        dialogue_put_prompt(dialogue);
}

static void
take_key(struct consent_dialogue *dialogue, char key, const struct consent_moment *moment)
{
    if (is_too_early(dialogue, moment))
        return;
    if (is_printable(key))
        ath_buf_put_byte(&dialogue->out, (uint8_t)key);
    dialogue_say(dialogue, "\n");
    if (dialogue->mode == MODE_FREEZING) {
        dialogue->mode = MODE_ASKING;
        if (key == 'f')
            dialogue->call = CALL_FREEZE;
        else
            dialogue_put_prompt(dialogue);
    } else if (key == 'q') {
        dialogue->is_over = true;
    } else if (key == KEY_REDRAW) {
        consent_dialogue_redraw(dialogue, moment);
    } else if (key == 'r') {
        begin_forgetting(dialogue, moment);
    } else if (dialogue->mode == MODE_PAGES) {
        take_page_key(dialogue, key, moment);
    } else if (!take_reading_key(dialogue, key, moment) && dialogue->shown != NULL) {
        take_answer_key(dialogue, key, moment);
    }
}

static void
take_line(struct consent_dialogue *dialogue, const char *bytes, size_t len,
          const struct consent_moment *moment)
{
    char line[LINE_SIZE];
    size_t used = len > 0 && bytes[len - 1] == '\n' ? len - 1 : len;

    if (len == 0)
        dialogue_say(dialogue, "\n"); /* ctrl-D: the cursor still stands behind the prompt */
    if (used >= sizeof(line) || memchr(bytes, '\0', used) != NULL)
        used = 0;
    memcpy(line, bytes, used);
    line[used] = '\0';
    if (dialogue->mode == MODE_SCOPES)
        read_scopes(dialogue, line, moment);
    else if (dialogue->mode == MODE_WHILE)
        read_while(dialogue, line, moment);
    else
        read_forget(dialogue, line, moment);
}

void
consent_dialogue_keys(struct consent_dialogue *dialogue, const char *bytes, size_t len,
                      const struct consent_moment *moment)
{
    if (dialogue->call != CALL_NONE || dialogue->is_over)
        return;
    if (consent_dialogue_wants_line(dialogue))
        take_line(dialogue, bytes, len, moment);
    else if (len == 1)
        take_key(dialogue, bytes[0], moment);
    else if (len > 1)
        dialogue_settle(dialogue); /* an arrow key, or pasted: no single key a person pressed */
}

void
consent_dialogue_redraw(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    if (dialogue->call != CALL_NONE)
        return;
    dialogue->mode = dialogue->shown != NULL ? MODE_ASKING : MODE_IDLE;
    if (dialogue->shown != NULL)
        dialogue_show(dialogue, moment);
    else
        dialogue_say(dialogue, "No question waits.\n");
}
