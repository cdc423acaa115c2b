/* The dialogue of `ath consent`, played with any keys, lists, events and times. What is asked
 * stands in a list of eight questions, of which one has words of the input's; the input is steps,
 * each a letter and its bytes. Whatever happens: a yes is said only where a single y was pressed,
 * long enough after what stands there was shown, about a question that is asked, with no scope that
 * was not; and nothing that steers a terminal is shown. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tools/ath_cmd_consent_dialogue.h"

#define QUESTIONS 8u
#define WORDS_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct play {
    struct consent_dialogue *dialogue;
    struct consent_moment moment;
    struct ath_slice rest;
    struct ath_slice words; /* of the last question */
    uint8_t asked;          /* a bit for each question that is asked */
    uint64_t shown_ms;      /* when what was typed before was thrown away last */
    bool is_y;              /* the last that was typed was a single y */
};

static uint8_t
take(struct play *play)
{
    uint8_t byte = play->rest.len == 0 ? 0 : play->rest.data[0];

    if (play->rest.len > 0)
        play->rest = ath_slice_of(play->rest.data + 1, play->rest.len - 1);
    return byte;
}

static struct ath_slice
take_bytes(struct play *play, size_t max)
{
    size_t len = take(play);
    struct ath_slice bytes;

    len = len > max ? max : len;
    len = len > play->rest.len ? play->rest.len : len;
    bytes = ath_slice_of(play->rest.data, len);
    play->rest = ath_slice_of(play->rest.data + len, play->rest.len - len);
    return bytes;
}

/* ---- what is asked ---- */

/* UTF-8 of the bytes, whatever they are. */
static void
put_words(struct json_maker *question, struct ath_slice bytes)
{
    struct ath_buf text = {0};
    size_t i;

    ath_buf_put_string(&text, "May it?\n");
    for (i = 0; i < bytes.len && i < WORDS_MAX; i++)
        utf8_put(&text, bytes.data[i] == 0 ? 0x202E : bytes.data[i]);
    json_put_slice(question, "text", ath_buf_slice(&text));
    ath_buf_done(&text);
}

static void
put_question(struct json_maker *all, const struct play *play, unsigned number)
{
    static const char *const names[] = {"a", "b", "c"};
    struct json_maker question, scopes;
    char id[16];
    unsigned i;

    snprintf(id, sizeof(id), "q%u", number);
    json_object_begin(&question);
    json_put_string(&question, "id", id);
    json_put_string(&question, "method", "credential.issue");
    json_put_string(&question, "key", number % 3 == 0 ? NULL : "alice");
    json_array_begin(&scopes);
    for (i = 0; i < 3; i++)
        json_put_string(&scopes, NULL, names[i]);
    json_put_maker(&question, "scopes", &scopes);
    json_put_bool(&question, "can_narrow", number % 2 == 0);
    json_put_bool(&question, "can_remember", number % 4 < 2);
    put_words(&question, number + 1 == QUESTIONS ? play->words : ath_slice_of(NULL, 0));
    json_put_int(&question, "count", number + 1);
    json_put_int(&question, "expires_at", play->moment.now + number * 10);
    json_put_maker(all, NULL, &question);
}

static void
put_rules(struct json_maker *list, const char *member, unsigned count)
{
    struct json_maker rules, rule;

    json_array_begin(&rules);
    while (count-- > 0) {
        json_object_begin(&rule);
        json_put_string(&rule, "id", "w");
        json_put_string(&rule, "method", "m\x1b");
        json_put_maker(&rules, NULL, &rule);
    }
    json_put_maker(list, member, &rules);
}

static void
list(struct play *play)
{
    struct json_maker list, questions;
    struct json *tree = NULL;
    unsigned number;

    play->asked = take(play);
    json_object_begin(&list);
    json_array_begin(&questions);
    for (number = 0; number < QUESTIONS; number++)
        if ((play->asked >> number & 1) != 0)
            put_question(&questions, play, number);
    json_put_maker(&list, "questions", &questions);
    put_rules(&list, "allowed", play->asked % 3);
    put_rules(&list, "refused", play->asked % 2);
    if (json_maker_end(&list, &tree) == ATH_OK)
        consent_dialogue_list(play->dialogue, tree, &play->moment);
}

static void
tell(struct play *play)
{
    static const char *const states[] = {"asked", "approved", "refused", "gone", "else"};
    struct json_maker event;
    struct json *tree = NULL;
    char id[16];

    snprintf(id, sizeof(id), "q%u", take(play) % QUESTIONS);
    json_object_begin(&event);
    json_put_string(&event, "state", states[take(play) % 5]);
    json_put_string(&event, "id", id);
    if (json_maker_end(&event, &tree) == ATH_OK)
        consent_dialogue_event(play->dialogue, tree);
    json_free(tree);
}

/* ---- what must hold ---- */

static void
check_shown(struct play *play)
{
    struct ath_buf *out = consent_dialogue_out(play->dialogue);
    struct ath_slice rest = ath_buf_slice(out);

    assert(out->err == ATH_OK);
    while (rest.len > 0) {
        uint32_t code_point = 0;
        size_t len = utf8_next(rest, &code_point);

        assert(len > 0 && (code_point == '\n' || !utf8_is_harmful(code_point)));
        rest = ath_slice_of(rest.data + len, rest.len - len);
    }
    ath_buf_clear(out);
    if (consent_dialogue_takes_flush(play->dialogue))
        play->shown_ms = play->moment.ms;
    consent_dialogue_shown(play->dialogue, &play->moment);
    assert(consent_dialogue_look_ms(play->dialogue, &play->moment) <= (int)CONSENT_SETTLE_MS);
}

static void
check_yes(const struct play *play, const struct json *params)
{
    const char *id = json_get_string(params, "id");
    const struct json *scopes = json_get(params, "scopes"), *scope;

    assert(play->is_y && play->moment.empty_ms - play->shown_ms >= CONSENT_SETTLE_MS);
    assert(id != NULL && (play->asked >> (id[1] - '0') & 1) != 0);
    assert(scopes == NULL || (json_count(scopes) > 0 && json_count(scopes) < 3));
    for (scope = json_first(scopes); scope != NULL; scope = json_next(scope))
        assert(strchr("abc", json_string(scope)[0]) != NULL);
    assert(json_get(params, "freeze") == NULL);
}

static void
check_call(struct play *play, bool is_good)
{
    struct json *params = NULL;
    const char *method = consent_dialogue_take_call(play->dialogue, &params);

    if (method == NULL)
        return;
    if (strcmp(method, "consent.answer") == 0 && json_is_true(json_get(params, "approve")))
        check_yes(play, params);
    json_free(params);
    consent_dialogue_called(play->dialogue, is_good ? ATH_OK : ATH_ERR_POLICY_DENIED, "no\x1b[2J",
                            &play->moment);
}

static void
step(struct play *play)
{
    struct ath_slice bytes;

    switch (take(play)) {
    case 'L':
        list(play);
        break;
    case 'E':
        tell(play);
        break;
    case 'K':
        bytes = take_bytes(play, 64);
        play->is_y = ath_slice_is(bytes, "y");
        play->moment.empty_ms = play->moment.ms;
        consent_dialogue_keys(play->dialogue, (const char *)bytes.data, bytes.len, &play->moment);
        break;
    case 'T':
        play->moment.ms += take(play) * 10u;
        play->moment.now += take(play) % 30;
        consent_dialogue_tick(play->dialogue, &play->moment);
        assert(consent_dialogue_tick_ms(play->dialogue, &play->moment) != 0);
        break;
    case 'S':
        play->moment.columns = take(play);
        play->moment.rows = take(play);
        break;
    case 'R':
        consent_dialogue_redraw(play->dialogue, &play->moment);
        break;
    case 'W':
        play->words = take_bytes(play, 255);
        break;
    default:
        break;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play play = {.moment = {.ms = 5000, .now = 1800000000, .columns = 80, .rows = 24},
                        .rest = ath_slice_of(data, size)};

    play.dialogue = consent_dialogue_new();
    assert(play.dialogue != NULL);
    while (play.rest.len > 0) {
        step(&play);
        check_call(&play, play.rest.len % 2 == 0);
        check_shown(&play);
    }
    consent_dialogue_free(play.dialogue);
    return 0;
}
