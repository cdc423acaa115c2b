/* PKCS#11 tokens as the pool sees them: logging in, the throttle, keys that want their PIN each
 * time, tokens that come and go, answers out of order. */
#include "fixture_daemon.h"

#include <stdio.h>
#include <unistd.h>

#include "athd/consent.h"
#include "athd/hsm_pool.h"
#include "base/clock.h"

#define JOBS 8

static struct fixture fixture;
static int completions, closed, requests_ended;

struct result {
    int done, place;
    ath_err err;
    struct why why;
    unsigned tries_left, retry_after_s;
    char blob[64];
    struct request *request; /* ended with the job */
};

static struct result results[JOBS];

static void
on_done(void *ctx, const struct hsm_outcome *outcome)
{
    struct result *result = ctx;

    result->done++;
    result->place = ++completions;
    result->err = outcome->err;
    result->why = outcome->why;
    result->tries_left = outcome->tries_left;
    result->retry_after_s = outcome->retry_after_s;
    snprintf(result->blob, sizeof(result->blob), "%.*s", (int)outcome->blob.len,
             outcome->blob.len == 0 ? "" : (const char *)outcome->blob.data);
    if (result->request != NULL)
        request_fail(result->request, ATH_ERR_USER_DENIED, NULL);
    requests_ended += result->request != NULL;
    result->request = NULL;
}

static void
start_pool(void)
{
    memset(results, 0, sizeof(results));
    completions = closed = requests_ended = 0;
    assert_int_equal(consent_new(&fixture.athd, &fixture.athd.consent), ATH_OK);
    assert_int_equal(hsm_pool_new(&fixture.athd, NULL, &fixture.athd.hsms), ATH_OK);
    hsm_pool_start(fixture.athd.hsms);
}

static void
begin(const char *uri, const char *prompter)
{
    fixture_begin(&fixture, uri);
    setenv("FAKE_PROMPTER", prompter, 1);
    setenv("FAKE_PROMPTER_LOG", fixture_path(&fixture, "prompter"), 1);
    unsetenv("GPG_TTY");
    start_pool();
}

static void
on_closed(void *ctx)
{
    ++*(int *)ctx;
}

static void
stop_pool(void)
{
    int turns;

    consent_close(fixture.athd.consent);
    hsm_pool_close(fixture.athd.hsms, on_closed, &closed);
    fixture_run_until(&fixture, &closed, 1);
    for (turns = 0; turns < 100000 && (!consent_is_idle(fixture.athd.consent) ||
                                       !store_queue_is_empty(&fixture.athd.stores));
         turns++)
        uv_run(fixture.athd.loop, UV_RUN_ONCE);
    assert_true(consent_is_idle(fixture.athd.consent));
    consent_free(fixture.athd.consent);
    hsm_pool_free(fixture.athd.hsms);
}

static void
end(void)
{
    stop_pool();
    fixture_end(&fixture);
}

static struct hsm_job_params
params_of(size_t job)
{
    return (struct hsm_job_params){.caller_identity = 1,
                                   .priority = HSM_PRIORITY_NORMAL,
                                   .deadline_ms = clock_monotonic_ms() + 30000,
                                   .done = on_done,
                                   .ctx = &results[job],
                                   .request = results[job].request,
                                   .key_name = "alice"};
}

static struct hsm_job *
sign(size_t job, const char *message, bool wants_pin)
{
    const struct hsm_key_ref ref = {
        .number = 3, .hsm = "one", .blob = ath_slice_of_string("URI"), .wants_pin = wants_pin};
    struct request *request = results[job].request;
    struct hsm_job_params params;
    struct hsm_job *made = NULL;

    results[job] = (struct result){.request = request};
    params = params_of(job);
    if (strcmp(message, "hang") == 0)
        params.deadline_ms = UINT64_MAX;
    assert_int_equal(
        hsm_pool_sign(fixture.athd.hsms, &ref, ath_slice_of_string(message), &params, &made),
        ATH_OK);
    assert_int_equal(results[job].done, 0);
    return made;
}

/* How often `text` stands in a file of the test's. */
static int
count(const char *file, const char *text)
{
    char *content, *at;
    int found = 0;

    if (access(fixture_path(&fixture, file), F_OK) != 0)
        return 0;
    content = fixture_read(&fixture, file);
    for (at = strstr(content, text); at != NULL; at = strstr(at + 1, text))
        found++;
    free(content);
    return found;
}

static void
run_until_file_says(const char *file, const char *text)
{
    int turns;

    for (turns = 0; count(file, text) == 0 && turns < 20000; turns++) {
        uv_run(fixture.athd.loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    assert_true(count(file, text) > 0);
}

static bool
status_has(const char *name, const char *value)
{
    struct json *status = NULL;
    const char *text;
    bool has;

    assert_int_equal(hsm_pool_status(fixture.athd.hsms, &status), ATH_OK);
    text = json_get_string(json_first(status), name);
    has = text != NULL && strcmp(text, value) == 0;
    json_free(status);
    return has;
}

static void
run_until_state(const char *state)
{
    int turns;

    for (turns = 0; !status_has("state", state) && turns < 20000; turns++) {
        uv_run(fixture.athd.loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    assert_true(status_has("state", state));
}

static void
touch(const char *name)
{
    FILE *file = fopen(fixture_path(&fixture, name), "w");

    assert_non_null(file);
    fclose(file);
}

/* ---- logging in ---- */

static void
test_one_login_serves_all_who_wait(void **state)
{
    (void)state;
    begin("pkcs11:token=pin", "yes");
    run_until_state("locked");
    assert_true(status_has("login", "pin"));
    assert_true(status_has("reason", "PIN_REQUIRED"));
    sign(0, "a", false);
    sign(1, "b", false);
    sign(2, "c", false);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(results[2].err, ATH_OK);
    assert_true(status_has("state", "ready"));
    assert_int_equal(count("seen", "8 0 pin=1 keep=0"), 1);
    assert_int_equal(count("prompter", "START"), 1);
    sign(3, "d", false);
    fixture_run_until(&fixture, &completions, 4);
    assert_int_equal(count("prompter", "START"), 1);
    end();
}

static void
test_question_that_is_refused_ends_all_who_wait_and_the_next_request_asks_anew(void **state)
{
    (void)state;
    begin("pkcs11:token=pin", "no");
    sign(0, "a", false);
    sign(1, "b", false);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[0].err, ATH_ERR_USER_DENIED);
    assert_int_equal(results[1].err, ATH_ERR_USER_DENIED);
    setenv("FAKE_PROMPTER", "yes", 1);
    sign(2, "c", false);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(results[2].err, ATH_OK);
    end();
}

static void
test_prompter_that_cannot_be_run_is_told(void **state)
{
    (void)state;
    begin("pkcs11:token=pin", "gone");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_ERR_NO_PROMPTER);
    end();
}

static void
test_question_goes_with_the_last_who_waits(void **state)
{
    struct hsm_job *first, *second;

    (void)state;
    begin("pkcs11:token=pin", "silent");
    first = sign(0, "a", false);
    second = sign(1, "b", false);
    run_until_file_says("prompter", "GETPIN");
    hsm_job_cancel(first, ATH_ERR_CONSENT_TIMEOUT);
    fixture_run_until(&fixture, &completions, 1);
    setenv("FAKE_PROMPTER", "yes", 1);
    hsm_job_cancel(second, ATH_ERR_CONSENT_TIMEOUT);
    sign(2, "c", false); /* comes while the first question is being taken back */
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(results[1].err, ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(results[2].err, ATH_OK);
    assert_int_equal(count("prompter", "START"), 2);
    end();
}

static void
test_time_that_a_person_takes_is_nobodys_deadline(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    begin("pkcs11:token=pin", "silent");
    results[0].request = fixture_request(&fixture, RPC_KEY_CREATE);
    sign(0, "a", false);
    run_until_file_says("prompter", "GETPIN");
    fake_clock_move(100); /* more than a request's 30 s, less than a question's 120 s */
    fixture_turn(&fixture);
    usleep(200000);
    fixture_turn(&fixture);
    assert_int_equal(results[0].done, 0);
    consent_close(fixture.athd.consent); /* athd ends: the question is taken back */
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_ERR_CONSENT_TIMEOUT);
    end();
}

static void
test_question_that_nobody_answers_times_out(void **state)
{
    (void)state;
    begin("pkcs11:token=pin", "silent");
    fixture.config.consent_timeout_s = 1;
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_ERR_CONSENT_TIMEOUT);
    end();
}

static void
test_pad_is_asked_without_a_prompter(void **state)
{
    (void)state;
    begin("pkcs11:token=pad", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(count("seen", "8 0 pin=0"), 1);
    assert_int_equal(count("prompter", "START"), 0);
    end();
}

static void
test_who_was_logged_out_elsewhere_logs_in_once_more(void **state)
{
    (void)state;
    begin("pkcs11:token=pin", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    sign(1, "logged-out", false);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[1].err, ATH_OK);
    assert_int_equal(count("seen", "8 0 pin=1"), 2);
    end();
}

static void
test_login_ends_after_its_time_and_a_pin_is_kept_for_it(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    fixture_begin(&fixture, "pkcs11:token=pin");
    fixture.config.hsms[0].pin_ttl_s = 60;
    setenv("FAKE_PROMPTER", "yes", 1);
    setenv("FAKE_PROMPTER_LOG", fixture_path(&fixture, "prompter"), 1);
    start_pool();
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(count("seen", "8 0 pin=1 keep=1"), 1);
    fake_clock_move(59);
    sign(1, "b", false);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(count("prompter", "START"), 1);
    fake_clock_move(2);
    sign(2, "c", false);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(results[2].err, ATH_OK);
    assert_int_equal(count("seen", "\n9 0"), 1); /* LOGOUT */
    assert_int_equal(count("prompter", "START"), 2);
    end();
}

static void
test_question_says_who_asks_for_what(void **state)
{
    (void)state;
    begin("pkcs11:token=pin", "silent");
    results[0].request = fixture_request(&fixture, RPC_KEY_CREATE);
    sign(0, "a", false);
    sign(1, "b", false);
    run_until_file_says("seen", "8 0 pin=1"); /* the text itself is the real helper's to show */
    end();
    assert_int_equal(requests_ended, 1);
}

/* ---- wrong PINs ---- */

static void
test_wrong_pin_is_one_try_and_makes_a_pause_that_survives_a_restart(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    begin("pkcs11:token=pin+wrong", "yes");
    sign(0, "a", false);
    sign(1, "b", false);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[0].err, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(results[1].err, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(results[0].tries_left, 2);
    assert_int_equal(results[0].retry_after_s, 0);
    assert_int_equal(count("prompter", "START"), 1);
    sign(2, "c", false);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(results[2].retry_after_s, 1);
    sign(3, "d", false);
    fixture_run_until(&fixture, &completions, 4);
    assert_int_equal(results[3].err, ATH_ERR_PIN_LOCKED);
    assert_int_equal(results[3].retry_after_s, 1);
    assert_non_null(strstr(results[3].why.text, "athd makes a pause"));
    assert_int_equal(count("prompter", "START"), 2);
    fake_clock_move(2);
    sign(4, "e", false);
    fixture_run_until(&fixture, &completions, 5);
    assert_int_equal(results[4].retry_after_s, 5);
    stop_pool();
    start_pool();
    sign(5, "f", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[5].err, ATH_ERR_PIN_LOCKED);
    assert_int_equal(results[5].retry_after_s, 5);
    assert_int_equal(count("prompter", "START"), 3);
    end();
}

static void
test_right_pin_ends_the_count(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    begin("pkcs11:token=pin+wrong-once", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_ERR_PIN_INCORRECT);
    sign(1, "b", false);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[1].err, ATH_OK);
    assert_false(status_has("retry_after", "1"));
    end();
}

static void
test_refused_pin_source_is_named_to_the_next_helper_even_after_a_restart(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    begin("pkcs11:token=pin+wrong?pin-source=file:/pin", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(count("seen", "8 0 pin=2 keep=0 \n"), 1);
    stop_pool();
    start_pool();
    sign(1, "b", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[1].err, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(count("seen", "8 0 pin=2 keep=0 STAMP"), 1);
    assert_int_equal(count("prompter", "START"), 0);
    end();
}

static void
test_last_try_is_not_the_pin_sources(void **state)
{
    (void)state;
    begin("pkcs11:token=pin+last?pin-source=file:/pin", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(count("seen", "8 0 pin=1"), 1);
    end();
    begin("pkcs11:token=pin+last?pin-source=file:/pin", "gone");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_ERR_PIN_REQUIRED);
    assert_non_null(strstr(results[0].why.text, "one try is left"));
    end();
}

static void
test_locked_token_is_told_without_a_question(void **state)
{
    (void)state;
    begin("pkcs11:token=pin+locked", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_ERR_PIN_LOCKED);
    assert_int_equal(results[0].retry_after_s, 0);
    assert_int_equal(count("prompter", "START"), 0);
    assert_true(status_has("state", "locked"));
    end();
}

static void
test_module_that_dies_of_a_pin_gets_no_second_one_from_us(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    begin("pkcs11:token=pin+login-crash?pin-source=file:/pin", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(count("seen", "8 0 pin=2"), 1);
    sign(1, "b", false);
    fixture_run_until(&fixture, &completions, 2);
    sign(2, "c", false);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(results[2].err, ATH_ERR_PIN_LOCKED); /* it counts as wrong: a pause */
    assert_int_equal(count("seen", "8 0 pin=2"), 2);
    end();
}

/* ---- keys that want their PIN for each signature ---- */

static void
test_pin_for_each_signature_holds_up_nobody_else(void **state)
{
    (void)state;
    begin("pkcs11:token=pin+two", "yes");
    sign(0, "a", false); /* logs in */
    fixture_run_until(&fixture, &completions, 1);
    setenv("FAKE_PROMPTER", "silent", 1);
    sign(1, "secret", true);
    sign(2, "b", false);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[2].done, 1);
    assert_int_equal(results[1].done, 0);
    end();
    assert_int_equal(results[1].done, 1);
}

static void
test_each_signature_has_a_question_of_its_own(void **state)
{
    (void)state;
    begin("pkcs11:token=pin", "yes");
    sign(0, "a", true);
    sign(1, "b", true);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(results[1].err, ATH_OK);
    assert_int_equal(count("prompter", "START"), 3); /* the login's, too */
    assert_int_equal(count("seen", "6 3 pin=1"), 2);
    end();
}

static void
test_kept_pin_serves_each_signature(void **state)
{
    (void)state;
    fixture_begin(&fixture, "pkcs11:token=pin");
    fixture.config.hsms[0].pin_ttl_s = 60;
    setenv("FAKE_PROMPTER", "yes", 1);
    setenv("FAKE_PROMPTER_LOG", fixture_path(&fixture, "prompter"), 1);
    start_pool();
    sign(0, "a", true);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(count("seen", "6 3 pin=3"), 1);
    assert_int_equal(count("prompter", "START"), 1);
    end();
}

static void
test_cancelled_signature_takes_its_question_along(void **state)
{
    struct hsm_job *job;

    (void)state;
    begin("pkcs11:token=pin", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    setenv("FAKE_PROMPTER", "silent", 1);
    job = sign(1, "secret", true);
    run_until_file_says("seen", "6 3 pin=1");
    hsm_job_cancel(job, ATH_ERR_CONSENT_TIMEOUT);
    setenv("FAKE_PROMPTER", "yes", 1);
    sign(2, "c", true);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(results[1].err, ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(results[2].err, ATH_OK);
    end();
}

static void
test_on_one_terminal_pins_are_asked_one_after_the_other(void **state)
{
    int turns;

    (void)state;
    begin("pkcs11:token=pin+two", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    setenv("GPG_TTY", "/dev/tty99", 1);
    unsetenv("DISPLAY");
    unsetenv("WAYLAND_DISPLAY");
    setenv("FAKE_PROMPTER", "silent", 1);
    sign(1, "b", true);
    sign(2, "c", true);
    run_until_file_says("seen", "6 3 pin=1");
    for (turns = 0; turns < 50; turns++) {
        fixture_turn(&fixture);
        usleep(1000);
    }
    assert_int_equal(count("prompter", "START"), 2); /* the login's and one */
    end();
    unsetenv("GPG_TTY");
}

/* ---- coming and going ---- */

static void
test_token_that_is_away_is_told_at_once_and_served_when_it_is_back(void **state)
{
    (void)state;
    fake_clock_set(1000000); /* no deadline passes */
    begin("pkcs11:token=away", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(strstr(results[0].why.text, "no token is there"));
    assert_true(status_has("state", "absent"));
    sign(1, "b", false);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[1].err, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(count("seen", "1 0 "), 1); /* the helper was kept */
    touch("insert");
    run_until_state("ready");
    assert_int_equal(count("seen", "1 0 "), 1);
    sign(2, "c", false);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(results[2].err, ATH_OK);
    end();
}

static void
test_token_taken_out_while_nobody_asks_is_absent_and_asks_again_when_back(void **state)
{
    (void)state;
    begin("pkcs11:token=pin", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    touch("remove");
    run_until_state("absent");
    assert_int_equal(unlink(fixture_path(&fixture, "remove")), 0);
    run_until_state("locked");
    assert_int_equal(fixture.athd.counters.helper_restarts, 0); /* no fault of the helper's */
    sign(1, "b", false);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[1].err, ATH_OK);
    assert_int_equal(count("prompter", "START"), 2);
    end();
}

static void
test_signature_under_way_when_the_token_goes_is_repeated_once(void **state)
{
    (void)state;
    begin("pkcs11:token=gone-once", "yes");
    sign(0, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(count("seen", "6 3 a"), 2);
    end();
}

/* ---- several at once ---- */

static void
test_answers_out_of_order_find_their_jobs(void **state)
{
    (void)state;
    begin("pkcs11:token=two", "yes");
    sign(0, "later", false);
    sign(1, "now", false);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(results[1].err, ATH_OK);
    assert_int_equal(results[1].place, 1);
    assert_int_equal(results[0].place, 2);
    end();
}

static void
test_one_signature_that_hangs_is_seen_though_others_are_answered(void **state)
{
    int i;

    (void)state;
    fake_clock_set(1000000);
    begin("pkcs11:token=two", "yes");
    sign(0, "hang", false);
    for (i = 1; i <= 4; i++) {
        sign(1, "b", false);
        fixture_run_until(&fixture, &completions, i);
        assert_int_equal(results[1].err, ATH_OK);
        fake_clock_move(3);
    }
    /* killed, repeated, and it hangs again */
    run_until_file_says("seen", "6 3 b\n1 0");
    assert_int_equal(results[0].done, 0);
    for (i = 0; results[0].done == 0 && i < 200; i++) {
        fake_clock_move(3);
        fixture_turn(&fixture);
        usleep(10000);
    }
    assert_int_equal(results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    end();
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

        begin("pkcs11:token=pin", "yes");
        run_until_state("locked");
        params = params_of(0);
        fail_allocation(nth);
        err = hsm_pool_sign(fixture.athd.hsms, &ref, ath_slice_of_string("a"), &params, NULL);
        if (err == ATH_OK)
            fixture_run_until(&fixture, &completions, 1);
        happened = fail_allocation_happened();
        fail_allocation(0);
        assert_true(happened || results[0].err == ATH_OK);
        sign(1, "b", false);
        fixture_run_until(&fixture, &completions, err == ATH_OK ? 2 : 1);
        assert_int_equal(results[1].err, ATH_OK);
        end();
    }
    assert_false(happened);
}

/* ---- keys ---- */

static void
test_key_is_destroyed_with_its_key_open(void **state)
{
    const struct hsm_key_ref ref = {.number = 3, .hsm = "one", .blob = ath_slice_of_string("URI")};
    struct hsm_job_params params = params_of(0);

    (void)state;
    begin("pkcs11:token=x", "yes");
    params.deadline_ms = UINT64_MAX;
    assert_int_equal(hsm_pool_key_delete(fixture.athd.hsms, &ref, &params, NULL), ATH_OK);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(count("seen", "3 3 URI\n5 3"), 1);
    end();
}

static void
test_key_made_for_nobody_is_destroyed(void **state)
{
    struct hsm_job_params params = params_of(0);
    struct hsm_job *job = NULL;

    (void)state;
    begin("pkcs11:token=x", "yes");
    sign(1, "a", false);
    fixture_run_until(&fixture, &completions, 1);
    params.deadline_ms = UINT64_MAX;
    assert_int_equal(
        hsm_pool_key_create(fixture.athd.hsms, "one", 1, HSM_KEY_IDENTITY, "l", &params, &job),
        ATH_OK);
    hsm_job_cancel(job, ATH_ERR_CONSENT_TIMEOUT);
    run_until_file_says("seen", "BLOB\n5 ");
    end();
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
        cmocka_unit_test(test_last_try_is_not_the_pin_sources),
        cmocka_unit_test(test_locked_token_is_told_without_a_question),
        cmocka_unit_test(test_module_that_dies_of_a_pin_gets_no_second_one_from_us),
        cmocka_unit_test(test_pin_for_each_signature_holds_up_nobody_else),
        cmocka_unit_test(test_each_signature_has_a_question_of_its_own),
        cmocka_unit_test(test_kept_pin_serves_each_signature),
        cmocka_unit_test(test_cancelled_signature_takes_its_question_along),
        cmocka_unit_test(test_on_one_terminal_pins_are_asked_one_after_the_other),
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
