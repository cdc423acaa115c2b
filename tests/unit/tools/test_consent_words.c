#include "tests/support/support.h"

#include "tools/ath_cmd_consent_words.h"

#define NOW 1800000000
#define HAN "\xe6\xbc\xa2" /* U+6F22, two columns wide */
#define SIX_HAN HAN HAN HAN HAN HAN HAN

static const struct json_limits limits = {
    .max_len = 65536, .max_depth = 8, .max_members = 100, .numbers = JSON_INTEGERS};

static struct json *
parse(const char *text)
{
    struct json *tree = NULL;

    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &tree), ATH_OK);
    return tree;
}

/* ---- blocks ---- */

static void
check_block(const char *text, size_t columns, const char *expected)
{
    struct ath_buf out = {0};

    consent_words_block(text, columns, &out);
    assert_string_equal(ath_buf_text(&out), expected);
    ath_buf_done(&out);
}

static void
test_each_row_begins_with_a_mark_of_ours(void **state)
{
    (void)state;
    check_block("", 40, "");
    check_block("a\n\nb\n", 40, "| a\n|\n| b\n");
    check_block("no line end", 40, "| no line end\n");
    check_block("0123456789012345678901234567", 20, "| 012345678901234567\n: 8901234567\n");
    /* as long as it is, where nobody says how much room there is */
    check_block("0123456789012345678901234567", 0, "| 0123456789012345678901234567\n");
    /* a terminal of no width does not keep us from ending */
    check_block("0123456789012345678", 1, "| 012345678901234567\n: 8\n");
}

static void
test_padding_cannot_begin_a_row_that_passes_for_ours(void **state)
{
    (void)state;
    check_block("\"                 y yes, n no\"", 20, "| \"                 \n: y yes, n no\"\n");
}

static void
test_what_would_steer_a_terminal_is_a_question_mark(void **state)
{
    (void)state;
    check_block("a\033[2Jb\a\r\tc\x7f\xc2\x9b"
                "d\xff",
                40, "| a?[2Jb???c??d?\n");
    check_block("\xe2\x80\xae"
                "evil",
                40, "| ?evil\n"); /* U+202E */
}

static void
test_wide_characters_count_for_two(void **state)
{
    (void)state;
    check_block(SIX_HAN SIX_HAN, 20, "| " SIX_HAN HAN HAN HAN "\n: " HAN HAN HAN "\n");
}

/* ---- questions and rules ---- */

static void
check_heading(const char *question, size_t others, const char *expected)
{
    struct json *tree = parse(question);
    struct ath_buf out = {0};

    consent_words_heading(tree, others, NOW, &out);
    assert_string_equal(ath_buf_text(&out), expected);
    ath_buf_done(&out);
    json_free(tree);
}

static void
test_a_heading_says_how_often_and_how_long(void **state)
{
    (void)state;
    check_heading("{\"id\":\"12\"}", 0, "Question 12");
    check_heading("{\"id\":\"12\",\"count\":1,\"expires_at\":1800000112}", 0,
                  "Question 12 (1 min 52 s left)");
    check_heading("{\"id\":\"12\",\"count\":10,\"expires_at\":1799999999}", 1,
                  "Question 12 (asked 10 times, 0 s left, 1 other waits)");
    check_heading("{\"id\":\"a\\u001b[2Jb\",\"count\":2}", 3,
                  "Question a?[2Jb (asked 2 times, 3 others wait)");
}

static void
check_rules(const struct json *list, bool numbered, const char *expected)
{
    struct ath_buf out = {0};

    consent_words_rules(list, numbered, NOW, 0, &out);
    assert_string_equal(ath_buf_text(&out), expected);
    ath_buf_done(&out);
}

static void
test_rules_are_numbered_through_both_kinds_or_named(void **state)
{
    static const char text[] =
        "{\"allowed\":[{\"id\":\"w5\",\"method\":\"credential.issue\",\"key\":\"alice\",\"scopes\":"
        "[\"a\",\"b\"],\"asker\":{\"uid\":1000,\"exe\":\"/usr/bin/node\"},\"uses_left\":17,"
        "\"expires_at\":1800003480}],\"refused\":[{\"id\":\"r6\",\"key\":\"bob\",\"asker\":{"
        "\"uid\":"
        "1000,\"unit\":\"x.service\"},\"refusals\":3,\"next_at\":1800000008}]}";
    struct json *list = parse(text), *nothing = parse("{\"allowed\":[],\"refused\":[]}");

    (void)state;
    check_rules(list, true,
                "Allowed without asking:\n"
                "| 1  credential.issue, key alice, scopes a b; asked by /usr/bin/node, user 1000: "
                "17 more times, 58 min left\n"
                "Refused, so that the next question waits:\n"
                "| 2  key bob; asked by unit x.service, user 1000: 3 times no, the next question "
                "waits 8 s\n");
    check_rules(list, false,
                "Allowed without asking:\n"
                "| w5  credential.issue, key alice, scopes a b; asked by /usr/bin/node, user 1000: "
                "17 more times, 58 min left\n"
                "Refused, so that the next question waits:\n"
                "| r6  key bob; asked by unit x.service, user 1000: 3 times no, the next question "
                "waits 8 s\n");
    check_rules(nothing, true, "");
    json_free(list);
    json_free(nothing);
}

/* ---- what a person types ---- */

static void
test_how_often_and_how_long_are_read_in_any_order(void **state)
{
    static const struct {
        const char *text;
        int64_t uses, seconds;
    } good[] = {{"20", 20, 0},       {"2h", 0, 7200},   {"20 2h", 20, 7200}, {" 30m,5 ", 5, 1800},
                {"10000", 10000, 0}, {"24h", 0, 86400}, {"90s", 0, 90},      {"1d 1", 1, 86400}};
    static const char *const bad[] = {
        "",        " ",  "0",    "0h",  "10001", "25h",   "2h 3h", "20 30",
        "20 2h x", "-1", "2h20", "yes", "1e3",   "20  0", "2x",    "99999999999999999999"};
    struct consent_while remember;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(consent_words_read_while(good[i].text, &remember));
        assert_int_equal(remember.uses, good[i].uses);
        assert_int_equal(remember.seconds, good[i].seconds);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(consent_words_read_while(bad[i], &remember));
}

static void
check_while(int64_t uses, int64_t seconds, const char *expected)
{
    const struct consent_while remember = {uses, seconds};
    struct ath_buf out = {0};

    consent_words_while(&remember, &out);
    assert_string_equal(ath_buf_text(&out), expected);
    ath_buf_done(&out);
}

static void
test_a_while_is_told_with_what_was_not_said(void **state)
{
    (void)state;
    check_while(20, 7200, "20 times, for 2 h");
    check_while(1, 0, "1 time, within 24 h");
    check_while(0, 5400, "for 1 h 30 min, at most 10000 times");
}

static void
test_numbers_are_those_of_the_list_and_nothing_else(void **state)
{
    static const char *const bad[] = {"",  " ",  "0",  "4",   "1 4",
                                      "a", "1a", "-1", "1.2", "99999999999"};
    bool chosen[3];
    size_t i;

    (void)state;
    assert_true(consent_words_read_numbers("3, 1", 3, chosen));
    assert_true(chosen[0] && !chosen[1] && chosen[2]);
    assert_true(consent_words_read_numbers("2 2", 3, chosen));
    assert_true(!chosen[0] && chosen[1] && !chosen[2]);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(consent_words_read_numbers(bad[i], 3, chosen));
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_row_begins_with_a_mark_of_ours),
        cmocka_unit_test(test_padding_cannot_begin_a_row_that_passes_for_ours),
        cmocka_unit_test(test_what_would_steer_a_terminal_is_a_question_mark),
        cmocka_unit_test(test_wide_characters_count_for_two),
        cmocka_unit_test(test_a_heading_says_how_often_and_how_long),
        cmocka_unit_test(test_rules_are_numbered_through_both_kinds_or_named),
        cmocka_unit_test(test_how_often_and_how_long_are_read_in_any_order),
        cmocka_unit_test(test_a_while_is_told_with_what_was_not_said),
        cmocka_unit_test(test_numbers_are_those_of_the_list_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
