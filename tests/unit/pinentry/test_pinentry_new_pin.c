/* A new PIN is entered twice: by a prompter that asks again itself, or by our asking again. */
#include "tests/support/support.h"

#include <stdio.h>

#include "pinentry/pinentry.h"

static struct pinentry *pinentry;
static struct ath_buf out;

static const struct pinentry_question question = {.asks_pin = true,
                                                  .new_min = 4,
                                                  .new_max = 32,
                                                  .title = "athd",
                                                  .description = "A new one",
                                                  .again = "Once more",
                                                  .prompt = "PIN:"};

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

/* Until GETPIN has been said; the lines before it are in `said`. */
static void
run_to_getpin(const char *first, char *said, size_t size)
{
    size_t len = 0;

    assert_int_equal(receive(first), ATH_OK);
    said[0] = '\0';
    for (int i = 0; i < 100 && strcmp(ath_buf_text(&out), "GETPIN\n") != 0; i++) {
        assert_false(pinentry_is_done(pinentry));
        len += (size_t)snprintf(said + len, size - len, "%s", ath_buf_text(&out));
        assert_true(len < size);
        assert_int_equal(receive("OK\n"), ATH_OK);
    }
    assert_string_equal(ath_buf_text(&out), "GETPIN\n");
}

static int
setup(void **state)
{
    (void)state;
    out = (struct ath_buf){.max = 65536};
    return pinentry_new(&question, &pinentry) == ATH_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    pinentry_free(pinentry);
    pinentry = NULL;
    ath_buf_done(&out);
    return 0;
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

static void
test_prompter_that_repeats_by_itself_is_asked_once(void **state)
{
    char said[2048];

    (void)state;
    run_to_getpin("OK\n", said, sizeof(said));
    assert_non_null(strstr(said, "SETDESC A new one\nSETREPEAT Again:\nSETREPEATERROR "));
    assert_says("D 1234\nS PIN_REPEATED\nOK\n", "BYE\n");
    assert_pin("1234");
}

static void
test_prompter_that_does_not_is_asked_again(void **state)
{
    char said[2048];

    (void)state;
    run_to_getpin("OK\n", said, sizeof(said));
    assert_says("D 12%2534\nOK\n", "SETDESC Once more\n");
    assert_false(pinentry_is_done(pinentry));
    assert_says("OK\n", "GETPIN\n");
    assert_says("D 12%2534\nOK\n", "BYE\n");
    assert_pin("12%34");
}

/* "S PIN_REPEATED" counts where it belongs only. */
static void
test_repetition_that_is_claimed_at_another_time_is_none(void **state)
{
    char said[2048];

    (void)state;
    run_to_getpin("S PIN_REPEATED\nOK\n", said, sizeof(said));
    assert_says("D 1234\nOK\n", "SETDESC Once more\n");
}

static void
test_two_that_differ_are_asked_for_anew(void **state)
{
    static const char *const seconds[] = {"D 12345\nOK\n", "D 123\nOK\n", "D 1235\nOK\n"};
    char said[2048];

    (void)state;
    run_to_getpin("OK\n", said, sizeof(said));
    for (size_t i = 0; i < 2; i++) {
        assert_says("D 1234\nOK\n", "SETDESC Once more\n");
        assert_says("OK\n", "GETPIN\n");
        run_to_getpin(seconds[i], said, sizeof(said));
        assert_string_equal(said, "SETERROR They are not the same\nSETDESC A new one\nSETREPEAT "
                                  "Again:\nSETREPEATERROR They are not the same\n");
    }
    assert_says("D 1234\nOK\n", "SETDESC Once more\n");
    assert_says("OK\n", "GETPIN\n");
    assert_int_equal(receive(seconds[2]), ATH_ERR_USER_DENIED); /* three rounds are enough */
    assert_non_null(strstr(pinentry_complaint(pinentry), "not the same"));
    assert_null(strstr(pinentry_complaint(pinentry), "123"));
}

static void
test_second_round_can_succeed(void **state)
{
    char said[2048];

    (void)state;
    run_to_getpin("OK\n", said, sizeof(said));
    assert_says("D 1234\nOK\n", "SETDESC Once more\n");
    assert_says("OK\n", "GETPIN\n");
    run_to_getpin("D 4321\nOK\n", said, sizeof(said));
    assert_says("D 56789\nOK\n", "SETDESC Once more\n");
    assert_says("OK\n", "GETPIN\n");
    assert_says("D 56789\nOK\n", "BYE\n");
    assert_pin("56789");
}

static void
test_length_is_looked_at_before_it_is_asked_for_again(void **state)
{
    char said[2048], line[64] = "D ";

    (void)state;
    run_to_getpin("OK\n", said, sizeof(said));
    run_to_getpin("D 123\nS PIN_REPEATED\nOK\n", said, sizeof(said));
    assert_memory_equal(said, "SETERROR It must have 4 to 32 characters\nSETDESC A new one\n", 59);
    memset(line + 2, '7', 33);
    strcpy(line + 2 + 33, "\nOK\n");
    run_to_getpin(line, said, sizeof(said));
    strcpy(line + 2 + 32, "\nOK\n");
    assert_says(line, "SETDESC Once more\n");
    assert_says("OK\n", "GETPIN\n");
    assert_says(line, "BYE\n");
    assert_pin("77777777777777777777777777777777");
}

static void
test_cancelling_either_time_ends_it(void **state)
{
    char said[2048];

    run_to_getpin("OK\n", said, sizeof(said));
    assert_int_equal(receive("ERR 83886179 Operation cancelled <Pinentry>\n"), ATH_ERR_USER_DENIED);
    teardown(state);
    setup(state);
    run_to_getpin("OK\n", said, sizeof(said));
    assert_says("D 1234\nOK\n", "SETDESC Once more\n");
    assert_says("OK\n", "GETPIN\n");
    assert_int_equal(receive("ERR 83886179 Operation cancelled <Pinentry>\n"), ATH_ERR_USER_DENIED);
    assert_false(pinentry_is_done(pinentry));
    teardown(state);
    setup(state);
    run_to_getpin("OK\n", said, sizeof(said));
    assert_says("D 1234\nOK\n", "SETDESC Once more\n");
    assert_says("OK\n", "GETPIN\n");
    assert_int_equal(receive("OK\n"), ATH_ERR_USER_DENIED); /* empty */
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(test_prompter_that_repeats_by_itself_is_asked_once),
        ONE(test_prompter_that_does_not_is_asked_again),
        ONE(test_repetition_that_is_claimed_at_another_time_is_none),
        ONE(test_two_that_differ_are_asked_for_anew),
        ONE(test_second_round_can_succeed),
        ONE(test_length_is_looked_at_before_it_is_asked_for_again),
        ONE(test_cancelling_either_time_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
