/* Questions for a PIN: what is said, what is taken for a PIN, and that it goes nowhere else. */
#include "fixture_pinentry.h"

#include <stdio.h>

static const struct pinentry_question plain = {
    .asks_pin = true, .title = "athd", .description = "Which?", .prompt = "PIN:", .timeout_s = 60};

static void
run_to_getpin(void)
{
    talk_begin(&plain);
    talk_run_to("GETPIN\n");
}

static void
assert_pin(const char *expected)
{
    struct ath_secret pin = {NULL, 0};

    assert_true(pinentry_is_done(talk));
    assert_int_equal(pinentry_take_pin(talk, &pin), ATH_OK);
    assert_int_equal(pin.len, strlen(expected));
    assert_memory_equal(pin.data, expected, pin.len);
    ath_secret_done(&pin);
}

/* n characters of a PIN, as the prompter's line. */
static const char *
data_line(size_t n)
{
    static char line[400];

    memcpy(line, "D ", 2);
    memset(line + 2, '7', n);
    memcpy(line + 2 + n, "\n", 2);
    return line;
}

static void
test_commands_of_a_pin_question_come_in_their_order(void **state)
{
    const struct pinentry_question question = {.asks_pin = true,
                                               .title = "T",
                                               .description = "D",
                                               .prompt = "PIN:",
                                               .error = "E",
                                               .timeout_s = 7,
                                               .ttyname = "/dev/tty1",
                                               .ttytype = "linux",
                                               .lc_ctype = "C.UTF-8"};

    (void)state;
    talk_begin(&question);
    talk_says("OK Pleased to meet you\n", "OPTION ttyname=/dev/tty1\n");
    talk_says("OK\n", "OPTION ttytype=linux\n");
    talk_says("OK\n", "OPTION lc-ctype=C.UTF-8\n");
    talk_says("OK\n", "SETTITLE T\n");
    talk_says("OK\n", "SETPROMPT PIN:\n");
    talk_says("OK\n", "SETERROR E\n");
    talk_says("OK\n", "SETTIMEOUT 7\n");
    talk_says("OK\n", "SETDESC D\n");
    talk_says("OK\n", "GETPIN\n");
    talk_says("S PROGRESS 1 2\nD 12", "");
    talk_says("34\r\n", "");
    assert_false(pinentry_is_done(talk));
    talk_says("OK\n", "BYE\n");
    assert_pin("1234");
}

static void
test_only_the_last_page_asks_for_the_pin(void **state)
{
    struct pinentry_question question = plain;
    unsigned confirms = 0, getpins = 0;
    char text[2001];
    int i;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    question.description = text;
    talk_begin(&question);
    assert_int_equal(talk_receive("OK\n"), ATH_OK);
    for (i = 0; i < 100 && !pinentry_is_done(talk); i++) {
        confirms += strcmp(ath_buf_text(&talk_out), "CONFIRM\n") == 0;
        getpins += strcmp(ath_buf_text(&talk_out), "GETPIN\n") == 0;
        assert_int_equal(talk_receive(getpins > 0 ? "D 1\nOK\n" : "OK\n"), ATH_OK);
    }
    assert_int_equal(confirms, 2);
    assert_int_equal(getpins, 1);
    assert_pin("1");
}

static void
test_pin_is_decoded_and_put_together(void **state)
{
    (void)state;
    run_to_getpin();
    talk_says("D a%25b\nD %0A%c3%bc D\nOK\n", "BYE\n");
    assert_pin("a%b\n\xC3\xBC D");
}

static void
test_pin_has_at_most_255_bytes(void **state)
{
    struct ath_secret pin = {NULL, 0};

    (void)state;
    run_to_getpin();
    assert_int_equal(talk_receive(data_line(255)), ATH_OK);
    assert_int_equal(talk_receive("OK\n"), ATH_OK);
    assert_int_equal(pinentry_take_pin(talk, &pin), ATH_OK);
    assert_int_equal(pin.len, 255);
    ath_secret_done(&pin);
    run_to_getpin();
    assert_int_equal(talk_receive(data_line(256)), ATH_ERR_NO_PROMPTER);
    run_to_getpin();
    assert_int_equal(talk_receive(data_line(200)), ATH_OK);
    assert_int_equal(talk_receive(data_line(56)), ATH_ERR_NO_PROMPTER);
}

static void
test_no_pin_at_all_is_a_refusal(void **state)
{
    static const char *const answers[] = {"OK\n", "D\nOK\n", "D \nOK\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        run_to_getpin();
        assert_int_equal(talk_receive(answers[i]), ATH_ERR_USER_DENIED);
        assert_string_equal(pinentry_complaint(talk), "no PIN was given");
        assert_false(pinentry_is_done(talk));
    }
}

static void
test_cancel_and_timeout_are_told_apart(void **state)
{
    (void)state;
    run_to_getpin();
    assert_int_equal(talk_receive("ERR 83886179 Operation cancelled <Pinentry>\n"),
                     ATH_ERR_USER_DENIED);
    run_to_getpin();
    assert_int_equal(talk_receive("ERR 83886142 Timeout <Pinentry>\n"), ATH_ERR_CONSENT_TIMEOUT);
    run_to_getpin();
    assert_int_equal(talk_receive("ERR 83886163 No terminal <Pinentry>\n"), ATH_ERR_NO_PROMPTER);
    assert_string_equal(pinentry_complaint(talk), "ERR 83886163 No terminal <Pinentry>");
}

static void
test_pin_that_comes_before_its_question_is_none(void **state)
{
    (void)state;
    talk_begin(&plain);
    assert_int_equal(talk_receive("OK\nD 1234\n"), ATH_OK);
    for (int i = 0; i < 100 && strcmp(ath_buf_text(&talk_out), "GETPIN\n") != 0; i++)
        assert_int_equal(talk_receive("D 1234\nOK\nD 1234\n"), ATH_OK);
    assert_int_equal(talk_receive("OK\n"), ATH_ERR_USER_DENIED);
    run_to_getpin();
    pinentry_note_unread(talk, true);
    assert_int_equal(talk_receive("D 1234\n"), ATH_OK);
    pinentry_note_unread(talk, false);
    assert_int_equal(talk_receive("OK\n"), ATH_ERR_USER_DENIED);
}

static void
test_nothing_that_may_be_a_pin_is_complained_about(void **state)
{
    static const char *const answers[] = {"D 123%4\n", "D 12%G0\n",   "D 12%4G\n",     "D 12%00\n",
                                          "1234\n",    "OKAY 1234\n", "INQUIRE 1234\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        run_to_getpin();
        assert_int_equal(talk_receive(answers[i]), ATH_ERR_NO_PROMPTER);
        assert_null(strstr(pinentry_complaint(talk), "12"));
        assert_null(memmem(talk_out.data, talk_out.len, "12", 2));
    }
}

static void
test_pin_is_given_out_only_when_all_is_done(void **state)
{
    struct ath_secret pin = {NULL, 0};

    (void)state;
    run_to_getpin();
    assert_int_equal(talk_receive("D 1234\n"), ATH_OK);
    assert_int_equal(pinentry_take_pin(talk, &pin), ATH_ERR_NOT_FOUND);
    assert_int_equal(talk_receive("ERR 99\n"), ATH_ERR_USER_DENIED);
    assert_int_equal(pinentry_take_pin(talk, &pin), ATH_ERR_NOT_FOUND);
}

static void
test_prompter_is_never_allowed_to_store_a_pin(void **state)
{
    (void)state;
    talk_begin(&plain);
    assert_int_equal(talk_receive("OK\n"), ATH_OK);
    for (int i = 0; i < 100 && strcmp(ath_buf_text(&talk_out), "GETPIN\n") != 0; i++) {
        assert_null(strstr(ath_buf_text(&talk_out), "cache"));
        assert_null(strstr(ath_buf_text(&talk_out), "SETKEYINFO"));
        assert_int_equal(talk_receive("OK\n"), ATH_OK);
    }
    assert_string_equal(ath_buf_text(&talk_out), "GETPIN\n");
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
        cmocka_unit_test_teardown(test_commands_of_a_pin_question_come_in_their_order, talk_end),
        cmocka_unit_test_teardown(test_only_the_last_page_asks_for_the_pin, talk_end),
        cmocka_unit_test_teardown(test_pin_is_decoded_and_put_together, talk_end),
        cmocka_unit_test_teardown(test_pin_has_at_most_255_bytes, talk_end),
        cmocka_unit_test_teardown(test_no_pin_at_all_is_a_refusal, talk_end),
        cmocka_unit_test_teardown(test_cancel_and_timeout_are_told_apart, talk_end),
        cmocka_unit_test_teardown(test_pin_that_comes_before_its_question_is_none, talk_end),
        cmocka_unit_test_teardown(test_nothing_that_may_be_a_pin_is_complained_about, talk_end),
        cmocka_unit_test_teardown(test_pin_is_given_out_only_when_all_is_done, talk_end),
        cmocka_unit_test_teardown(test_prompter_is_never_allowed_to_store_a_pin, talk_end),
        cmocka_unit_test(test_each_failing_allocation_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
