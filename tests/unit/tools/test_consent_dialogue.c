#include "tests/support/support.h"

#include <stdio.h>

#include "tools/ath_cmd_consent_dialogue.h"

#define NOW 1800000000
#define LATER (CONSENT_SETTLE_MS + 1)

static const struct json_limits limits = {
    .max_len = 1024 * 1024, .max_depth = 8, .max_members = 1000, .numbers = JSON_INTEGERS};

#define QUESTION(id, words)                                                                        \
    "{\"id\":\"" id "\",\"method\":\"credential.issue\",\"key\":\"alice\","                        \
    "\"scopes\":[\"a\",\"b\",\"c\"],\"can_narrow\":true,\"can_remember\":true,"                    \
    "\"text\":\"" words "\",\"caller\":{\"uid\":0,\"pid\":7,\"exe\":\"/usr/bin/node\"},"           \
    "\"count\":3,\"asked_at\":1800000000,\"expires_at\":1800000120}"
#define PLAIN(id)                                                                                  \
    "{\"id\":\"" id "\",\"method\":\"attestation.create\",\"can_narrow\":false,"                   \
    "\"can_remember\":false,\"text\":\"Plain?\",\"caller\":{\"uid\":0,\"pid\":7},\"count\":1,"     \
    "\"asked_at\":1800000000,\"expires_at\":1800000120}"
#define RULES                                                                                      \
    "\"allowed\":[{\"id\":\"w1\",\"method\":\"credential.issue\",\"asker\":{\"uid\":0},"           \
    "\"uses_left\":3,\"expires_at\":1800000060}],"                                                 \
    "\"refused\":[{\"id\":\"r1\",\"asker\":{\"uid\":0},\"refusals\":2,\"next_at\":1800000002}]"

/* A dialogue, and a person and an athd who play their parts. */
struct scene {
    struct consent_dialogue *dialogue;
    struct consent_moment moment;
};

static int
begin(void **state)
{
    static struct scene scene;

    scene.dialogue = consent_dialogue_new();
    scene.moment = (struct consent_moment){.ms = 5000, .now = NOW, .columns = 80, .rows = 24};
    *state = &scene;
    return scene.dialogue == NULL;
}

static int
end(void **state)
{
    struct scene *scene = *state;

    consent_dialogue_free(scene->dialogue);
    return 0;
}

static struct json *
parse(const char *text)
{
    struct json *tree = NULL;

    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &tree), ATH_OK);
    return tree;
}

/* Came this to stand on the screen since the last look away? */
static bool
shows(struct scene *scene, const char *text)
{
    struct ath_buf *out = consent_dialogue_out(scene->dialogue);

    return ath_buf_text(out) != NULL && strstr(ath_buf_text(out), text) != NULL;
}

static void
look_away(struct scene *scene)
{
    ath_buf_clear(consent_dialogue_out(scene->dialogue));
    (void)consent_dialogue_takes_bell(scene->dialogue);
    (void)consent_dialogue_takes_flush(scene->dialogue);
}

/* It is on the screen now. */
static void
stand_there(struct scene *scene)
{
    consent_dialogue_shown(scene->dialogue, &scene->moment);
}

static void
list(struct scene *scene, const char *questions)
{
    char text[16384];

    snprintf(text, sizeof(text), "{\"attending\":true,\"questions\":[%s]," RULES "}", questions);
    look_away(scene);
    consent_dialogue_list(scene->dialogue, parse(text), &scene->moment);
    stand_there(scene);
}

static void
hear(struct scene *scene, const char *text)
{
    struct json *event = parse(text);

    consent_dialogue_event(scene->dialogue, event);
    json_free(event);
}

/* At once, and read at once. */
static void
type(struct scene *scene, const char *bytes)
{
    look_away(scene);
    scene->moment.empty_ms = scene->moment.ms;
    consent_dialogue_keys(scene->dialogue, bytes, strlen(bytes), &scene->moment);
    stand_there(scene);
}

static void
wait_and_type(struct scene *scene, const char *bytes)
{
    scene->moment.ms += LATER;
    type(scene, bytes);
}

/* The call that is to be made now is this one, "method params"; "": none. */
static void
check_call(struct scene *scene, const char *expected)
{
    struct json *params = NULL;
    struct ath_buf line = {0};
    const char *method = consent_dialogue_take_call(scene->dialogue, &params);

    if (method != NULL) {
        ath_buf_printf(&line, "%s ", method);
        json_write(params, &line);
    }
    assert_string_equal(ath_buf_text(&line), expected);
    ath_buf_done(&line);
    json_free(params);
}

static void
called(struct scene *scene, ath_err err, const char *message)
{
    look_away(scene);
    consent_dialogue_called(scene->dialogue, err, message, &scene->moment);
    stand_there(scene);
}

#define YES(id) "consent.answer {\"id\":\"" id "\",\"approve\":true}"
#define NO(id) "consent.answer {\"id\":\"" id "\",\"approve\":false}"

/* ---- answers ---- */

static void
test_a_question_is_shown_whole_and_answered_by_one_key(void **state)
{
    struct scene *scene = *state;

    list(scene, QUESTION("12", "Let it?\\n\\nWho: \\\"x\\\""));
    assert_true(shows(scene, "Question 12 (asked 3 times, 2 min left)"));
    assert_true(shows(scene, "| Let it?\n|\n| Who: \"x\"\n"));
    assert_true(shows(scene, "question 12> "));
    assert_true(consent_dialogue_takes_bell(scene->dialogue));
    assert_true(consent_dialogue_takes_flush(scene->dialogue));
    assert_false(consent_dialogue_takes_flush(scene->dialogue));
    wait_and_type(scene, "y");
    check_call(scene, YES("12"));
    check_call(scene, "");
    called(scene, ATH_OK, "");
    assert_true(shows(scene, "Question 12: yes."));
    list(scene, "");
    assert_true(shows(scene, "No question waits."));
}

static void
test_no_is_no(void **state)
{
    struct scene *scene = *state;

    list(scene, PLAIN("1"));
    wait_and_type(scene, "n");
    check_call(scene, NO("1"));
    called(scene, ATH_OK, "");
    assert_true(shows(scene, "Question 1: no."));
}

static void
test_other_keys_answer_nothing(void **state)
{
    struct scene *scene = *state;
    int key;

    list(scene, PLAIN("1"));
    for (key = 1; key < 256; key++) {
        char bytes[2] = {(char)key, '\0'};

        if (strchr("ynq", key) != NULL)
            continue;
        wait_and_type(scene, bytes);
        check_call(scene, "");
        if (consent_dialogue_wants_line(scene->dialogue))
            wait_and_type(scene, "\n");
    }
    assert_false(consent_dialogue_is_over(scene->dialogue));
}

/* ---- what was not pressed for this question ---- */

static void
test_a_key_pressed_too_early_is_no_answer(void **state)
{
    struct scene *scene = *state;
    int i;

    list(scene, PLAIN("1"));
    scene->moment.ms += CONSENT_SETTLE_MS - 1;
    type(scene, "y");
    check_call(scene, "");
    assert_true(shows(scene, "too early"));
    for (i = 0; i < 100; i++) { /* a key held down never answers */
        scene->moment.ms += 30;
        type(scene, "y");
        check_call(scene, "");
    }
    wait_and_type(scene, "y");
    check_call(scene, YES("1"));
}

/* Pressed at some time after empty_ms, read now. */
static void
read_late(struct scene *scene, uint64_t empty_ms)
{
    look_away(scene);
    scene->moment.empty_ms = empty_ms;
    consent_dialogue_keys(scene->dialogue, "y", 1, &scene->moment);
}

static void
test_a_key_that_is_read_late_may_have_been_pressed_too_early(void **state)
{
    struct scene *scene = *state;
    uint64_t shown_ms = scene->moment.ms;

    list(scene, PLAIN("1"));
    scene->moment.ms += 10 * CONSENT_SETTLE_MS;
    read_late(scene, shown_ms + CONSENT_SETTLE_MS - 1);
    check_call(scene, "");
    assert_true(shows(scene, "too early"));
    stand_there(scene);
    read_late(scene, scene->moment.ms + CONSENT_SETTLE_MS - 1);
    check_call(scene, "");
    stand_there(scene);
    read_late(scene, scene->moment.ms + CONSENT_SETTLE_MS);
    check_call(scene, YES("1"));
}

static void
test_words_that_are_not_on_the_screen_yet_cannot_be_answered(void **state)
{
    struct scene *scene = *state;

    consent_dialogue_list(scene->dialogue, parse("{\"questions\":[" PLAIN("1") "]," RULES "}"),
                          &scene->moment);
    scene->moment.ms += 10 * CONSENT_SETTLE_MS;
    assert_int_equal(consent_dialogue_look_ms(scene->dialogue, &scene->moment), -1);
    read_late(scene, scene->moment.ms);
    check_call(scene, "");
    stand_there(scene); /* from now on the time counts */
    scene->moment.ms += CONSENT_SETTLE_MS - 1;
    read_late(scene, scene->moment.ms);
    check_call(scene, "");
    stand_there(scene);
    wait_and_type(scene, "y");
    check_call(scene, YES("1"));
}

static void
test_when_the_time_is_over_it_is_seen_whether_something_was_typed(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(consent_dialogue_look_ms(scene->dialogue, &scene->moment), -1);
    list(scene, QUESTION("1", "A?"));
    scene->moment.empty_ms = scene->moment.ms;
    assert_int_equal(consent_dialogue_look_ms(scene->dialogue, &scene->moment), CONSENT_SETTLE_MS);
    scene->moment.ms += CONSENT_SETTLE_MS + 5;
    assert_int_equal(consent_dialogue_look_ms(scene->dialogue, &scene->moment), 0);
    scene->moment.empty_ms = scene->moment.ms;
    assert_int_equal(consent_dialogue_look_ms(scene->dialogue, &scene->moment), -1);
    type(scene, "s");
    assert_true(consent_dialogue_wants_line(scene->dialogue));
    scene->moment.empty_ms = 0;
    assert_int_equal(consent_dialogue_look_ms(scene->dialogue, &scene->moment), -1);
}

static void
test_what_is_pasted_is_no_answer(void **state)
{
    struct scene *scene = *state;

    list(scene, PLAIN("1"));
    wait_and_type(scene, "yy");
    check_call(scene, "");
    type(scene, "y"); /* the paste's next piece */
    check_call(scene, "");
    wait_and_type(scene, "\033[A"); /* an arrow */
    check_call(scene, "");
}

static void
test_a_question_that_comes_does_not_take_the_place_of_another(void **state)
{
    struct scene *scene = *state;

    list(scene, PLAIN("1"));
    scene->moment.ms += LATER;
    list(scene, PLAIN("0") "," PLAIN("1") "," PLAIN("2"));
    assert_true(shows(scene, "(3 questions wait now)"));
    assert_true(shows(scene, "question 1> "));
    type(scene, "y");
    check_call(scene, YES("1"));
    type(scene, "y"); /* while the answer is on its way */
    called(scene, ATH_OK, "");
    list(scene, PLAIN("0") "," PLAIN("2"));
    assert_true(shows(scene, "Question 0"));
    type(scene, "y"); /* pressed twice: the second is for nothing */
    check_call(scene, "");
}

static void
test_a_question_that_goes_takes_its_half_made_answer_with_it(void **state)
{
    struct scene *scene = *state;

    list(scene, QUESTION("1", "A?") "," QUESTION("2", "B?"));
    wait_and_type(scene, "s");
    assert_true(consent_dialogue_wants_line(scene->dialogue));
    hear(scene, "{\"topic\":\"consent\",\"state\":\"approved\",\"id\":\"1\"}");
    list(scene, QUESTION("2", "B?"));
    assert_true(shows(scene, "Question 1 was answered elsewhere: yes."));
    assert_true(shows(scene, "| B?"));
    assert_false(consent_dialogue_wants_line(scene->dialogue));
    assert_true(consent_dialogue_takes_flush(scene->dialogue));
    wait_and_type(scene, "y");
    check_call(scene, YES("2"));
}

static void
test_a_question_whose_words_change_is_another_question(void **state)
{
    struct scene *scene = *state;

    list(scene, QUESTION("1", "A?"));
    scene->moment.ms += LATER;
    list(scene, QUESTION("1", "B?"));
    assert_true(shows(scene, "| B?"));
    type(scene, "y");
    check_call(scene, "");
}

static void
test_why_a_question_has_gone_is_said(void **state)
{
    static const struct {
        const char *event, *words;
    } cases[] = {
        {"{\"state\":\"refused\",\"reason\":\"USER_DENIED\",\"id\":\"1\"}", "elsewhere: no."},
        {"{\"state\":\"refused\",\"reason\":\"CONSENT_TIMEOUT\",\"id\":\"1\"}", "in time"},
        {"{\"state\":\"gone\",\"id\":\"1\"}", "nobody waits"},
        {"{\"state\":\"gone\",\"id\":\"2\"}", "is no longer asked"},
    };
    struct scene *scene = *state;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        list(scene, PLAIN("1"));
        hear(scene, cases[i].event);
        list(scene, "");
        assert_true(shows(scene, cases[i].words));
    }
}

/* ---- the answer as it is made ---- */

static void
test_scopes_are_taken_away_and_the_rest_is_shown_before_the_yes(void **state)
{
    struct scene *scene = *state;

    list(scene, QUESTION("1", "A?"));
    wait_and_type(scene, "s");
    assert_true(shows(scene, "| 1  a\n| 2  b\n| 3  c\n"));
    type(scene, "2 3\n");
    assert_true(shows(scene, "y allows only:\n| 1  a\n"));
    assert_true(consent_dialogue_takes_flush(scene->dialogue));
    type(scene, "y"); /* not at once */
    check_call(scene, "");
    wait_and_type(scene, "y");
    check_call(scene, "consent.answer {\"id\":\"1\",\"approve\":true,\"scopes\":[\"a\"]}");
}

static void
test_numbers_that_are_none_take_nothing_away(void **state)
{
    static const char *const lines[] = {"4\n", "0\n", "x\n", "1 2 3\n", "\n", ""};
    struct scene *scene = *state;
    size_t i;

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        list(scene, QUESTION("1", "A?"));
        wait_and_type(scene, "s");
        type(scene, lines[i]);
        wait_and_type(scene, "y");
        check_call(scene, YES("1"));
        called(scene, ATH_OK, "");
    }
}

static void
test_a_while_goes_with_the_yes_and_escape_takes_it_back(void **state)
{
    struct scene *scene = *state;

    list(scene, QUESTION("1", "A?"));
    wait_and_type(scene, "w");
    type(scene, "20 2h\n");
    assert_true(shows(scene, "20 times, for 2 h"));
    wait_and_type(scene, "\033");
    wait_and_type(scene, "w");
    type(scene, "5\n");
    wait_and_type(scene, "y");
    check_call(scene, "consent.answer {\"id\":\"1\",\"approve\":true,\"remember\":{\"uses\":5}}");
    called(scene, ATH_OK, "");
    list(scene, QUESTION("2", "A?"));
    wait_and_type(scene, "w");
    type(scene, "soon\n");
    assert_true(shows(scene, "For example"));
    wait_and_type(scene, "y"); /* nothing of the one before is left */
    check_call(scene, YES("2"));
}

static void
test_a_no_carries_neither_scopes_nor_a_while(void **state)
{
    struct scene *scene = *state;

    list(scene, QUESTION("1", "A?"));
    wait_and_type(scene, "s");
    type(scene, "1\n");
    wait_and_type(scene, "w");
    type(scene, "1h\n");
    wait_and_type(scene, "n");
    check_call(scene, NO("1"));
}

static void
test_what_a_question_does_not_allow_is_not_offered(void **state)
{
    static const char *const keys[] = {"s", "w", "f"};
    struct scene *scene = *state;
    size_t i;

    list(scene, PLAIN("1"));
    assert_false(shows(scene, "s scopes") || shows(scene, "w while") || shows(scene, "freeze"));
    for (i = 0; i < 3; i++) {
        wait_and_type(scene, keys[i]);
        assert_false(consent_dialogue_wants_line(scene->dialogue));
    }
    check_call(scene, "");
}

static void
test_freezing_takes_two_keys(void **state)
{
    struct scene *scene = *state;

    list(scene, QUESTION("1", "A?"));
    wait_and_type(scene, "f");
    assert_true(shows(scene, "alice"));
    wait_and_type(scene, "y"); /* any other key: not, and no yes either */
    check_call(scene, "");
    type(scene, "f");
    for (int i = 0; i < 30; i++) { /* the key is held down */
        scene->moment.ms += 30;
        type(scene, "f");
        check_call(scene, "");
    }
    wait_and_type(scene, "f");
    check_call(scene, "consent.answer {\"id\":\"1\",\"approve\":false,\"freeze\":true}");
}

/* ---- long questions ---- */

static void
list_long(struct scene *scene)
{
    char text[8192], words[4096] = "";
    int i;

    for (i = 1; i <= 60; i++)
        snprintf(words + strlen(words), sizeof(words) - strlen(words), "line %d\\n", i);
    snprintf(text, sizeof(text),
             "{\"id\":\"1\",\"method\":\"m\",\"key\":\"k\",\"text\":\"%s\",\"count\":1}", words);
    list(scene, text);
}

static void
test_a_question_that_does_not_fit_is_answered_at_its_end_only(void **state)
{
    static const char *const keys[] = {"y", "r", "\033", "s", "w", "f", "f", "?", "l", "d", "\014"};
    struct scene *scene = *state;
    size_t i;

    list_long(scene);
    assert_true(shows(scene, "line 19\n") && !shows(scene, "line 20\n"));
    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        wait_and_type(scene, keys[i]);
        if (consent_dialogue_wants_line(scene->dialogue))
            wait_and_type(scene, "\n");
        wait_and_type(scene, "y");
        check_call(scene, "");
    }
    for (i = 0; i < 3; i++)
        wait_and_type(scene, " ");
    assert_true(shows(scene, "line 60\n"));
    type(scene, "y"); /* with the space bar */
    check_call(scene, "");
    wait_and_type(scene, "y");
    check_call(scene, YES("1"));
}

static void
test_a_question_that_does_not_fit_can_be_refused_at_once(void **state)
{
    struct scene *scene = *state;

    list_long(scene);
    wait_and_type(scene, "n");
    check_call(scene, NO("1"));
}

/* ---- the rest ---- */

static void
test_the_next_question_can_be_looked_at_first(void **state)
{
    struct scene *scene = *state;

    list(scene, PLAIN("1") "," PLAIN("2"));
    assert_true(shows(scene, "1 other waits") && shows(scene, "j next"));
    wait_and_type(scene, "j");
    assert_true(shows(scene, "question 2> "));
    type(scene, "y");
    check_call(scene, "");
    wait_and_type(scene, "j");
    assert_true(shows(scene, "question 1> "));
    wait_and_type(scene, "y");
    check_call(scene, YES("1"));
}

static void
test_windows_and_pauses_are_forgotten_by_number(void **state)
{
    struct scene *scene = *state;

    list(scene, "");
    type(scene, "r");
    assert_true(shows(scene, "| 1  credential.issue") && shows(scene, "| 2  "));
    assert_true(consent_dialogue_wants_line(scene->dialogue));
    type(scene, "2 1\n");
    check_call(scene, "consent.forget {\"id\":\"w1\"}");
    called(scene, ATH_OK, "");
    check_call(scene, "consent.forget {\"id\":\"r1\"}");
    called(scene, ATH_ERR_CONSENT_NOT_FOUND, "it is not there");
    assert_true(shows(scene, "it is not there"));
    check_call(scene, "");
}

static void
test_a_question_waits_while_rules_are_looked_at(void **state)
{
    struct scene *scene = *state;

    list(scene, "");
    type(scene, "r");
    list(scene, PLAIN("1"));
    assert_false(shows(scene, "Plain?"));
    type(scene, "\n");
    assert_true(shows(scene, "Plain?"));
}

static void
test_what_athd_does_not_take_is_said_and_the_question_comes_again(void **state)
{
    struct scene *scene = *state;

    list(scene, PLAIN("1"));
    wait_and_type(scene, "y");
    check_call(scene, YES("1"));
    called(scene, ATH_ERR_POLICY_DENIED, "no rule\033[2J");
    assert_true(shows(scene, "no rule?[2J"));
    list(scene, PLAIN("1"));
    assert_true(shows(scene, "Plain?"));
}

static void
test_details_and_help_keep_the_question(void **state)
{
    struct scene *scene = *state;

    list(scene, QUESTION("1", "A?"));
    wait_and_type(scene, "d");
    assert_true(shows(scene, "| caller exe: /usr/bin/node"));
    assert_true(shows(scene, "question 1> "));
    type(scene, "?");
    assert_true(shows(scene, "take scopes away"));
    type(scene, "l");
    assert_true(shows(scene, "credential.issue, key alice"));
    type(scene, "y");
    check_call(scene, YES("1"));
}

static void
test_that_time_runs_out_is_said_once(void **state)
{
    struct scene *scene = *state;

    list(scene, QUESTION("1", "A?"));
    assert_int_equal(consent_dialogue_tick_ms(scene->dialogue, &scene->moment), 100000);
    consent_dialogue_tick(scene->dialogue, &scene->moment);
    assert_false(shows(scene, "20 s left"));
    scene->moment.now += 100;
    scene->moment.ms += 100000;
    assert_int_equal(consent_dialogue_tick_ms(scene->dialogue, &scene->moment), 0);
    consent_dialogue_tick(scene->dialogue, &scene->moment);
    assert_true(shows(scene, "(20 s left)"));
    assert_int_equal(consent_dialogue_tick_ms(scene->dialogue, &scene->moment), -1);
    type(scene, "y");
    check_call(scene, YES("1"));
    called(scene, ATH_OK, "");
    assert_int_equal(consent_dialogue_tick_ms(scene->dialogue, &scene->moment), -1);
}

static void
test_q_leaves(void **state)
{
    struct scene *scene = *state;

    list(scene, "");
    type(scene, "q");
    assert_true(consent_dialogue_is_over(scene->dialogue));
}

/* A whole dialogue; where an allocation failed, the answer lacks nothing that was shown. */
static ath_err
talk(void *ctx)
{
    struct consent_moment moment = {.ms = 5000, .now = NOW, .columns = 80, .rows = 24};
    struct consent_dialogue *dialogue = consent_dialogue_new();
    struct json *list = json_clone(ctx), *params = NULL;
    const char *method = NULL;

    if (dialogue == NULL || list == NULL) {
        consent_dialogue_free(dialogue);
        json_free(list);
        return ATH_ERR_NOMEM;
    }
    consent_dialogue_list(dialogue, list, &moment);
    consent_dialogue_shown(dialogue, &moment);
    moment.empty_ms = moment.ms += LATER;
    consent_dialogue_keys(dialogue, "s", 1, &moment);
    if (consent_dialogue_wants_line(dialogue))
        consent_dialogue_keys(dialogue, "1\n", 2, &moment);
    consent_dialogue_shown(dialogue, &moment);
    moment.empty_ms = moment.ms += LATER;
    consent_dialogue_keys(dialogue, "y", 1, &moment);
    if ((method = consent_dialogue_take_call(dialogue, &params)) != NULL)
        consent_dialogue_called(dialogue, ATH_OK, "", &moment);
    json_free(params);
    consent_dialogue_free(dialogue);
    return ATH_OK;
}

static void
test_each_failing_allocation_is_survived(void **state)
{
    struct json *list = parse("{\"questions\":[" QUESTION("1", "A?") "]," RULES "}");

    (void)state;
    each_allocation_failing(talk, list);
    json_free(list);
}

#define IN_SCENE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        IN_SCENE(test_a_question_is_shown_whole_and_answered_by_one_key),
        IN_SCENE(test_no_is_no),
        IN_SCENE(test_other_keys_answer_nothing),
        IN_SCENE(test_a_key_pressed_too_early_is_no_answer),
        IN_SCENE(test_a_key_that_is_read_late_may_have_been_pressed_too_early),
        IN_SCENE(test_words_that_are_not_on_the_screen_yet_cannot_be_answered),
        IN_SCENE(test_when_the_time_is_over_it_is_seen_whether_something_was_typed),
        IN_SCENE(test_what_is_pasted_is_no_answer),
        IN_SCENE(test_a_question_that_comes_does_not_take_the_place_of_another),
        IN_SCENE(test_a_question_that_goes_takes_its_half_made_answer_with_it),
        IN_SCENE(test_a_question_whose_words_change_is_another_question),
        IN_SCENE(test_why_a_question_has_gone_is_said),
        IN_SCENE(test_scopes_are_taken_away_and_the_rest_is_shown_before_the_yes),
        IN_SCENE(test_numbers_that_are_none_take_nothing_away),
        IN_SCENE(test_a_while_goes_with_the_yes_and_escape_takes_it_back),
        IN_SCENE(test_a_no_carries_neither_scopes_nor_a_while),
        IN_SCENE(test_what_a_question_does_not_allow_is_not_offered),
        IN_SCENE(test_freezing_takes_two_keys),
        IN_SCENE(test_a_question_that_does_not_fit_is_answered_at_its_end_only),
        IN_SCENE(test_a_question_that_does_not_fit_can_be_refused_at_once),
        IN_SCENE(test_the_next_question_can_be_looked_at_first),
        IN_SCENE(test_windows_and_pauses_are_forgotten_by_number),
        IN_SCENE(test_a_question_waits_while_rules_are_looked_at),
        IN_SCENE(test_what_athd_does_not_take_is_said_and_the_question_comes_again),
        IN_SCENE(test_details_and_help_keep_the_question),
        IN_SCENE(test_that_time_runs_out_is_said_once),
        IN_SCENE(test_q_leaves),
        IN_SCENE(test_each_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
