/* The dialogue itself: its text, its ends, and what it says when it goes wrong. */
#include "hsm/hsm_pin_dialogue.h"

#include "fixture_token.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

struct talk {
    int fds[2]; /* ours, the prompter's */
    int cancel_fd;
    pthread_t prompter;
    const char *script; /* what the prompter says; after an OK or ERR it hears a line of ours */
    size_t cut;         /* bytes a write; 0: a line */
};

static int
setup(void **state)
{
    struct talk *talk = calloc(1, sizeof(*talk));

    assert_non_null(talk);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk->fds), 0);
    talk->cancel_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(talk->cancel_fd >= 0);
    *state = talk;
    return 0;
}

static int
teardown(void **state)
{
    struct talk *talk = *state;

    fd_close(&talk->fds[0]);
    fd_close(&talk->fds[1]);
    fd_close(&talk->cancel_fd);
    free(talk);
    return 0;
}

static void
say_cut(const struct talk *talk, const char *text, size_t len)
{
    size_t step = talk->cut == 0 ? len : talk->cut;

    for (size_t at = 0; at < len; at += step)
        (void)send(talk->fds[1], text + at, len - at < step ? len - at : step, MSG_NOSIGNAL);
}

static void *
prompt(void *arg)
{
    const struct talk *talk = arg;
    const char *line = talk->script, *end;
    char byte = '\n';

    while ((end = strchr(line, '\n')) != NULL) {
        bool is_answer = line[0] == 'O' || line[0] == 'E';

        say_cut(talk, line, (size_t)(end + 1 - line));
        line = end + 1;
        byte = is_answer ? '\0' : '\n';
        while (byte != '\n' && read(talk->fds[1], &byte, 1) == 1)
            ; /* what we are told next */
    }
    return NULL;
}

#define GREETED                                                                                    \
    "OK hello\nOK\nOK\nOK\nOK\n" /* until GETPIN: title, prompt, timeout, description              \
                                  */

static ath_err
run(struct talk *talk, const char *script, uint32_t timeout_s, struct why *why,
    struct ath_secret *ret_pin)
{
    const struct pin_question question = {.description = "Which?",
                                          .timeout_s = timeout_s,
                                          .ttyname = "",
                                          .ttytype = "",
                                          .lc_ctype = ""};
    ath_err err;

    talk->script = script;
    assert_int_equal(pthread_create(&talk->prompter, NULL, prompt, talk), 0);
    err = pin_dialogue_run(talk->fds[0], talk->cancel_fd, &question, why, ret_pin);
    (void)shutdown(talk->fds[0], SHUT_RDWR);
    pthread_join(talk->prompter, NULL);
    return err;
}

static void
test_pin_comes_through_whole_however_it_is_cut(void **state)
{
    struct talk *talk = *state;
    struct ath_secret pin = {NULL, 0};
    struct why why;

    talk->cut = 1;
    assert_int_equal(run(talk, GREETED "D 12\nS +\nD %2534\nOK\n", 10, &why, &pin), ATH_OK);
    assert_int_equal(pin.len, 5);
    assert_memory_equal(pin.data, "12%34", 5);
    assert_string_equal(why.text, "");
    ath_secret_done(&pin);
}

static void
test_each_failure_has_its_sentence(void **state)
{
    static const struct {
        const char *script;
        ath_err err;
        const char *says;
    } cases[] = {
        {GREETED "ERR 83886179 cancelled\n", ATH_ERR_USER_DENIED, ""},
        {GREETED "OK\n", ATH_ERR_USER_DENIED, "no PIN was given"},
        {GREETED "ERR 62 Timeout\n", ATH_ERR_CONSENT_TIMEOUT, ""},
        {GREETED "ERR 83886163 no tty\n", ATH_ERR_NO_PROMPTER, "it said: ERR 83886163 no tty"},
        {"what is this\n", ATH_ERR_NO_PROMPTER, "it said: what is this"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ath_secret pin = {NULL, 0};
        struct why why;

        assert_int_equal(run(*state, cases[i].script, 10, &why, &pin), cases[i].err);
        assert_null(pin.data);
        if (strstr(why.text, cases[i].says) == NULL ||
            (cases[i].says[0] == '\0' && why.text[0] != '\0'))
            fail_msg("%s", why.text);
        teardown(state);
        setup(state);
    }
}

static void
test_prompter_that_ends_is_told(void **state)
{
    struct talk *talk = *state;
    const struct pin_question question = {.description = "Which?", .timeout_s = 10};
    struct ath_secret pin = {NULL, 0};
    struct why why;

    fd_close(&talk->fds[1]);
    assert_int_equal(pin_dialogue_run(talk->fds[0], talk->cancel_fd, &question, &why, &pin),
                     ATH_ERR_NO_PROMPTER);
    assert_non_null(strstr(why.text, "GPG_TTY"));
}

static void
test_question_can_be_taken_back(void **state)
{
    struct talk *talk = *state;
    const struct pin_question question = {.description = "Which?", .timeout_s = 1000};
    struct ath_secret pin = {NULL, 0};
    struct why why;

    assert_int_equal(eventfd_write(talk->cancel_fd, 1), 0);
    assert_int_equal(pin_dialogue_run(talk->fds[0], talk->cancel_fd, &question, &why, &pin),
                     ATH_ERR_NO_PROMPTER);
    assert_non_null(strstr(why.text, "taken back"));
}

static void
test_time_is_up_for_a_prompter_that_talks_on(void **state)
{
    struct talk *talk = *state;
    struct ath_secret pin = {NULL, 0};
    uint64_t since = clock_monotonic_ms();
    struct why why;

    assert_int_equal(run(talk, "OK hello\n", 0, &why, &pin), ATH_ERR_CONSENT_TIMEOUT);
    assert_true(clock_monotonic_ms() - since >= 1000); /* the prompter may be first */
}

static void
test_description_beyond_the_limit_is_refused(void **state)
{
    struct talk *talk = *state;
    char text[20000];
    const struct pin_question question = {.description = text, .timeout_s = 10};
    struct ath_secret pin = {NULL, 0};
    struct why why;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(pin_dialogue_run(talk->fds[0], talk->cancel_fd, &question, &why, &pin),
                     ATH_ERR_LIMIT_EXCEEDED);
}

/* ---- the text ---- */

static void
must_describe(const struct hsm_info *facts, const char *text, const char *expected)
{
    struct ath_buf out = {.max = 8192};
    struct hsm_info info = *facts;

    info.kind = "pkcs11";
    pin_question_put_description(&out, &info, ath_slice_of_string(text), false);
    assert_string_equal(ath_buf_text(&out), expected);
    ath_buf_done(&out);
}

static void
test_description_says_what_is_known(void **state)
{
    (void)state;
    must_describe(&(struct hsm_info){.label = "a"}, "x\ny", "Token: a\n\nx\ny");
    must_describe(&(struct hsm_info){.tries_left = 2, .serial = "1"}, "x",
                  "Token: (without a label)\nSerial number: 1\n"
                  "2 tries are left before the token locks.\n\nx");
    must_describe(&(struct hsm_info){.label = "a", .manufacturer = "m", .tries_left = 1}, "x",
                  "Token: a\nMade by: m\n"
                  "Only 1 try is left: a wrong PIN locks the token.\n\nx");
}

static void
test_description_of_a_key_of_a_tpm(void **state)
{
    static const struct {
        bool software, is_new;
        const char *expected;
    } cases[] = {
        {false, false, "The PIN of a key in the TPM\n\nKey: k"},
        {true, false, "The PIN of a key in the software TPM\n\nKey: k"},
        {false, true, "Choose a PIN for a new key in the TPM: 4 to 32 characters\n\nKey: k"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct hsm_info info = {
            .kind = "tpm", .software = cases[i].software, .manufacturer = "m"};
        struct ath_buf out = {.max = 8192};

        pin_question_put_description(&out, &info, ath_slice_of_string("Key: k"), cases[i].is_new);
        assert_string_equal(ath_buf_text(&out), cases[i].expected);
        ath_buf_done(&out);
    }
}

static void
test_description_hides_and_turns_nothing(void **state)
{
    (void)state;
    /* a line end, a right-to-left override, an escape, half a character */
    must_describe(&(struct hsm_info){.label = "a\nb\xE2\x80\xAE\x1B[2J\xC3"}, "x\r\n\xE2\x80\xAEy",
                  "Token: a?b??[2J?\n\nx?\n?y");
}

/* ---- failing allocations ---- */

static ath_err
ask_once(void *ctx)
{
    struct talk *talk = ctx;
    const struct pin_question question = {.description = "Which?", .timeout_s = 10};
    struct ath_secret pin = {NULL, 0};
    struct why why;
    ath_err err = pin_dialogue_run(talk->fds[0], talk->cancel_fd, &question, &why, &pin);

    ath_secret_done(&pin);
    return err == ATH_ERR_NO_PROMPTER ? ATH_OK : err; /* it is taken back at once */
}

static void
test_each_failing_allocation_is_told(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(eventfd_write(talk->cancel_fd, 1), 0);
    each_allocation_failing(ask_once, talk);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pin_comes_through_whole_however_it_is_cut),
        TEST(test_each_failure_has_its_sentence),
        TEST(test_prompter_that_ends_is_told),
        TEST(test_question_can_be_taken_back),
        TEST(test_time_is_up_for_a_prompter_that_talks_on),
        TEST(test_description_beyond_the_limit_is_refused),
        cmocka_unit_test(test_description_says_what_is_known),
        cmocka_unit_test(test_description_of_a_key_of_a_tpm),
        cmocka_unit_test(test_description_hides_and_turns_nothing),
        TEST(test_each_failing_allocation_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
