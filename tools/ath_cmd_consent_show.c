/* What of the dialogue stands on the screen. */
#include "ath_cmd_consent_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define ROWS_UNKNOWN 24u
#define COLUMNS_UNKNOWN 80u
#define ROWS_OF_OURS 5u     /* heading, keys, prompt, an empty row, and one to spare */
#define COLUMNS_OF_OURS 70u /* what they need for that; on fewer they take twice as many rows */
#define ROWS_MIN 8u

void
dialogue_say(struct consent_dialogue *dialogue, const char *text)
{
    ath_buf_put_string(&dialogue->out, text);
}

void
dialogue_put_id(struct consent_dialogue *dialogue)
{
    consent_words_id(dialogue->shown, &dialogue->out);
}

size_t
dialogue_columns(const struct consent_moment *moment)
{
    return moment->columns == 0 ? COLUMNS_UNKNOWN : moment->columns;
}

bool
dialogue_can_narrow(const struct consent_dialogue *dialogue)
{
    size_t count = json_count(json_get(dialogue->shown, "scopes"));

    return json_is_true(json_get(dialogue->shown, "can_narrow")) && count > 1 &&
           count <= CONSENT_SCOPES_MAX;
}

bool
dialogue_can_remember(const struct consent_dialogue *dialogue)
{
    return json_is_true(json_get(dialogue->shown, "can_remember"));
}

bool
dialogue_is_pin(const struct consent_dialogue *dialogue)
{
    return json_is_true(json_get(dialogue->shown, "pin"));
}

const char *
dialogue_key(const struct consent_dialogue *dialogue)
{
    return json_get_string(dialogue->shown, "key");
}

void
dialogue_put(struct consent_dialogue *dialogue, const char *name)
{
    char *copy = ath_strdup(name);

    if (copy == NULL)
        return;
    utf8_make_harmless(copy);
    dialogue_say(dialogue, copy);
    free(copy);
}

static void
put_draft(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    if (dialogue->scopes != NULL) {
        dialogue_say(dialogue, "y allows only:\n");
        consent_words_scopes(dialogue->scopes, dialogue_columns(moment), &dialogue->out);
    }
    if (dialogue->remember.uses > 0 || dialogue->remember.seconds > 0) {
        dialogue_say(dialogue, "y also answers the same question without asking: ");
        consent_words_while(&dialogue->remember, &dialogue->out);
        dialogue_say(dialogue, "\n");
    }
    if (dialogue->scopes != NULL || dialogue->remember.uses > 0 || dialogue->remember.seconds > 0)
        dialogue_say(dialogue, "(Esc: as it was asked)\n");
}

void
dialogue_put_prompt(struct consent_dialogue *dialogue)
{
    if (dialogue->mode == MODE_IDLE)
        return;
    if (dialogue->mode == MODE_PAGES) {
        dialogue_say(dialogue, "-- more of question ");
        dialogue_put_id(dialogue);
        dialogue_say(dialogue, ": space; n no, q leave -- ");
        return;
    }
    if (dialogue->mode == MODE_FREEZING) {
        dialogue_say(dialogue, "f again: do it; any other key: not. ");
        return;
    }
    dialogue_say(dialogue, dialogue_is_pin(dialogue) ? "y enter the PIN, n no" : "y yes, n no");
    if (dialogue_can_narrow(dialogue))
        dialogue_say(dialogue, ", s scopes");
    if (dialogue_can_remember(dialogue))
        dialogue_say(dialogue, ", w while");
    if (dialogue_key(dialogue) != NULL && !dialogue_is_pin(dialogue))
        dialogue_say(dialogue, ", f freeze");
    if (dialogue_waiting(dialogue) > 1)
        dialogue_say(dialogue, ", j next");
    dialogue_say(dialogue, ", d details, ? help\nquestion ");
    dialogue_put_id(dialogue);
    dialogue_say(dialogue, "> ");
}

void
dialogue_settle(struct consent_dialogue *dialogue)
{
    dialogue->is_settling = true;
}

/* What asks for an answer is new: nothing that was typed before is one. */
static void
begin_settling(struct consent_dialogue *dialogue)
{
    dialogue_settle(dialogue);
    dialogue->flushes = true;
    dialogue->has_said_early = false;
}

void
dialogue_show_rest(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    bool is_whole = dialogue->out.err == ATH_OK && dialogue->pages.err == ATH_OK &&
                    dialogue->pages_shown == dialogue->pages.len;

    dialogue->mode = is_whole ? MODE_ASKING : MODE_PAGES;
    if (is_whole)
        put_draft(dialogue, moment);
    dialogue_put_prompt(dialogue);
    if (is_whole)
        begin_settling(dialogue);
}

void
dialogue_show_page(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    const char *text = ath_buf_text(&dialogue->pages);
    size_t row;

    for (row = 0;
         text != NULL && row < dialogue->rows && dialogue->pages_shown < dialogue->pages.len;
         row++) {
        const char *line = text + dialogue->pages_shown;
        size_t len = strcspn(line, "\n") + 1;

        ath_buf_put(&dialogue->out, line, len);
        dialogue->pages_shown += len;
    }
    dialogue_show_rest(dialogue, moment);
}

void
dialogue_show(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    size_t rows = moment->rows == 0 ? ROWS_UNKNOWN : moment->rows;
    size_t ours = dialogue_columns(moment) < COLUMNS_OF_OURS ? 2 * ROWS_OF_OURS : ROWS_OF_OURS;
    size_t waiting = dialogue_waiting(dialogue);
    const char *text = json_get_string(dialogue->shown, "text");

    dialogue->rows = rows < ROWS_MIN + ours ? ROWS_MIN : rows - ours;
    dialogue_say(dialogue, "\n");
    consent_words_heading(dialogue->shown, waiting > 0 ? waiting - 1 : 0, moment->now,
                          &dialogue->out);
    dialogue_say(dialogue, "\n");
    ath_buf_clear(&dialogue->pages);
    consent_words_block(text == NULL ? "(athd does not say what is asked)" : text,
                        dialogue_columns(moment), &dialogue->pages);
    dialogue->pages_shown = 0;
    begin_settling(dialogue);
    dialogue_show_page(dialogue, moment);
}

/* ---- what was asked to be read ---- */

void
dialogue_put_help(struct consent_dialogue *dialogue)
{
    dialogue_say(
        dialogue,
        "y  yes, as it stands there; where a PIN is asked for: a prompter comes for it\n"
        "n  no\n"
        "s  take scopes away: say which; then y allows the others\n"
        "w  for a while: the same question is answered yes without asking, so many times or so "
        "long\n"
        "f  no, and freeze the key: it signs nothing until `ath unfreeze`\n"
        "d  details: who asks, as athd knows it\n"
        "j  the next question; this one goes on waiting\n"
        "l  list the questions that wait\n"
        "r  what is allowed for a while, and who has to wait after a no; forget some of it\n"
        "q  leave; what waits is asked elsewhere, or ends\n");
}

void
dialogue_put_list(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    const struct json *question = dialogue_first(dialogue);

    if (question == NULL)
        dialogue_say(dialogue, "No question waits.\n");
    for (; question != NULL; question = json_next(question))
        consent_words_summary(question, moment->now, dialogue_columns(moment), &dialogue->out);
}

bool
dialogue_put_rules(struct consent_dialogue *dialogue, const struct consent_moment *moment)
{
    size_t before = dialogue->out.len;

    consent_words_rules(dialogue->list, true, moment->now, dialogue_columns(moment),
                        &dialogue->out);
    if (dialogue->out.len > before)
        return true;
    dialogue_say(dialogue, "Nothing is allowed for a while, and nobody has to wait after a no.\n");
    return false;
}
