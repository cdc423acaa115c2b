/* PKCS#11 tokens as the pool sees them: logging in, the throttle, keys that want their PIN each
 * time, tokens that come and go, answers out of order. */
#include "hsm_token_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "athd/consent.h"
#include "athd/hsm_pool.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/clock.h"

/* ---- logging in ---- */

static void
test_one_login_serves_all_who_wait(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "yes");
    token_run_until_state("locked");
    assert_true(token_status_has("login", "pin"));
    assert_true(token_status_has("reason", "PIN_REQUIRED"));
    token_sign(0, "a", false);
    token_sign(1, "b", false);
    token_sign(2, "c", false);
    fixture_run_until(&token_fixture, &token_completions, 3);
    assert_int_equal(token_results[0].err, ATH_OK);
    assert_int_equal(token_results[2].err, ATH_OK);
    assert_true(token_status_has("state", "ready"));
    assert_int_equal(token_count("seen", "8 0 pin=1 keep=0"), 1);
    assert_int_equal(token_count("prompter", "START"), 1);
    token_sign(3, "d", false);
    fixture_run_until(&token_fixture, &token_completions, 4);
    assert_int_equal(token_count("prompter", "START"), 1);
    token_end();
}

static void
test_question_that_is_refused_ends_all_who_wait_and_the_next_request_asks_anew(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "no");
    token_sign(0, "a", false);
    token_sign(1, "b", false);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_results[0].err, ATH_ERR_USER_DENIED);
    assert_int_equal(token_results[1].err, ATH_ERR_USER_DENIED);
    setenv("FAKE_PROMPTER", "yes", 1);
    token_sign_ends(2, "c", false, ATH_OK);
    token_end();
}

static void
test_prompter_that_cannot_be_run_is_told(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "gone");
    token_sign_ends(0, "a", false, ATH_ERR_NO_PROMPTER);
    token_end();
}

static void
test_question_goes_with_the_last_who_waits(void **state)
{
    struct hsm_job *first, *second;

    (void)state;
    token_begin("pkcs11:token=pin", "silent");
    first = token_sign(0, "a", false);
    second = token_sign(1, "b", false);
    token_run_until_file_says("prompter", "GETPIN");
    hsm_job_cancel(first, ATH_ERR_CONSENT_TIMEOUT);
    fixture_run_until(&token_fixture, &token_completions, 1);
    setenv("FAKE_PROMPTER", "yes", 1);
    hsm_job_cancel(second, ATH_ERR_CONSENT_TIMEOUT);
    token_sign(2, "c", false); /* comes while the first question is being taken back */
    fixture_run_until(&token_fixture, &token_completions, 3);
    assert_int_equal(token_results[1].err, ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(token_results[2].err, ATH_OK);
    assert_int_equal(token_count("prompter", "START"), 2);
    token_end();
}

static void
test_time_that_a_person_takes_is_nobodys_deadline(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin", "silent");
    token_results[0].request = fixture_request(&token_fixture, RPC_KEY_CREATE);
    token_sign(0, "a", false);
    token_run_until_file_says("prompter", "GETPIN");
    fake_clock_move(100); /* more than a request's 30 s, less than a question's 120 s */
    fixture_turn(&token_fixture);
    usleep(200000);
    fixture_turn(&token_fixture);
    assert_int_equal(token_results[0].done, 0);
    consent_close(token_fixture.athd.consent); /* athd ends: the question is taken back */
    fixture_run_until(&token_fixture, &token_completions, 1);
    assert_int_equal(token_results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    token_end();
}

static void
test_question_that_nobody_answers_times_out(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "silent");
    token_fixture.config.consent_timeout_s = 1;
    token_sign_ends(0, "a", false, ATH_ERR_CONSENT_TIMEOUT);
    token_end();
}

static void
test_pad_is_asked_without_a_prompter(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pad", "yes");
    token_sign_ends(0, "a", false, ATH_OK);
    assert_int_equal(token_count("seen", "8 0 pin=0"), 1);
    assert_int_equal(token_count("prompter", "START"), 0);
    token_end();
}

static void
test_who_was_logged_out_elsewhere_logs_in_once_more(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    token_sign_ends(1, "logged-out", false, ATH_OK);
    assert_int_equal(token_count("seen", "8 0 pin=1"), 2);
    token_end();
}

static void
test_login_ends_after_its_time_and_a_pin_is_kept_for_it(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    fixture_begin(&token_fixture, "pkcs11:token=pin");
    token_fixture.config.hsms[0].pin_ttl_s = 60;
    setenv("FAKE_PROMPTER", "yes", 1);
    setenv("FAKE_PROMPTER_LOG", fixture_path(&token_fixture, "prompter"), 1);
    token_start_pool();
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    assert_int_equal(token_count("seen", "8 0 pin=1 keep=1"), 1);
    fake_clock_move(59);
    token_sign(1, "b", false);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_count("prompter", "START"), 1);
    fake_clock_move(2);
    token_sign_ends(2, "c", false, ATH_OK);
    assert_int_equal(token_count("seen", "\n9 0"), 1); /* LOGOUT */
    assert_int_equal(token_count("prompter", "START"), 2);
    token_end();
}

static void
test_question_says_who_asks_for_what(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "silent");
    token_results[0].request = fixture_request(&token_fixture, RPC_KEY_CREATE);
    token_sign(0, "a", false);
    token_sign(1, "b", false);
    token_run_until_file_says("seen",
                              "8 0 pin=1"); /* the text itself is the real helper's to show */
    token_end();
    assert_int_equal(token_requests_ended, 1);
}

/* ---- wrong PINs ---- */

static void
test_wrong_pin_is_one_try_and_makes_a_pause_that_survives_a_restart(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin+wrong", "yes");
    token_sign(0, "a", false);
    token_sign(1, "b", false);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_results[0].err, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(token_results[1].err, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(token_results[0].tries_left, 2);
    assert_int_equal(token_results[0].retry_after_s, 0);
    assert_int_equal(token_count("prompter", "START"), 1);
    token_sign(2, "c", false);
    fixture_run_until(&token_fixture, &token_completions, 3);
    assert_int_equal(token_results[2].retry_after_s, 1);
    token_sign_ends(3, "d", false, ATH_ERR_PIN_LOCKED);
    assert_int_equal(token_results[3].retry_after_s, 1);
    assert_non_null(strstr(token_results[3].why.text, "athd makes a pause"));
    assert_int_equal(token_count("prompter", "START"), 2);
    fake_clock_move(2);
    token_sign(4, "e", false);
    fixture_run_until(&token_fixture, &token_completions, 5);
    assert_int_equal(token_results[4].retry_after_s, 5);
    token_stop_pool();
    token_start_pool();
    token_sign_ends(5, "f", false, ATH_ERR_PIN_LOCKED);
    assert_int_equal(token_results[5].retry_after_s, 5);
    assert_int_equal(token_count("prompter", "START"), 3);
    token_end();
}

static void
test_right_pin_ends_the_count(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin+wrong-once", "yes");
    token_sign_ends(0, "a", false, ATH_ERR_PIN_INCORRECT);
    token_sign_ends(1, "b", false, ATH_OK);
    assert_false(token_status_has("retry_after", "1"));
    token_end();
}

static void
test_refused_pin_source_is_named_to_the_next_helper_even_after_a_restart(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin+wrong?pin-source=file:/pin", "yes");
    token_sign_ends(0, "a", false, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(token_count("seen", "8 0 pin=2 keep=0 \n"), 1);
    token_stop_pool();
    token_start_pool();
    token_sign_ends(1, "b", false, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(token_count("seen", "8 0 pin=2 keep=0 STAMP"), 1);
    assert_int_equal(token_count("prompter", "START"), 0);
    token_end();
}

/* A general error, say: the token may have counted a try, and may not. */
static void
test_try_that_is_in_doubt_counts_and_a_pin_source_has_no_more_than_two(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin+vague?pin-source=file:/pin", "yes");
    token_sign_ends(0, "a", false, ATH_ERR_HSM_ERROR);
    assert_int_equal(token_results[0].retry_after_s, 0);
    token_sign_ends(1, "b", false, ATH_ERR_HSM_ERROR);
    assert_int_equal(token_results[1].retry_after_s, 1);
    token_sign_ends(2, "c", false, ATH_ERR_PIN_LOCKED);
    assert_non_null(strstr(token_results[2].why.text, "2 tries of a PIN failed"));
    assert_int_equal(token_count("seen", "8 0 pin=2 keep=0 \n"), 2);
    fake_clock_move(2);
    token_sign_ends(3, "d", false, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(token_count("seen", "8 0 pin=2 keep=0 STAMP"), 1);
    token_end();
}

static void
test_right_pin_after_a_try_in_doubt_ends_the_count(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+vague-once?pin-source=file:/pin", "yes");
    token_sign_ends(0, "a", false, ATH_ERR_HSM_ERROR);
    token_sign_ends(1, "b", false, ATH_OK);
    assert_int_equal(token_count("seen", "8 0 pin=2 keep=0 \n"), 2);
    assert_int_equal(token_count("prompter", "START"), 0);
    token_end();
}

static void
test_last_try_is_not_the_pin_sources(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+last?pin-source=file:/pin", "yes");
    token_sign_ends(0, "a", false, ATH_OK);
    assert_int_equal(token_count("seen", "8 0 pin=1"), 1);
    token_end();
    token_begin("pkcs11:token=pin+last?pin-source=file:/pin", "gone");
    token_sign_ends(0, "a", false, ATH_ERR_PIN_REQUIRED);
    assert_non_null(strstr(token_results[0].why.text, "one try is left"));
    token_end();
}

static void
test_locked_token_is_told_without_a_question(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+locked", "yes");
    token_sign_ends(0, "a", false, ATH_ERR_PIN_LOCKED);
    assert_int_equal(token_results[0].retry_after_s, 0);
    assert_int_equal(token_count("prompter", "START"), 0);
    assert_true(token_status_has("state", "locked"));
    token_end();
}

static void
test_module_that_dies_of_a_pin_gets_no_second_one_from_us(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin+login-crash?pin-source=file:/pin", "yes");
    token_sign_ends(0, "a", false, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(token_count("seen", "8 0 pin=2"), 1);
    token_sign(1, "b", false);
    fixture_run_until(&token_fixture, &token_completions, 2);
    token_sign_ends(2, "c", false, ATH_ERR_PIN_LOCKED); /* it counts as wrong: a pause */
    assert_int_equal(token_count("seen", "8 0 pin=2"), 2);
    token_end();
}

/* ---- keys that want their PIN for each signature ---- */

static void
test_pin_for_each_signature_holds_up_nobody_else(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+two", "yes");
    token_sign(0, "a", false); /* logs in */
    fixture_run_until(&token_fixture, &token_completions, 1);
    setenv("FAKE_PROMPTER", "silent", 1);
    token_sign(1, "secret", true);
    token_sign(2, "b", false);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_results[2].done, 1);
    assert_int_equal(token_results[1].done, 0);
    token_end();
    assert_int_equal(token_results[1].done, 1);
}

static void
test_each_signature_has_a_question_of_its_own(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "yes");
    token_sign(0, "a", true);
    token_sign(1, "b", true);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_results[0].err, ATH_OK);
    assert_int_equal(token_results[1].err, ATH_OK);
    assert_int_equal(token_count("prompter", "START"), 3); /* the login's, too */
    assert_int_equal(token_count("seen", "6 3 pin=1"), 2);
    token_end();
}

static void
test_kept_pin_serves_each_signature(void **state)
{
    (void)state;
    fixture_begin(&token_fixture, "pkcs11:token=pin");
    token_fixture.config.hsms[0].pin_ttl_s = 60;
    setenv("FAKE_PROMPTER", "yes", 1);
    setenv("FAKE_PROMPTER_LOG", fixture_path(&token_fixture, "prompter"), 1);
    token_start_pool();
    token_sign_ends(0, "a", true, ATH_OK);
    assert_int_equal(token_count("seen", "6 3 pin=3"), 1);
    assert_int_equal(token_count("prompter", "START"), 1);
    token_end();
}

static void
test_cancelled_signature_takes_its_question_along(void **state)
{
    struct hsm_job *job;

    (void)state;
    token_begin("pkcs11:token=pin", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    setenv("FAKE_PROMPTER", "silent", 1);
    job = token_sign(1, "secret", true);
    token_run_until_file_says("seen", "6 3 pin=1");
    hsm_job_cancel(job, ATH_ERR_CONSENT_TIMEOUT);
    setenv("FAKE_PROMPTER", "yes", 1);
    token_sign(2, "c", true);
    fixture_run_until(&token_fixture, &token_completions, 3);
    assert_int_equal(token_results[1].err, ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(token_results[2].err, ATH_OK);
    token_end();
}

static void
test_on_one_terminal_pins_are_asked_one_after_the_other(void **state)
{
    int turns;

    (void)state;
    token_begin("pkcs11:token=pin+two", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    setenv("GPG_TTY", "/dev/tty99", 1);
    unsetenv("DISPLAY");
    unsetenv("WAYLAND_DISPLAY");
    setenv("FAKE_PROMPTER", "silent", 1);
    token_sign(1, "b", true);
    token_sign(2, "c", true);
    token_run_until_count("prompter", "START", 2); /* the login's and one */
    for (turns = 0; turns < 50; turns++) {
        fixture_turn(&token_fixture);
        usleep(1000);
    }
    assert_int_equal(token_count("prompter", "START"), 2);
    token_end();
    unsetenv("GPG_TTY");
}

static void
wait_for_the_screen(const char *token)
{
    fake_clock_set(1000000);
    token_begin(token, "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    setenv("GPG_TTY", "/dev/tty99", 1);
    unsetenv("DISPLAY");
    unsetenv("WAYLAND_DISPLAY");
    for (size_t i = 1; i < 6; i++)
        token_sign(i, "b", true);
    fixture_run_until(&token_fixture, &token_completions, 6);
    assert_int_equal(token_results[1].err, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(token_results[2].err, ATH_ERR_PIN_INCORRECT);
    for (size_t i = 3; i < 6; i++)
        assert_int_equal(token_results[i].err, ATH_ERR_PIN_LOCKED);
    assert_int_equal(token_count("seen", "6 3 pin=1"), 2);
    token_end();
    unsetenv("GPG_TTY");
}

static void
test_questions_that_wait_for_the_screen_win_no_tries(void **state)
{
    (void)state;
    wait_for_the_screen("pkcs11:token=pin+wrong-sign");
}

static void
test_nor_do_they_where_the_prompter_has_gone_before_the_pin_is_tried(void **state)
{
    (void)state;
    wait_for_the_screen("pkcs11:token=pin+wrong-sign+tries-slowly");
}

/* ---- coming and going ---- */

static void
test_why_a_token_is_absent_is_logged_once_for_each_reason(void **state)
{
    int fd;

    (void)state;
    token_begin("pkcs11:token=away", "yes");
    fd = open(fixture_path(&token_fixture, "log"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    log_set_level(LOG_LEVEL_WARNING);
    log_set_fd(fd);
    token_sign_ends(0, "a", false, ATH_ERR_HSM_UNAVAILABLE);
    token_touch("unplug");
    token_run_until_status("message", "no reader is there");
    token_sign_ends(1, "b", false, ATH_ERR_HSM_UNAVAILABLE);
    assert_true(token_status_has("state", "absent"));
    log_set_fd(STDERR_FILENO);
    log_set_level(LOG_LEVEL_ERROR);
    fd_close(&fd);
    assert_int_equal(token_count("log", "state=absent"), 2);
    assert_int_equal(token_count("log", "reason=\"no token is there\""), 1);
    assert_int_equal(token_count("log", "reason=\"no reader is there\""), 1);
    token_end();
}

static void
test_token_that_is_away_is_told_at_once_and_served_when_it_is_back(void **state)
{
    (void)state;
    fake_clock_set(1000000); /* no deadline passes */
    token_begin("pkcs11:token=away", "yes");
    token_sign_ends(0, "a", false, ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(strstr(token_results[0].why.text, "no token is there"));
    assert_true(token_status_has("state", "absent"));
    token_sign_ends(1, "b", false, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(token_count("seen", "1 0 "), 1); /* the helper was kept */
    token_touch("insert");
    token_run_until_state("ready");
    assert_int_equal(token_count("seen", "1 0 "), 1);
    token_sign_ends(2, "c", false, ATH_OK);
    token_end();
}

static void
test_token_taken_out_while_nobody_asks_is_absent_and_asks_again_when_back(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    token_touch("remove");
    token_run_until_state("absent");
    assert_int_equal(unlink(fixture_path(&token_fixture, "remove")), 0);
    token_run_until_state("locked");
    assert_int_equal(token_fixture.athd.counters.helper_restarts, 0); /* no fault of the helper's */
    token_sign_ends(1, "b", false, ATH_OK);
    assert_int_equal(token_count("prompter", "START"), 2);
    token_end();
}

static void
test_signature_under_way_when_the_token_goes_is_repeated_once(void **state)
{
    (void)state;
    token_begin("pkcs11:token=gone-once", "yes");
    token_sign_ends(0, "a", false, ATH_OK);
    assert_int_equal(token_count("seen", "6 3 a"), 2);
    token_end();
}

/* ---- several at once ---- */

static void
test_answers_out_of_order_find_their_jobs(void **state)
{
    (void)state;
    token_begin("pkcs11:token=two", "yes");
    token_sign(0, "later", false);
    token_sign(1, "now", false);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_results[0].err, ATH_OK);
    assert_int_equal(token_results[1].err, ATH_OK);
    assert_int_equal(token_results[1].place, 1);
    assert_int_equal(token_results[0].place, 2);
    token_end();
}

static void
test_one_signature_that_hangs_is_seen_though_others_are_answered(void **state)
{
    int i;

    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=two", "yes");
    token_sign(0, "hang", false);
    for (i = 1; i <= 4; i++) {
        token_sign(1, "b", false);
        fixture_run_until(&token_fixture, &token_completions, i);
        assert_int_equal(token_results[1].err, ATH_OK);
        fake_clock_move(3);
    }
    /* killed, repeated, and it hangs again */
    token_run_until_file_says("seen", "6 3 b\n1 0");
    assert_int_equal(token_results[0].done, 0);
    for (i = 0; token_results[0].done == 0 && i < 4000; i++) {
        fake_clock_move(3);
        fixture_turn(&token_fixture);
        usleep(10000);
    }
    assert_int_equal(token_results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    token_end();
}

/* ---- little memory ---- */

/* Nobody waits for ever, whatever cannot be allocated, and the next request is served. */
static void
test_each_failing_allocation_ends_the_job_one_way_or_the_other(void **state)
{
    const struct hsm_key_ref ref = {.number = 3, .hsm = "one", .blob = ath_slice_of_string("URI")};
    bool happened = true;
    unsigned nth;

    (void)state;
    for (nth = 1; happened && nth < 100; nth++) {
        struct hsm_job_params params;
        ath_err err;

        token_begin("pkcs11:token=pin", "yes");
        token_run_until_state("locked");
        params = token_params_of(0);
        fail_allocation(nth);
        err = hsm_pool_sign(token_fixture.athd.hsms, &ref, ath_slice_of_string("a"), &params, NULL);
        if (err == ATH_OK)
            fixture_run_until(&token_fixture, &token_completions, 1);
        happened = fail_allocation_happened();
        fail_allocation(0);
        assert_true(happened || token_results[0].err == ATH_OK);
        token_sign(1, "b", false);
        fixture_run_until(&token_fixture, &token_completions, err == ATH_OK ? 2 : 1);
        assert_int_equal(token_results[1].err, ATH_OK);
        token_end();
    }
    assert_false(happened);
}

/* ---- keys ---- */

static void
test_key_is_destroyed_with_its_key_open(void **state)
{
    const struct hsm_key_ref ref = {.number = 3, .hsm = "one", .blob = ath_slice_of_string("URI")};
    struct hsm_job_params params = token_params_of(0);

    (void)state;
    token_begin("pkcs11:token=x", "yes");
    params.deadline_ms = UINT64_MAX;
    assert_int_equal(hsm_pool_key_delete(token_fixture.athd.hsms, &ref, &params, NULL), ATH_OK);
    fixture_run_until(&token_fixture, &token_completions, 1);
    assert_int_equal(token_results[0].err, ATH_OK);
    assert_int_equal(token_count("seen", "3 3 URI\n5 3"), 1);
    token_end();
}

static void
test_key_made_for_nobody_is_destroyed(void **state)
{
    struct hsm_job_params params = token_params_of(0);
    struct hsm_job *job = NULL;

    (void)state;
    token_begin("pkcs11:token=x", "yes");
    token_sign(1, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    params.deadline_ms = UINT64_MAX;
    assert_int_equal(hsm_pool_key_create(token_fixture.athd.hsms, "one", 1, HSM_KEY_IDENTITY, "l",
                                         &params, &job),
                     ATH_OK);
    hsm_job_cancel(job, ATH_ERR_CONSENT_TIMEOUT);
    token_run_until_file_says("seen", "BLOB\n5 ");
    token_end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_login_serves_all_who_wait),
        cmocka_unit_test(
            test_question_that_is_refused_ends_all_who_wait_and_the_next_request_asks_anew),
        cmocka_unit_test(test_prompter_that_cannot_be_run_is_told),
        cmocka_unit_test(test_question_goes_with_the_last_who_waits),
        cmocka_unit_test(test_time_that_a_person_takes_is_nobodys_deadline),
        cmocka_unit_test(test_question_that_nobody_answers_times_out),
        cmocka_unit_test(test_pad_is_asked_without_a_prompter),
        cmocka_unit_test(test_who_was_logged_out_elsewhere_logs_in_once_more),
        cmocka_unit_test(test_login_ends_after_its_time_and_a_pin_is_kept_for_it),
        cmocka_unit_test(test_question_says_who_asks_for_what),
        cmocka_unit_test(test_wrong_pin_is_one_try_and_makes_a_pause_that_survives_a_restart),
        cmocka_unit_test(test_right_pin_ends_the_count),
        cmocka_unit_test(test_refused_pin_source_is_named_to_the_next_helper_even_after_a_restart),
        cmocka_unit_test(test_try_that_is_in_doubt_counts_and_a_pin_source_has_no_more_than_two),
        cmocka_unit_test(test_right_pin_after_a_try_in_doubt_ends_the_count),
        cmocka_unit_test(test_last_try_is_not_the_pin_sources),
        cmocka_unit_test(test_locked_token_is_told_without_a_question),
        cmocka_unit_test(test_module_that_dies_of_a_pin_gets_no_second_one_from_us),
        cmocka_unit_test(test_pin_for_each_signature_holds_up_nobody_else),
        cmocka_unit_test(test_each_signature_has_a_question_of_its_own),
        cmocka_unit_test(test_kept_pin_serves_each_signature),
        cmocka_unit_test(test_cancelled_signature_takes_its_question_along),
        cmocka_unit_test(test_on_one_terminal_pins_are_asked_one_after_the_other),
        cmocka_unit_test(test_questions_that_wait_for_the_screen_win_no_tries),
        cmocka_unit_test(test_nor_do_they_where_the_prompter_has_gone_before_the_pin_is_tried),
        cmocka_unit_test(test_why_a_token_is_absent_is_logged_once_for_each_reason),
        cmocka_unit_test(test_token_that_is_away_is_told_at_once_and_served_when_it_is_back),
        cmocka_unit_test(test_token_taken_out_while_nobody_asks_is_absent_and_asks_again_when_back),
        cmocka_unit_test(test_signature_under_way_when_the_token_goes_is_repeated_once),
        cmocka_unit_test(test_answers_out_of_order_find_their_jobs),
        cmocka_unit_test(test_one_signature_that_hangs_is_seen_though_others_are_answered),
        cmocka_unit_test(test_each_failing_allocation_ends_the_job_one_way_or_the_other),
        cmocka_unit_test(test_key_is_destroyed_with_its_key_open),
        cmocka_unit_test(test_key_made_for_nobody_is_destroyed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
