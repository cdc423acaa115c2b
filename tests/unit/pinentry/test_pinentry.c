#include "fixture_pinentry.h"

#include <stdio.h>

static const struct pinentry_question plain = {
    .title = "athd", .description = "Really?", .ok = "Allow", .not_ok = "Deny", .timeout_s = 120};

static void
test_commands_come_one_by_one_each_after_an_answer(void **state)
{
    const struct pinentry_question question = {.title = "T",
                                               .description = "D",
                                               .ok = "O",
                                               .not_ok = "N",
                                               .timeout_s = 7,
                                               .ttyname = "/dev/tty1",
                                               .ttytype = "linux",
                                               .lc_ctype = "C.UTF-8"};

    (void)state;
    talk_begin(&question);
    talk_says("OK Pleased to meet you\n", "OPTION ttyname=/dev/tty1\n");
    talk_says("O", "");
    talk_says("K\r\n", "OPTION ttytype=linux\n");
    talk_says("OK\n", "OPTION lc-ctype=C.UTF-8\n");
    talk_says("OK\n", "SETTITLE T\n");
    talk_says("# a comment\nS PROGRESS 1 2\nOK\n", "SETPROMPT T\n");
    talk_says("ERR 83886355 Unknown IPC command <Pinentry>\n", "SETOK O\n");
    talk_says("OK\n", "SETNOTOK N\n");
    talk_says("OK\n", "SETTIMEOUT 7\n");
    talk_says("OK\n", "SETDESC D\n");
    talk_says("OK\n", "CONFIRM\n");
    assert_false(pinentry_is_done(talk));
    talk_says("OK\n", "BYE\n");
    assert_true(pinentry_is_done(talk));
}

static void
test_confirm_is_never_said_before_its_description_was_taken(void **state)
{
    (void)state;
    talk_begin(&plain);
    assert_int_equal(talk_receive("OK\n"), ATH_OK);
    while (strncmp(ath_buf_text(&talk_out), "SETDESC", 7) != 0)
        assert_int_equal(talk_receive("OK\n"), ATH_OK);
    assert_int_equal(talk_receive("ERR 83886360 Line too long <Pinentry>\n"), ATH_ERR_NO_PROMPTER);
}

static void
test_answers_that_come_before_their_questions_are_no_yes(void **state)
{
    (void)state;
    talk_begin(&plain);
    assert_int_equal(talk_receive("OK Pleased to meet you\nOK\nOK\nOK\nOK\nOK\nOK\nOK\nOK\n"),
                     ATH_ERR_NO_PROMPTER);
    talk_begin(&plain);
    talk_run_to("CONFIRM\n");
    /* what follows the last answer is nobody's */
    assert_int_equal(talk_receive("OK\nOK\n"), ATH_OK);
    assert_true(pinentry_is_done(talk));
    talk_begin(&plain);
    assert_int_equal(talk_receive("OK\n# welcome\nS STATUS\n"), ATH_OK);
}

static void
test_answer_to_a_command_that_was_not_read_is_no_answer(void **state)
{
    (void)state;
    talk_begin(&plain);
    talk_run_to("CONFIRM\n");
    pinentry_note_unread(talk, true);
    assert_int_equal(talk_receive("# wait\nS STATUS\n"), ATH_OK);
    assert_int_equal(talk_receive("OK\n"), ATH_ERR_NO_PROMPTER);
}

static void
test_prompter_that_talks_without_end_is_none(void **state)
{
    ath_err err = ATH_OK;
    int i;

    (void)state;
    talk_begin(&plain);
    for (i = 0; i < 10000 && err == ATH_OK; i++)
        err = talk_receive("S PROGRESS 1 2\n# still here\n");
    assert_int_equal(err, ATH_ERR_NO_PROMPTER);
}

static void
test_errors_are_told_apart_by_their_code_not_their_source(void **state)
{
    static const struct {
        const char *line;
        ath_err expected;
    } cases[] = {
        {"ERR 83886194 Not confirmed <Pinentry>\n", ATH_ERR_USER_DENIED},
        {"ERR 114 Not confirmed\n", ATH_ERR_USER_DENIED},
        {"ERR 83886179 Operation cancelled <Pinentry>\n", ATH_ERR_USER_DENIED},
        {"ERR 99\n", ATH_ERR_USER_DENIED},
        {"ERR 83886278 Operation fully cancelled <Pinentry>\n", ATH_ERR_USER_DENIED},
        {"ERR 83886142 Timeout <Pinentry>\n", ATH_ERR_CONSENT_TIMEOUT},
        {"ERR 83918950 Inappropriate ioctl for device <Pinentry>\n", ATH_ERR_NO_PROMPTER},
        {"ERR\n", ATH_ERR_NO_PROMPTER},
        {"ERR nonsense\n", ATH_ERR_NO_PROMPTER},
        {"ERR 99999999999999999999999999\n", ATH_ERR_NO_PROMPTER},
        {"OKAY\n", ATH_ERR_NO_PROMPTER},
        {"ok\n", ATH_ERR_NO_PROMPTER},
        {" OK\n", ATH_ERR_NO_PROMPTER},
        {"INQUIRE X\n", ATH_ERR_NO_PROMPTER},
        {"\n", ATH_ERR_NO_PROMPTER},
        {"yes\n", ATH_ERR_NO_PROMPTER},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        talk_begin(&plain);
        talk_run_to("CONFIRM\n");
        assert_int_equal(talk_receive(cases[i].line), cases[i].expected);
        assert_false(pinentry_is_done(talk));
    }
}

static void
test_program_that_does_not_greet_is_no_prompter(void **state)
{
    (void)state;
    talk_begin(&plain);
    assert_int_equal(talk_receive("ERR 1 no\n"), ATH_ERR_NO_PROMPTER);
    talk_begin(&plain);
    assert_int_equal(talk_receive("#!/bin/sh\nhello\n"), ATH_ERR_NO_PROMPTER);
}

static void
test_what_it_said_instead_of_an_answer_is_kept_for_the_log(void **state)
{
    (void)state;
    talk_begin(&plain);
    assert_string_equal(pinentry_complaint(talk), "");
    talk_run_to("CONFIRM\n");
    assert_string_equal(pinentry_complaint(talk), "");
    assert_int_equal(talk_receive("ERR 83918950 Inappropriate\tioctl <Pinentry>\n"),
                     ATH_ERR_NO_PROMPTER);
    assert_string_equal(pinentry_complaint(talk), "ERR 83918950 Inappropriate?ioctl <Pinentry>");
}

static void
test_line_without_end_is_refused_at_its_limit(void **state)
{
    char flood[2001];

    (void)state;
    memset(flood, '#', 2000);
    flood[2000] = '\0';
    talk_begin(&plain);
    assert_int_equal(talk_receive(flood), ATH_ERR_NO_PROMPTER);
}

static void
test_texts_cannot_hold_a_second_command(void **state)
{
    const struct pinentry_question question = {.title = "a\nCONFIRM",
                                               .description = "x\r\nGETPIN\n%0ASETOK",
                                               .ok = "o\nBYE",
                                               .not_ok = "n\x7f",
                                               .ttyname = "t\nOPTION x"};
    int i;

    (void)state;
    talk_begin(&question);
    assert_int_equal(talk_receive("OK\n"), ATH_OK);
    for (i = 0; !pinentry_is_done(talk); i++) {
        const char *line = ath_buf_text(&talk_out);

        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        assert_null(strchr(line, '\r'));
        if (strncmp(line, "SETDESC", 7) == 0)
            assert_string_equal(line, "SETDESC x%0D%0AGETPIN%0A%250ASETOK\n");
        assert_int_equal(talk_receive("OK\n"), ATH_OK);
    }
}

/* Undoes the escapes of a SETDESC and its page number. */
static void
put_description(const char *line, struct ath_buf *text)
{
    const char *at = line + strlen("SETDESC ");
    unsigned byte;

    at = *at == '(' ? strchr(at, ')') + 2 : at;
    for (; *at != '\n'; at++) {
        if (*at != '%') {
            ath_buf_put_byte(text, (uint8_t)*at);
            continue;
        }
        assert_int_equal(sscanf(at + 1, "%2x", &byte), 1);
        ath_buf_put_byte(text, (uint8_t)byte);
        at += 2;
    }
}

static void
test_long_text_is_shown_whole_in_pages(void **state)
{
    struct ath_buf text = {0}, shown = {0};
    struct pinentry_question question = plain;
    int i, confirms = 0;

    (void)state;
    for (i = 0; i < 60; i++)
        ath_buf_printf(&text, "line %d: 100 %% of \xf0\x9f\x94\x91\xc3\xa9 and more of the same\n",
                       i);
    for (i = 0; i < 1200; i++)
        ath_buf_put_string(&text, "\xe2\x82\xac"); /* a line longer than a page */
    question.description = ath_buf_text(&text);
    talk_begin(&question);
    assert_int_equal(talk_receive("OK\n"), ATH_OK);
    while (!pinentry_is_done(talk)) {
        const char *line = ath_buf_text(&talk_out);

        assert_true(strlen(line) <= PINENTRY_LINE_MAX + 1);
        if (strncmp(line, "SETDESC ", 8) == 0)
            put_description(line, &shown);
        confirms += strcmp(line, "CONFIRM\n") == 0;
        assert_int_equal(talk_receive("OK\n"), ATH_OK);
    }
    assert_true(confirms > 4);
    assert_string_equal(ath_buf_text(&shown), ath_buf_text(&text));
    ath_buf_done(&shown);
    ath_buf_done(&text);
}

static void
test_text_beyond_the_last_page_is_refused(void **state)
{
    static char text[20000];
    struct pinentry_question question = plain;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    question.description = text;
    assert_int_equal(pinentry_new(&question, &talk), ATH_ERR_LIMIT_EXCEEDED);
    talk = NULL;
}

static ath_err
make_once(void *ctx)
{
    struct pinentry *made = NULL;
    struct ath_buf said = {.max = 4096};
    ath_err err;

    (void)ctx;
    if ((err = pinentry_new(&plain, &made)) == ATH_OK)
        err = pinentry_receive(made, ath_slice_of_string("OK\n"), &said);
    if (err == ATH_OK)
        err = pinentry_receive(made, ath_slice_of_string("OK\n"), &said);
    pinentry_free(made);
    ath_buf_done(&said);
    return err;
}

static void
test_each_failing_allocation_is_told(void **state)
{
    (void)state;
    each_allocation_failing(make_once, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_commands_come_one_by_one_each_after_an_answer, talk_end),
        cmocka_unit_test_teardown(test_confirm_is_never_said_before_its_description_was_taken,
                                  talk_end),
        cmocka_unit_test_teardown(test_answers_that_come_before_their_questions_are_no_yes,
                                  talk_end),
        cmocka_unit_test_teardown(test_answer_to_a_command_that_was_not_read_is_no_answer,
                                  talk_end),
        cmocka_unit_test_teardown(test_prompter_that_talks_without_end_is_none, talk_end),
        cmocka_unit_test_teardown(test_errors_are_told_apart_by_their_code_not_their_source,
                                  talk_end),
        cmocka_unit_test_teardown(test_program_that_does_not_greet_is_no_prompter, talk_end),
        cmocka_unit_test_teardown(test_what_it_said_instead_of_an_answer_is_kept_for_the_log,
                                  talk_end),
        cmocka_unit_test_teardown(test_line_without_end_is_refused_at_its_limit, talk_end),
        cmocka_unit_test_teardown(test_texts_cannot_hold_a_second_command, talk_end),
        cmocka_unit_test_teardown(test_long_text_is_shown_whole_in_pages, talk_end),
        cmocka_unit_test_teardown(test_text_beyond_the_last_page_is_refused, talk_end),
        cmocka_unit_test(test_each_failing_allocation_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
