#include "tests/support/support.h"

#include <unistd.h>

#include "athd/consent.h"

static struct consent_text text;

static int
begin(void **state)
{
    (void)state;
    text = (struct consent_text){0};
    return 0;
}

static int
end(void **state)
{
    (void)state;
    consent_text_done(&text);
    return 0;
}

static void
assert_line(const char *value, enum consent_text_kind kind, const char *expected)
{
    consent_text_done(&text);
    text = (struct consent_text){0};
    consent_text_line(&text, "L", value, kind);
    assert_string_equal(ath_buf_text(&text.text), expected);
}

static void
test_our_words_stand_as_they_are(void **state)
{
    (void)state;
    assert_line("did:ath:server_x", CONSENT_OURS, "L: did:ath:server_x\n");
    assert_line("100 % sure", CONSENT_OURS, "L: 100 % sure\n");
}

static void
test_strangers_words_are_quoted_and_cannot_close_the_quotes(void **state)
{
    (void)state;
    assert_line("Mail", CONSENT_STRANGER, "L: \"Mail\"\n");
    assert_line("Mail\" (verified by athd)", CONSENT_STRANGER,
                "L: \"Mail\\\" (verified by athd)\"\n");
    assert_line("back\\slash", CONSENT_STRANGER, "L: \"back\\\\slash\"\n");
}

static void
test_strangers_words_cannot_begin_a_line_or_turn_the_direction(void **state)
{
    (void)state;
    assert_line("a\nYour key: none", CONSENT_STRANGER, "L: \"a\\u{000a}Your key: none\"\n");
    assert_line("a\r\tb\x1b[2J", CONSENT_STRANGER, "L: \"a\\u{000d}\\u{0009}b\\u{001b}[2J\"\n");
    assert_line("\xe2\x80\xaegnp.exe", CONSENT_STRANGER, "L: \"\\u{202e}gnp.exe\"\n");
    assert_line("a\xe2\x80\x8b"
                "b",
                CONSENT_STRANGER, "L: \"a\\u{200b}b\"\n");
    assert_line("bad\xff", CONSENT_STRANGER, "L: \"bad\\x{ff}\"\n");
    assert_line("a\nb", CONSENT_OURS, "L: a\\u{000a}b\n");
}

static void
test_strangers_words_are_cut_at_256_characters(void **state)
{
    char words[2 * 300 + 1], *shown;
    size_t i;

    (void)state;
    for (i = 0; i < 300; i++)
        memcpy(words + 2 * i, "\xc3\xa9", 2); /* one character of two bytes */
    words[600] = '\0';
    consent_text_line(&text, "L", words, CONSENT_STRANGER);
    shown = ath_strdup(ath_buf_text(&text.text));
    assert_int_equal(strlen(shown), strlen("L: \"") + 512 + strlen("...\"\n"));
    free(shown);
}

static void
test_scopes_stand_one_a_line_in_quotes(void **state)
{
    char *items[] = {(char[]){"files:read"}, (char[]){"all%0Acalm"}};
    const struct scope_list scopes = {items, 2}, none = {NULL, 0};

    (void)state;
    consent_text_scopes(&text, "May", &scopes);
    consent_text_scopes(&text, "May not", &none);
    assert_string_equal(ath_buf_text(&text.text),
                        "May:\n  \"files:read\"\n  \"all%0Acalm\"\nMay not:\n  none\n");
}

static void
assert_duration(int64_t seconds, const char *expected)
{
    consent_text_done(&text);
    text = (struct consent_text){0};
    consent_text_duration(&text, "For", seconds);
    assert_string_equal(ath_buf_text(&text.text), expected);
}

static void
test_durations_are_for_people(void **state)
{
    (void)state;
    assert_duration(0, "For: 0 seconds\n");
    assert_duration(1, "For: 1 second\n");
    assert_duration(3600, "For: 1 hour\n");
    assert_duration(90061, "For: 1 day 1 hour 1 minute 1 second\n");
    assert_duration(86400 * 30, "For: 30 days\n");
}

static void
test_caller_is_named_by_process_and_quoted_program(void **state)
{
    struct caller caller = {
        .pid = 42, .uid = geteuid(), .name_space = CALLER_SAME, .exe = "/tmp/a\"b"};

    (void)state;
    consent_text_caller(&text, &caller);
    assert_string_equal(ath_buf_text(&text.text), "Asked by: process 42, \"/tmp/a\\\"b\"\n");
    consent_text_done(&text);
    text = (struct consent_text){0};
    caller.exe[0] = '\0';
    consent_text_caller(&text, &caller);
    assert_string_equal(ath_buf_text(&text.text), "Asked by: process 42\n");
}

static void
test_caller_is_named_by_unit_grant_and_container_and_unseen_is_said(void **state)
{
    struct caller caller = {.pid = 42,
                            .uid = geteuid() + 7,
                            .name_space = CALLER_OTHER,
                            .unit = "shop.service",
                            .grant = "travel"};
    char expected[160];

    (void)state;
    snprintf(expected, sizeof(expected),
             "Asked by: process 42, unit \"shop.service\", in a container, user %lu\n"
             "By its grant: travel\n",
             (unsigned long)caller.uid);
    consent_text_caller(&text, &caller);
    assert_string_equal(ath_buf_text(&text.text), expected);
    consent_text_done(&text);
    text = (struct consent_text){0};
    consent_text_caller(&text, &(struct caller){.uid = geteuid()});
    assert_string_equal(ath_buf_text(&text.text),
                        "Asked by: a process that cannot be seen from here\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_our_words_stand_as_they_are, begin, end),
        cmocka_unit_test_setup_teardown(test_strangers_words_are_quoted_and_cannot_close_the_quotes,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            test_strangers_words_cannot_begin_a_line_or_turn_the_direction, begin, end),
        cmocka_unit_test_setup_teardown(test_strangers_words_are_cut_at_256_characters, begin, end),
        cmocka_unit_test_setup_teardown(test_scopes_stand_one_a_line_in_quotes, begin, end),
        cmocka_unit_test_setup_teardown(test_durations_are_for_people, begin, end),
        cmocka_unit_test_setup_teardown(
            test_caller_is_named_by_unit_grant_and_container_and_unseen_is_said, begin, end),
        cmocka_unit_test_setup_teardown(test_caller_is_named_by_process_and_quoted_program, begin,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
