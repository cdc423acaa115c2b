/* Questions for a PIN: what is said, what is taken for a PIN, and that it goes nowhere else. */
#include "tests/support/support.h"

#include <stdio.h>

#include "pinentry/pinentry.h"

static struct pinentry *pinentry;
static struct ath_buf out;

static const struct pinentry_question plain = {
    .asks_pin = true, .title = "athd", .description = "Which?", .prompt = "PIN:", .timeout_s = 60};

static int
end(void **state)
{
    (void)state;
    pinentry_free(pinentry);
    pinentry = NULL;
    ath_buf_done(&out);
    return 0;
}

static void
begin(const struct pinentry_question *question)
{
    end(NULL);
    out = (struct ath_buf){.max = 65536};
    assert_int_equal(pinentry_new(question, &pinentry), ATH_OK);
}

static ath_err
receive(const char *text)
{
    ath_buf_clear(&out);
    return pinentry_receive(pinentry, ath_slice_of_string(text), &out);
}

static void
assert_says(const char *text, const char *expected)
{
    assert_int_equal(receive(text), ATH_OK);
    assert_string_equal(ath_buf_text(&out), expected);
}

static void
run_to_getpin(void)
{
    int i;

    begin(&plain);
    assert_int_equal(receive("OK Pleased to meet you\n"), ATH_OK);
    for (i = 0; i < 100 && strcmp(ath_buf_text(&out), "GETPIN\n") != 0; i++)
        assert_int_equal(receive("OK\n"), ATH_OK);
    assert_true(i < 100);
}

static void
assert_pin(const char *expected)
{
    struct ath_secret pin = {NULL, 0};

    assert_true(pinentry_is_done(pinentry));
    assert_int_equal(pinentry_take_pin(pinentry, &pin), ATH_OK);
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
    begin(&question);
    assert_says("OK Pleased to meet you\n", "OPTION ttyname=/dev/tty1\n");
    assert_says("OK\n", "OPTION ttytype=linux\n");
    assert_says("OK\n", "OPTION lc-ctype=C.UTF-8\n");
    assert_says("OK\n", "SETTITLE T\n");
    assert_says("OK\n", "SETPROMPT PIN:\n");
    assert_says("OK\n", "SETERROR E\n");
    assert_says("OK\n", "SETTIMEOUT 7\n");
    assert_says("OK\n", "SETDESC D\n");
    assert_says("OK\n", "GETPIN\n");
    assert_says("S PROGRESS 1 2\nD 12", "");
    assert_says("34\r\n", "");
    assert_false(pinentry_is_done(pinentry));
    assert_says("OK\n", "BYE\n");
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
    begin(&question);
    assert_int_equal(receive("OK\n"), ATH_OK);
    for (i = 0; i < 100 && !pinentry_is_done(pinentry); i++) {
        confirms += strcmp(ath_buf_text(&out), "CONFIRM\n") == 0;
        getpins += strcmp(ath_buf_text(&out), "GETPIN\n") == 0;
        assert_int_equal(receive(getpins > 0 ? "D 1\nOK\n" : "OK\n"), ATH_OK);
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
    assert_says("D a%25b\nD %0A%c3%bc D\nOK\n", "BYE\n");
    assert_pin("a%b\n\xC3\xBC D");
}

static void
test_pin_has_at_most_255_bytes(void **state)
{
    struct ath_secret pin = {NULL, 0};

    (void)state;
    run_to_getpin();
    assert_int_equal(receive(data_line(255)), ATH_OK);
    assert_int_equal(receive("OK\n"), ATH_OK);
    assert_int_equal(pinentry_take_pin(pinentry, &pin), ATH_OK);
    assert_int_equal(pin.len, 255);
    ath_secret_done(&pin);
    run_to_getpin();
    assert_int_equal(receive(data_line(256)), ATH_ERR_NO_PROMPTER);
    run_to_getpin();
    assert_int_equal(receive(data_line(200)), ATH_OK);
    assert_int_equal(receive(data_line(56)), ATH_ERR_NO_PROMPTER);
}

static void
test_no_pin_at_all_is_a_refusal(void **state)
{
    static const char *const answers[] = {"OK\n", "D\nOK\n", "D \nOK\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        run_to_getpin();
        assert_int_equal(receive(answers[i]), ATH_ERR_USER_DENIED);
        assert_string_equal(pinentry_complaint(pinentry), "no PIN was given");
        assert_false(pinentry_is_done(pinentry));
    }
}

static void
test_cancel_and_timeout_are_told_apart(void **state)
{
    (void)state;
    run_to_getpin();
    assert_int_equal(receive("ERR 83886179 Operation cancelled <Pinentry>\n"), ATH_ERR_USER_DENIED);
    run_to_getpin();
    assert_int_equal(receive("ERR 83886142 Timeout <Pinentry>\n"), ATH_ERR_CONSENT_TIMEOUT);
    run_to_getpin();
    assert_int_equal(receive("ERR 83886163 No terminal <Pinentry>\n"), ATH_ERR_NO_PROMPTER);
    assert_string_equal(pinentry_complaint(pinentry), "ERR 83886163 No terminal <Pinentry>");
}

static void
test_pin_that_comes_before_its_question_is_none(void **state)
{
    (void)state;
    begin(&plain);
    assert_int_equal(receive("OK\nD 1234\n"), ATH_OK);
    for (int i = 0; i < 100 && strcmp(ath_buf_text(&out), "GETPIN\n") != 0; i++)
        assert_int_equal(receive("D 1234\nOK\nD 1234\n"), ATH_OK);
    assert_int_equal(receive("OK\n"), ATH_ERR_USER_DENIED);
    run_to_getpin();
    pinentry_note_unread(pinentry, true);
    assert_int_equal(receive("D 1234\n"), ATH_OK);
    pinentry_note_unread(pinentry, false);
    assert_int_equal(receive("OK\n"), ATH_ERR_USER_DENIED);
}

static void
test_nothing_that_may_be_a_pin_is_complained_about(void **state)
{
    static const char *const answers[] = {"D 123%4\n", "D 12%G0\n",   "D 12%4G\n",     "D 12%00\n",
                                          "1234\n",    "OKAY 1234\n", "INQUIRE 1234\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        run_to_getpin();
        assert_int_equal(receive(answers[i]), ATH_ERR_NO_PROMPTER);
        assert_null(strstr(pinentry_complaint(pinentry), "12"));
        assert_null(memmem(out.data, out.len, "12", 2));
    }
}

static void
test_pin_is_given_out_only_when_all_is_done(void **state)
{
    struct ath_secret pin = {NULL, 0};

    (void)state;
    run_to_getpin();
    assert_int_equal(receive("D 1234\n"), ATH_OK);
    assert_int_equal(pinentry_take_pin(pinentry, &pin), ATH_ERR_NOT_FOUND);
    assert_int_equal(receive("ERR 99\n"), ATH_ERR_USER_DENIED);
    assert_int_equal(pinentry_take_pin(pinentry, &pin), ATH_ERR_NOT_FOUND);
}

static void
test_prompter_is_never_allowed_to_store_a_pin(void **state)
{
    (void)state;
    begin(&plain);
    assert_int_equal(receive("OK\n"), ATH_OK);
    for (int i = 0; i < 100 && strcmp(ath_buf_text(&out), "GETPIN\n") != 0; i++) {
        assert_null(strstr(ath_buf_text(&out), "cache"));
        assert_null(strstr(ath_buf_text(&out), "SETKEYINFO"));
        assert_int_equal(receive("OK\n"), ATH_OK);
    }
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
        cmocka_unit_test_teardown(test_commands_of_a_pin_question_come_in_their_order, end),
        cmocka_unit_test_teardown(test_only_the_last_page_asks_for_the_pin, end),
        cmocka_unit_test_teardown(test_pin_is_decoded_and_put_together, end),
        cmocka_unit_test_teardown(test_pin_has_at_most_255_bytes, end),
        cmocka_unit_test_teardown(test_no_pin_at_all_is_a_refusal, end),
        cmocka_unit_test_teardown(test_cancel_and_timeout_are_told_apart, end),
        cmocka_unit_test_teardown(test_pin_that_comes_before_its_question_is_none, end),
        cmocka_unit_test_teardown(test_nothing_that_may_be_a_pin_is_complained_about, end),
        cmocka_unit_test_teardown(test_pin_is_given_out_only_when_all_is_done, end),
        cmocka_unit_test_teardown(test_prompter_is_never_allowed_to_store_a_pin, end),
        cmocka_unit_test(test_each_failing_allocation_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
