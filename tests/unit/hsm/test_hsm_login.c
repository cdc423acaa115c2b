/* PINs from people, and kept ones; tried once. */
#include "fixture_token.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"

static struct hsm_pin_request
from_person(uint32_t timeout_s)
{
    return (struct hsm_pin_request){.from = HSM_PIN_PROMPTER,
                                    .timeout_s = timeout_s,
                                    .text = ath_slice_of_string("to sign for alice")};
}

static const struct hsm_pin_request kept = {.from = HSM_PIN_KEPT};

static void
ask_login(struct scene *scene, uint32_t id, struct hsm_pin_request pin, bool keep)
{
    pin.keep = keep;
    scene_ask(scene, (struct hsm_request){.id = id, .op = HSM_OP_LOGIN, .pin = pin});
}

/* A LOGIN with this person at the prompter. */
static struct hsm_response
login(struct scene *scene, uint32_t id, enum person person, bool keep, ath_err expected)
{
    pid_t pid = scene_pass_prompter(scene, id, person, -1);
    struct hsm_response response;

    ask_login(scene, id, from_person(60), keep);
    response = scene_answer(scene, id, expected);
    scene_wait_prompter(pid);
    return response;
}

static void
test_right_pin_logs_in(void **state)
{
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "plain");
    assert_int_equal(login(scene, 3, PERSON_RIGHT, false, ATH_OK).tries_left, 3);
    assert_true(token.is_logged_in);
    assert_int_equal(token.logins, 1);
}

static void
test_wrong_pin_costs_one_try(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;

    scene_start(scene);
    scene_open(scene, "plain");
    response = login(scene, 3, PERSON_WRONG, true, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(response.tries_left, 2);
    assert_int_equal(response.native, 0xA0);
    assert_int_equal(response.stamp.len, 0);
    assert_int_equal(token.wrong_pins, 1);
    assert_int_equal(token.logins, 1);
}

static void
test_locked_token_asks_nobody(void **state)
{
    struct scene *scene = *state;

    token.tries_left = 0;
    scene_start(scene);
    scene_open(scene, "plain");
    (void)login(scene, 3, PERSON_RIGHT, false, ATH_ERR_PIN_LOCKED);
    assert_int_equal(token.logins, 0);
}

static void
test_what_a_prompter_says_instead_is_told_apart(void **state)
{
    struct scene *scene = *state;
    static const struct {
        enum person person;
        ath_err err;
    } cases[] = {
        {PERSON_CANCELS, ATH_ERR_USER_DENIED}, {PERSON_EMPTY, ATH_ERR_USER_DENIED},
        {PERSON_GARBAGE, ATH_ERR_NO_PROMPTER}, {PERSON_DIES, ATH_ERR_NO_PROMPTER},
        {PERSON_256, ATH_ERR_NO_PROMPTER},     {PERSON_255, ATH_ERR_PIN_INCORRECT},
    };
    const uint32_t count = sizeof(cases) / sizeof(cases[0]);
    unsigned before;

    scene_start(scene);
    scene_open(scene, "plain");
    before = scene_count_fds();
    for (uint32_t i = 0; i < 2 * count; i++) /* more than may be open at once */
        (void)login(scene, 3 + i, cases[i % count].person, false, cases[i % count].err);
    assert_int_equal(token.logins, 2); /* the ones with 255 bytes */
    assert_int_equal(scene_count_fds(), before);
}

static void
test_question_ends_when_its_time_is_up(void **state)
{
    struct scene *scene = *state;
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "plain");
    pid = scene_pass_prompter(scene, 3, PERSON_SILENT, -1);
    ask_login(scene, 3, from_person(0), false);
    (void)scene_answer(scene, 3, ATH_ERR_CONSENT_TIMEOUT);
    scene_wait_prompter(pid);
}

static void
test_signatures_go_on_while_a_person_is_asked(void **state)
{
    struct scene *scene = *state;
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "plain");
    pid = scene_pass_prompter(scene, 3, PERSON_SILENT, -1);
    ask_login(scene, 3, from_person(60), false);
    scene_sign(scene, 100, (struct hsm_pin_request){0});
    (void)scene_answer(scene, 100, ATH_OK);
    scene_ask(scene, (struct hsm_request){.id = 4, .op = HSM_OP_RANDOM, .count = 1});
    (void)scene_answer(scene, 4, ATH_OK);
    assert_int_equal(scene_end(scene), ATH_OK); /* the open question ends with the helper */
    scene_wait_prompter(pid);
}

/* The back end is called when no signature is in flight: else teardown finds violations. */
static void
test_pin_is_tried_when_no_signature_is_in_flight(void **state)
{
    struct scene *scene = *state;
    struct pollfd item = {.fd = scene->fd, .events = POLLIN};
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "plain");
    pid = scene_pass_prompter(scene, 3, PERSON_SLOW, -1);
    ask_login(scene, 3, from_person(60), false);
    token_hold(true);
    scene_sign(scene, 100, (struct hsm_pin_request){0});
    assert_true(token_wait(&token.signing, 1));
    kill(pid, SIGUSR1); /* now type */
    scene_wait_prompter(pid);
    assert_int_equal(poll(&item, 1, 50), 0);
    token_hold(false);
    (void)scene_answer(scene, 100, ATH_OK);
    (void)scene_answer(scene, 3, ATH_OK);
}

static void
test_tries_left_are_read_when_no_signature_is_in_flight(void **state)
{
    struct scene *scene = *state;
    struct pollfd item = {.fd = scene->fd, .events = POLLIN};
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "card");
    (void)login(scene, 3, PERSON_RIGHT, true, ATH_OK);
    token_hold(true);
    scene_sign(scene, 100, kept);
    assert_true(token_wait(&token.signing, 1));
    pid = scene_pass_prompter(scene, 101, PERSON_RIGHT, -1);
    scene_sign(scene, 101, from_person(60));
    assert_int_equal(poll(&item, 1, 50), 0);
    token_hold(false);
    (void)scene_answer(scene, 100, ATH_OK);
    (void)scene_answer(scene, 101, ATH_OK);
    scene_wait_prompter(pid);
}

static void
test_too_many_questions_are_refused(void **state)
{
    struct scene *scene = *state;
    pid_t pids[9];

    scene_start(scene);
    scene_open(scene, "plain");
    for (uint32_t i = 0; i < 9; i++) {
        pids[i] = scene_pass_prompter(scene, 10 + i, PERSON_SILENT, -1);
        ask_login(scene, 10 + i, from_person(60), false);
    }
    (void)scene_answer(scene, 18, ATH_ERR_HSM_BUSY);
    scene_wait_prompter(pids[8]);
    assert_int_equal(scene_end(scene), ATH_OK);
    for (unsigned i = 0; i < 8; i++)
        scene_wait_prompter(pids[i]);
}

static void
test_request_without_its_connection_is_told(void **state)
{
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "plain");
    ask_login(scene, 3, from_person(60), false);
    (void)scene_answer(scene, 3, ATH_ERR_NO_PROMPTER);
}

static void
test_connection_that_is_not_needed_is_closed(void **state)
{
    struct scene *scene = *state;
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "plain");
    pid = scene_pass_prompter(scene, 100, PERSON_RIGHT, -1); /* a key that wants no PIN */
    scene_sign(scene, 100, from_person(60));
    (void)scene_answer(scene, 100, ATH_OK);
    scene_wait_prompter(pid);
    assert_int_equal(token.pin_signatures, 0);
}

static void
test_question_names_token_tries_and_asker(void **state)
{
    struct scene *scene = *state;
    char told[4096];
    size_t len = 0;
    ssize_t n;
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    token.tries_left = 1;
    scene_start(scene);
    scene_open(scene, "plain");
    pid = scene_pass_prompter(scene, 3, PERSON_RIGHT, ends[1]);
    ask_login(scene, 3, from_person(60), false);
    (void)scene_answer(scene, 3, ATH_OK);
    scene_wait_prompter(pid);
    while ((n = read(ends[0], told + len, sizeof(told) - 1 - len)) > 0)
        len += (size_t)n;
    told[len] = '\0';
    close(ends[0]);
    assert_non_null(strstr(told, "SETDESC Token: my token??%0AMade by: us%0ASerial number: "
                                 "0815%0AOnly 1 try is left: a wrong PIN locks the "
                                 "token.%0A%0Ato sign for alice\n"));
    assert_non_null(strstr(told, "SETTIMEOUT 60\n"));
    assert_non_null(strstr(told, "SETPROMPT PIN:\n"));
    assert_null(strstr(told, "cache"));
}

static void
test_pad_of_the_reader_needs_no_pin_and_only_it(void **state)
{
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "plain");
    ask_login(scene, 3, (struct hsm_pin_request){0}, false);
    (void)scene_answer(scene, 3, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(token_read(&token.logins), 0);
    pthread_mutex_lock(&token.lock);
    token.pad = true;
    pthread_mutex_unlock(&token.lock);
    ask_login(scene, 4, (struct hsm_pin_request){0}, false);
    (void)scene_answer(scene, 4, ATH_OK);
}

/* ---- keys that want their PIN for each signature ---- */

static void
test_signature_asks_for_its_pin_and_gets_it(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "card");
    scene_sign(scene, 99, (struct hsm_pin_request){0});
    (void)scene_answer(scene, 99, ATH_ERR_PIN_REQUIRED);
    pid = scene_pass_prompter(scene, 100, PERSON_RIGHT, -1);
    scene_sign(scene, 100, from_person(60));
    response = scene_answer(scene, 100, ATH_OK);
    scene_verify(scene, &response);
    scene_wait_prompter(pid);
    pid = scene_pass_prompter(scene, 101, PERSON_WRONG, -1);
    scene_sign(scene, 101, from_person(60));
    response = scene_answer(scene, 101, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(response.tries_left, 2);
    scene_wait_prompter(pid);
    pid = scene_pass_prompter(scene, 102, PERSON_CANCELS, -1);
    scene_sign(scene, 102, from_person(60));
    (void)scene_answer(scene, 102, ATH_ERR_USER_DENIED);
    scene_wait_prompter(pid);
    assert_int_equal(token.pin_signatures, 2);
}

/* The person was asked about one key; another one has its number now. */
static void
test_pin_for_one_key_is_not_used_with_another(void **state)
{
    struct scene *scene = *state;
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "card");
    pid = scene_pass_prompter(scene, 100, PERSON_SLOW, -1);
    scene_sign(scene, 100, from_person(60));
    scene_ask(scene, (struct hsm_request){.id = 4, .op = HSM_OP_KEY_CLOSE, .key = 1});
    (void)scene_answer(scene, 4, ATH_OK);
    scene_ask(scene,
              (struct hsm_request){
                  .id = 5, .op = HSM_OP_KEY_OPEN, .key = 1, .data = ath_slice_of_string("card")});
    (void)scene_answer(scene, 5, ATH_OK);
    kill(pid, SIGUSR1); /* now type */
    (void)scene_answer(scene, 100, ATH_ERR_KEY_NOT_FOUND);
    scene_wait_prompter(pid);
    assert_int_equal(token.signatures, 0);
}

static void
test_kept_pin_signs_until_logout(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;

    scene_start(scene);
    scene_open(scene, "card");
    (void)login(scene, 3, PERSON_RIGHT, true, ATH_OK);
    for (uint32_t i = 0; i < 20; i++)
        scene_sign(scene, 100 + i, kept);
    for (unsigned i = 0; i < 20; i++) {
        response = scene_take(scene);
        assert_int_equal(response.err, ATH_OK);
        scene_verify(scene, &response);
    }
    scene_ask(scene, (struct hsm_request){.id = 4, .op = HSM_OP_LOGOUT});
    (void)scene_answer(scene, 4, ATH_OK);
    assert_int_equal(token.logouts, 1);
    scene_sign(scene, 200, kept);
    (void)scene_answer(scene, 200, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(token.pin_signatures, 20);
}

static void
test_pin_that_is_not_to_be_kept_is_not(void **state)
{
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "card");
    (void)login(scene, 3, PERSON_RIGHT, false, ATH_OK);
    scene_sign(scene, 100, kept);
    (void)scene_answer(scene, 100, ATH_ERR_PIN_REQUIRED);
}

/* It may be an older one, that is wrong by now. */
static void
test_pin_that_was_kept_is_forgotten_at_a_login_that_keeps_none(void **state)
{
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "card");
    (void)login(scene, 3, PERSON_RIGHT, true, ATH_OK);
    (void)login(scene, 4, PERSON_WRONG, false, ATH_ERR_PIN_INCORRECT);
    scene_sign(scene, 100, kept);
    (void)scene_answer(scene, 100, ATH_OK);
    (void)login(scene, 5, PERSON_RIGHT, false, ATH_OK);
    scene_sign(scene, 101, kept);
    (void)scene_answer(scene, 101, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(token.pin_signatures, 1);
}

static void
test_kept_pin_that_became_wrong_costs_one_try(void **state)
{
    struct scene *scene = *state;
    unsigned incorrect = 0, required = 0, locked, unlocked;

    scene_start(scene);
    scene_open(scene, "card");
    (void)login(scene, 3, PERSON_RIGHT, true, ATH_OK);
    pthread_mutex_lock(&token.lock);
    token.is_changed = true;
    pthread_mutex_unlock(&token.lock);
    for (uint32_t i = 0; i < 10; i++)
        scene_sign(scene, 100 + i, kept);
    for (unsigned i = 0; i < 10; i++) {
        struct hsm_response response = scene_take(scene);

        incorrect += response.err == ATH_ERR_PIN_INCORRECT;
        required += response.err == ATH_ERR_PIN_REQUIRED;
    }
    assert_int_equal(incorrect, 1);
    assert_int_equal(required, 9);
    assert_int_equal(token.wrong_pins, 1);
    assert_true(scene_find_pin(getpid(), &locked, &unlocked));
    assert_int_equal(locked + unlocked, 0);
    pthread_mutex_lock(&token.lock);
    token.is_changed = false;
    pthread_mutex_unlock(&token.lock);
    (void)login(scene, 200, PERSON_RIGHT, true, ATH_OK);
    scene_sign(scene, 201, kept);
    (void)scene_answer(scene, 201, ATH_OK);
}

static void
test_kept_pin_is_not_tried_again_when_the_token_leaves_a_doubt(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;

    scene_start(scene);
    scene_open(scene, "card");
    (void)login(scene, 3, PERSON_RIGHT, true, ATH_OK);
    pthread_mutex_lock(&token.lock);
    token.is_changed = token.is_vague = true;
    pthread_mutex_unlock(&token.lock);
    scene_sign(scene, 100, kept);
    response = scene_answer(scene, 100, ATH_ERR_HSM_ERROR);
    assert_true(response.pin_in_doubt);
    assert_int_equal(response.tries_left, 2);
    scene_sign(scene, 101, kept);
    response = scene_answer(scene, 101, ATH_ERR_PIN_REQUIRED);
    assert_false(response.pin_in_doubt);
    assert_int_equal(token.wrong_pins, 1);
}

static void
test_kept_pin_is_not_tried_again_after_the_token_has_locked(void **state)
{
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "card");
    (void)login(scene, 3, PERSON_RIGHT, true, ATH_OK);
    pthread_mutex_lock(&token.lock);
    token.tries_left = 0;
    pthread_mutex_unlock(&token.lock);
    scene_sign(scene, 100, kept);
    (void)scene_answer(scene, 100, ATH_ERR_PIN_LOCKED);
    scene_sign(scene, 101, kept);
    (void)scene_answer(scene, 101, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(token_read(&token.pin_signatures), 1);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, scene_setup, scene_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_right_pin_logs_in),
        TEST(test_wrong_pin_costs_one_try),
        TEST(test_locked_token_asks_nobody),
        TEST(test_what_a_prompter_says_instead_is_told_apart),
        TEST(test_question_ends_when_its_time_is_up),
        TEST(test_signatures_go_on_while_a_person_is_asked),
        TEST(test_pin_is_tried_when_no_signature_is_in_flight),
        TEST(test_tries_left_are_read_when_no_signature_is_in_flight),
        TEST(test_too_many_questions_are_refused),
        TEST(test_request_without_its_connection_is_told),
        TEST(test_connection_that_is_not_needed_is_closed),
        TEST(test_question_names_token_tries_and_asker),
        TEST(test_pad_of_the_reader_needs_no_pin_and_only_it),
        TEST(test_signature_asks_for_its_pin_and_gets_it),
        TEST(test_pin_for_one_key_is_not_used_with_another),
        TEST(test_kept_pin_signs_until_logout),
        TEST(test_pin_that_is_not_to_be_kept_is_not),
        TEST(test_pin_that_was_kept_is_forgotten_at_a_login_that_keeps_none),
        TEST(test_kept_pin_that_became_wrong_costs_one_try),
        TEST(test_kept_pin_is_not_tried_again_when_the_token_leaves_a_doubt),
        TEST(test_kept_pin_is_not_tried_again_after_the_token_has_locked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
