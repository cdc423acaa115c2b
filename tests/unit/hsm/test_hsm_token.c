/* A token that is not there, comes, and is taken out. */
#include "fixture_token.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

static void
ask_info(struct scene *scene, uint32_t id)
{
    scene_ask(scene,
              (struct hsm_request){.id = id, .op = HSM_OP_INFO, .version = HSM_WIRE_VERSION});
}

static void
set(ath_err *what, ath_err value)
{
    pthread_mutex_lock(&token.lock);
    *what = value;
    pthread_mutex_unlock(&token.lock);
}

static ath_err
wait_end(struct scene *scene)
{
    pthread_join(scene->thread, NULL); /* by itself */
    scene->is_running = false;
    return scene->result;
}

static void
test_token_that_is_not_there_is_waited_for(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;

    token.open_err = ATH_ERR_HSM_UNAVAILABLE;
    scene_start(scene);
    ask_info(scene, 7);
    response = scene_answer(scene, 7, ATH_ERR_HSM_UNAVAILABLE);
    assert_true(response.waits);
    assert_true(ath_slice_is(response.sentence, "no token here"));
    assert_true(token_wait(&token.opens, 3)); /* it is looked for */
    set(&token.open_err, ATH_OK);
    response = scene_answer(scene, 7, ATH_OK); /* the first INFO's id */
    assert_true(ath_slice_is(response.serial, "0815"));
    assert_int_equal(response.tries_left, 3);
    scene_open(scene, "plain");
    scene_sign(scene, 100, (struct hsm_pin_request){0});
    (void)scene_answer(scene, 100, ATH_OK);
    assert_int_equal(scene_end(scene), ATH_OK);
    assert_int_equal(token.closes, 1);
}

static void
test_another_reason_is_told_once(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;
    unsigned opens;

    token.open_err = ATH_ERR_HSM_UNAVAILABLE;
    scene_start(scene);
    ask_info(scene, 7);
    (void)scene_answer(scene, 7, ATH_ERR_HSM_UNAVAILABLE);
    pthread_mutex_lock(&token.lock);
    token.no_reader = true;
    pthread_mutex_unlock(&token.lock);
    response = scene_answer(scene, 7, ATH_ERR_HSM_UNAVAILABLE);
    assert_true(response.waits);
    assert_true(ath_slice_is(response.sentence, "no reader here"));
    opens = token_read(&token.opens);
    assert_true(token_wait(&token.opens, opens + 2)); /* it says no more of it */
    set(&token.open_err, ATH_OK);
    (void)scene_answer(scene, 7, ATH_OK);
}

static void
test_it_is_looked_for_more_and_more_seldom(void **state)
{
    struct scene *scene = *state;
    uint64_t since = clock_monotonic_ms();

    token.open_err = ATH_ERR_HSM_UNAVAILABLE;
    scene_start(scene);
    ask_info(scene, 7);
    (void)scene_answer(scene, 7, ATH_ERR_HSM_UNAVAILABLE);
    for (uint32_t i = 0; i < 100; i++) { /* whatever is asked meanwhile */
        scene_sign(scene, 100 + i, (struct hsm_pin_request){0});
        (void)scene_answer(scene, 100 + i, ATH_ERR_HSM_UNAVAILABLE);
    }
    assert_true(token_wait(&token.opens, 5)); /* at 0, 20, 70, 170, 370 ms */
    assert_true(clock_monotonic_ms() - since >= 370);
}

/* The watchdog's time runs when athd is gone. In a child, which ends before that: how long the end
 * of a helper takes is not what is asked here. */
static void
test_watchdog_does_not_count_while_a_token_is_waited_for(void **state)
{
    struct scene *scene = *state;
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        token.open_err = ATH_ERR_HSM_UNAVAILABLE;
        scene->options.hang_limit_ms = 200;
        scene_start(scene);
        ask_info(scene, 7);
        (void)scene_answer(scene, 7, ATH_ERR_HSM_UNAVAILABLE);
        _exit(token_wait(&token.opens, 5) ? 0 : 1); /* the fifth comes after 370 ms */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void
test_requests_meanwhile_are_answered(void **state)
{
    struct scene *scene = *state;
    pid_t pid;

    token.open_err = ATH_ERR_HSM_UNAVAILABLE;
    scene_start(scene);
    ask_info(scene, 7);
    (void)scene_answer(scene, 7, ATH_ERR_HSM_UNAVAILABLE);
    scene_sign(scene, 8, (struct hsm_pin_request){0});
    assert_false(scene_answer(scene, 8, ATH_ERR_HSM_UNAVAILABLE).waits);
    ask_info(scene, 9);
    assert_true(scene_answer(scene, 9, ATH_ERR_HSM_UNAVAILABLE).waits);
    pid = scene_pass_prompter(scene, 10, PERSON_RIGHT, -1);
    scene_ask(scene, (struct hsm_request){.id = 10,
                                          .op = HSM_OP_LOGIN,
                                          .pin = {.from = HSM_PIN_PROMPTER, .timeout_s = 60}});
    (void)scene_answer(scene, 10, ATH_ERR_HSM_UNAVAILABLE);
    scene_wait_prompter(pid);
    assert_int_equal(scene_end(scene), ATH_OK); /* and athd's end is seen */
    assert_int_equal(token.closes, 0);
}

static void
test_other_errors_end_the_wait(void **state)
{
    struct scene *scene = *state;

    token.open_err = ATH_ERR_HSM_UNAVAILABLE;
    scene_start(scene);
    ask_info(scene, 7);
    (void)scene_answer(scene, 7, ATH_ERR_HSM_UNAVAILABLE);
    set(&token.open_err, ATH_ERR_HSM_BUSY); /* being put in */
    assert_true(token_wait(&token.opens, token_read(&token.opens) + 2));
    set(&token.open_err, ATH_ERR_HSM_ERROR);
    assert_false(scene_answer(scene, 7, ATH_ERR_HSM_ERROR).waits);
    assert_int_equal(wait_end(scene), ATH_ERR_HSM_UNAVAILABLE);
}

static void
test_token_that_is_taken_out_unasked_is_told(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;

    scene_start(scene);
    scene_open(scene, "plain");
    set(&token.check_err, ATH_ERR_HSM_ERROR); /* not what is looked for */
    assert_true(token_wait(&token.checks, 1));
    set(&token.check_err, ATH_ERR_HSM_UNAVAILABLE);
    response = scene_answer(scene, 1, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(response.op, HSM_OP_INFO);
    assert_false(response.waits);
    assert_true(ath_slice_is(response.sentence, "taken out"));
    assert_int_equal(wait_end(scene), ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(token.closes, 1);
}

static void
test_busy_token_is_not_checked(void **state)
{
    struct scene *scene = *state;
    unsigned checks; /* there may have been one before the signature, on a slow machine */

    token.holds = true;
    scene_start(scene);
    scene_open(scene, "plain");
    scene_sign(scene, 100, (struct hsm_pin_request){0});
    assert_true(token_wait(&token.signing, 1));
    checks = token_read(&token.checks);
    (void)poll(NULL, 0, 1500); /* a check would be a call beside a signature: teardown sees it */
    assert_int_equal(token_read(&token.checks), checks);
    token_hold(false);
    (void)scene_answer(scene, 100, ATH_OK);
    assert_true(token_wait(&token.checks, checks + 1));
}

static void
test_login_that_finds_no_token_ends_the_loop(void **state)
{
    struct scene *scene = *state;
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "plain");
    set(&token.login_err, ATH_ERR_HSM_UNAVAILABLE);
    pid = scene_pass_prompter(scene, 3, PERSON_RIGHT, -1);
    scene_ask(scene, (struct hsm_request){.id = 3,
                                          .op = HSM_OP_LOGIN,
                                          .pin = {.from = HSM_PIN_PROMPTER, .timeout_s = 60}});
    (void)scene_answer(scene, 3, ATH_ERR_HSM_UNAVAILABLE);
    scene_wait_prompter(pid);
    assert_int_equal(wait_end(scene), ATH_ERR_HSM_UNAVAILABLE);
}

static void
test_waiting_and_coming_back_leaves_nothing_open(void **state)
{
    struct scene *scene = *state;
    unsigned before = scene_count_fds();

    token.open_err = ATH_ERR_HSM_UNAVAILABLE;
    scene_start(scene);
    ask_info(scene, 7);
    (void)scene_answer(scene, 7, ATH_ERR_HSM_UNAVAILABLE);
    set(&token.open_err, ATH_OK);
    (void)scene_answer(scene, 7, ATH_OK);
    assert_int_equal(scene_end(scene), ATH_OK);
    assert_int_equal(scene_count_fds(), before);
}

/* One run of the loop in this thread, whose nth allocation fails: what is asked lies ready, and
 * nothing follows. True: one did fail. */
static bool
serve_with_failing_allocation(unsigned nth)
{
    void *state = NULL;
    struct scene *scene;
    bool happened;
    ath_err err;

    assert_int_equal(scene_setup(&state), 0);
    scene = state;
    ask_info(scene, 1);
    ask_info(scene, 2);
    scene_ask(scene,
              (struct hsm_request){
                  .id = 3, .op = HSM_OP_KEY_OPEN, .key = 1, .data = ath_slice_of_string("plain")});
    scene_sign(scene, 4, (struct hsm_pin_request){0});
    scene_ask(scene, (struct hsm_request){.id = 5, .op = HSM_OP_LOGOUT});
    assert_int_equal(shutdown(scene->fd, SHUT_WR), 0);
    fail_allocation(nth);
    err = hsm_helper_run(&scene->options);
    happened = fail_allocation_happened();
    fail_allocation(0);
    assert_true(happened || err == ATH_OK);
    assert_int_equal(token.opens, token.closes);
    assert_int_equal(scene_teardown(&state), 0);
    return happened;
}

static void
test_failing_allocations_leave_nothing_half_open(void **state)
{
    unsigned nth = 1;

    (void)state;
    while (serve_with_failing_allocation(nth))
        nth++;
    assert_true(nth > 3);
}

/* Requests that the back end answers without asking the token. */
static void
test_token_taken_out_is_noticed_though_requests_do_not_stop(void **state)
{
    struct scene *scene = *state;
    uint64_t ends_at = clock_monotonic_ms() + PATIENCE_MS;
    struct hsm_response response;

    scene_start(scene);
    scene_open(scene, "plain");
    set(&token.check_err, ATH_ERR_HSM_UNAVAILABLE);
    do {
        assert_true(clock_monotonic_ms() < ends_at);
        scene_ask(scene, (struct hsm_request){.id = 3, .op = HSM_OP_RANDOM, .count = 1});
        response = scene_take(scene);
    } while (response.err == ATH_OK);
    assert_int_equal(response.err, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(response.op, HSM_OP_INFO);
    assert_int_equal(wait_end(scene), ATH_ERR_HSM_UNAVAILABLE);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, scene_setup, scene_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_token_taken_out_is_noticed_though_requests_do_not_stop),
        TEST(test_token_that_is_not_there_is_waited_for),
        TEST(test_another_reason_is_told_once),
        TEST(test_it_is_looked_for_more_and_more_seldom),
        TEST(test_watchdog_does_not_count_while_a_token_is_waited_for),
        TEST(test_requests_meanwhile_are_answered),
        TEST(test_other_errors_end_the_wait),
        TEST(test_token_that_is_taken_out_unasked_is_told),
        TEST(test_busy_token_is_not_checked),
        TEST(test_login_that_finds_no_token_ends_the_loop),
        TEST(test_waiting_and_coming_back_leaves_nothing_open),
        cmocka_unit_test(test_failing_allocations_leave_nothing_half_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
