/* What must not go wrong with a token at a bad moment: jobs cancelled while their answer is on its
 * way, clocks that jump, questions that nobody can be asked any more, one token as two hsms. */
#include "hsm_token_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "athd/consent.h"
#include "base/clock.h"

/* Waits without turning the loop: what comes then comes in one turn. */
static void
wait_for_file(const char *name)
{
    int turns;

    for (turns = 0; access(fixture_path(&token_fixture, name), F_OK) != 0 && turns < 60000; turns++)
        usleep(500);
    assert_true(turns < 60000);
}

/* How many wrong PINs are on disk for the only token. */
static int
wrong_on_disk(void)
{
    DIR *dir = opendir(fixture_path(&token_fixture, "pins"));
    const struct dirent *entry;
    char name[300] = "", *text, *at;
    int wrong = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        if (strstr(entry->d_name, ".json") != NULL)
            snprintf(name, sizeof(name), "pins/%s", entry->d_name);
    closedir(dir);
    if (name[0] == '\0')
        return 0;
    text = fixture_read(&token_fixture, name);
    assert_non_null(at = strstr(text, "\"wrong\":"));
    wrong = atoi(at + 8);
    free(text);
    return wrong;
}

static void
let_have(void *ctx)
{
    ++*(int *)ctx;
}

/* ---- jobs that nobody waits for any more ---- */

static void
test_signature_cancelled_by_the_answer_before_it_is_told_of_that(void **state)
{
    struct hsm_job *late;

    (void)state;
    token_begin("pkcs11:token=pin+two+wrong-sign?pin-source=file:/pin", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    late = token_sign(1, "later", true);
    token_sign(2, "b", false);
    token_results[2].victim = late; /* both answers come in one turn of the loop */
    wait_for_file("late-is-sent");
    fixture_run_until(&token_fixture, &token_completions, 3);
    assert_int_equal(token_results[2].err, ATH_OK);
    assert_int_equal(token_results[1].err, ATH_ERR_USER_DENIED);
    token_stop_pool();
    assert_int_equal(token_results[1].done, 1);
    assert_int_equal(wrong_on_disk(), 1); /* the try is spent all the same */
    fixture_end(&token_fixture);
}

static void
test_wrong_pin_of_a_signature_that_was_cancelled_before_counts(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+two+wrong-sign?pin-source=file:/pin", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    hsm_job_cancel(token_sign(1, "later", true), ATH_ERR_USER_DENIED);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_results[1].err, ATH_ERR_USER_DENIED);
    token_sign(2, "b", false);
    wait_for_file("late-is-sent");
    fixture_run_until(&token_fixture, &token_completions, 3);
    token_stop_pool();
    assert_int_equal(token_results[1].done, 1);
    assert_int_equal(wrong_on_disk(), 1);
    fixture_end(&token_fixture);
}

static void
test_signature_cancelled_while_its_wrong_pin_is_written_down_ends_once(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+two+wrong-sign?pin-source=file:/pin", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    token_sign(1, "later", false);
    token_results[1].victim = token_sign(2, "b", true); /* is answered first */
    wait_for_file("late-is-sent");
    fixture_run_until(&token_fixture, &token_completions, 3);
    assert_int_equal(token_results[2].err, ATH_ERR_PIN_INCORRECT);
    token_end();
    assert_int_equal(token_results[2].done, 1);
}

static void
test_key_that_may_be_in_the_token_already_is_not_made_again(void **state)
{
    struct hsm_job_params params = token_params_of(0);

    (void)state;
    token_begin("pkcs11:token=crash-create-once", "yes");
    params.deadline_ms = UINT64_MAX;
    assert_int_equal(hsm_pool_key_create(token_fixture.athd.hsms, "one", 1, HSM_KEY_IDENTITY, "l",
                                         &params, NULL),
                     ATH_OK);
    fixture_run_until(&token_fixture, &token_completions, 1);
    assert_int_equal(token_results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(strstr(token_results[0].why.text, "may be left in the token"));
    assert_int_equal(token_count("seen", "2 0 "), 1);
    token_end();
}

static void
test_pin_for_a_signature_that_was_lost_is_not_tried_again_and_counts(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+crash-once?pin-source=file:/pin", "yes");
    token_sign_ends(0, "a", true, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(token_count("seen", "6 3 pin=2"), 1);
    token_stop_pool();
    assert_int_equal(wrong_on_disk(), 1);
    fixture_end(&token_fixture);
}

static void
test_key_opened_for_nobody_is_closed_again(void **state)
{
    const struct hsm_key_ref ref = {.number = 9, .hsm = "one", .blob = ath_slice_of_string("URI")};
    struct hsm_job_params params = token_params_of(1);
    struct hsm_job *job = NULL;

    (void)state;
    token_begin("pkcs11:token=x", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    params.deadline_ms = UINT64_MAX;
    assert_int_equal(hsm_pool_key_open(token_fixture.athd.hsms, &ref, &params, &job), ATH_OK);
    hsm_job_cancel(job, ATH_ERR_CONSENT_TIMEOUT);
    token_run_until_file_says("seen", "3 9 URI\n4 9");
    token_end();
}

static void
test_key_that_nobody_uses_is_no_work_for_a_pool_that_ends(void **state)
{
    int closed = 0;

    (void)state;
    token_begin("pkcs11:token=x", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    consent_close(token_fixture.athd.consent);
    hsm_pool_close(token_fixture.athd.hsms, let_have, &closed);
    hsm_pool_key_discard(token_fixture.athd.hsms, "one", ath_slice_of_string("BLOB"));
    fixture_run_until(&token_fixture, &closed, 1); /* nothing is left behind, says the sanitizer */
    fixture_turn(&token_fixture);                  /* what was closed is so after a turn */
    consent_free(token_fixture.athd.consent);
    hsm_pool_free(token_fixture.athd.hsms);
    fixture_end(&token_fixture);
}

/* ---- pauses ---- */

static void
wrong_pins(size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        token_sign(i, "a", false);
        fixture_run_until(&token_fixture, &token_completions, (int)i + 1);
        assert_int_equal(token_results[i].err, ATH_ERR_PIN_INCORRECT);
    }
}

static void
test_pause_is_not_changed_by_the_time_of_day(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin+wrong", "yes");
    wrong_pins(2); /* a pause of 1 s */
    fake_clock_jump(86400);
    token_sign_ends(2, "b", false, ATH_ERR_PIN_LOCKED);
    fake_clock_jump(-200000);
    fake_clock_move(1);
    token_sign_ends(3, "c", false, ATH_ERR_PIN_INCORRECT);
    token_end();
}

static void
test_pause_ends_after_a_start_with_the_clock_put_back(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin+wrong", "yes");
    wrong_pins(2);
    token_stop_pool();
    fake_clock_jump(-500000);
    token_start_pool();
    token_sign_ends(0, "a", false, ATH_ERR_PIN_LOCKED);
    assert_int_equal(token_results[0].retry_after_s, 1);
    fake_clock_move(1);
    token_sign_ends(1, "b", false, ATH_ERR_PIN_INCORRECT);
    token_end();
}

static void
test_pin_is_not_kept_longer_because_the_machine_sleeps(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    fixture_begin(&token_fixture, "pkcs11:token=pin");
    token_fixture.config.hsms[0].pin_ttl_s = 60;
    setenv("FAKE_PROMPTER", "yes", 1);
    token_start_pool();
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    fake_clock_sleep(61);
    token_sign(1, "b", false);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_count("seen", "\n9 0"), 1); /* LOGOUT */
    assert_int_equal(token_count("seen", "8 0 pin=1"), 2);
    token_end();
}

/* ---- tries ---- */

static void
test_one_token_as_two_hsms_spends_one_try_of_a_refused_pin_source(void **state)
{
    const char *uri = "pkcs11:token=pin+wrong?pin-source=file:/pin";
    const struct hsm_key_ref ref = {.number = 4, .hsm = "two", .blob = ath_slice_of_string("URI")};
    struct hsm_job_params params;

    (void)state;
    fixture_begin(&token_fixture, uri);
    assert_int_equal(config_add_hsm(&token_fixture.config, "two", uri, NULL), ATH_OK);
    setenv("FAKE_PROMPTER", "yes", 1);
    token_start_pool();
    params = token_params_of(1);
    token_sign(0, "a", false);
    assert_int_equal(
        hsm_pool_sign(token_fixture.athd.hsms, &ref, ath_slice_of_string("b"), &params, NULL),
        ATH_OK);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_count("seen", "8 0 pin=2 keep=0 \n"), 1);
    assert_int_equal(token_count("seen", "8 0 pin=2 keep=0 STAMP\n"), 1);
    token_stop_pool();
    assert_int_equal(wrong_on_disk(), 1);
    fixture_end(&token_fixture);
}

static void
test_starts_that_end_while_a_pin_source_is_tried_use_up_no_tries(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+login-hang?pin-source=file:/pin", "yes");
    token_sign(0, "a", false);
    token_run_until_file_says("seen", "8 0 pin=2");
    token_stop_pool();
    assert_int_equal(wrong_on_disk(), 1);
    fixture_end(&token_fixture);
}

static void
test_question_of_a_person_that_ends_with_athd_is_no_try(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "silent");
    token_sign(0, "a", false);
    token_run_until_file_says("prompter", "GETPIN");
    token_stop_pool();
    assert_int_equal(wrong_on_disk(), 0);
    fixture_end(&token_fixture);
}

static void
test_locked_key_is_looked_at_again(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin+lock-sign-once", "yes");
    token_sign_ends(0, "a", true, ATH_ERR_PIN_LOCKED);
    token_sign_ends(1, "b", true, ATH_ERR_PIN_LOCKED);
    assert_int_equal(token_count("seen", "1 0 "), 1);
    fake_clock_move(11); /* somebody has unblocked it with the PUK */
    token_sign_ends(2, "c", true, ATH_OK);
    assert_int_equal(token_count("seen", "1 0 "), 2);
    token_end();
}

static void
test_token_that_forgets_each_login_is_not_given_its_pin_for_ever(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+forgets?pin-source=file:/pin", "yes");
    token_sign_ends(0, "a", false, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(token_count("seen", "8 0 pin=2"), 2);
    token_end();
}

static void
test_key_file_that_the_hardware_does_not_take_is_no_fault_of_the_caller(void **state)
{
    (void)state;
    token_begin("pkcs11:token=bad-blob", "yes");
    token_sign_ends(0, "a", false, ATH_ERR_HSM_ERROR);
    token_end();
}

static void
check_right_pin_ends_the_count(bool wants_pin)
{
    token_sign_ends(0, "a", wants_pin, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(wrong_on_disk(), 1);
    token_sign_ends(1, "b", wants_pin, ATH_OK);
    token_stop_pool();
    assert_int_equal(wrong_on_disk(), 0);
    fixture_end(&token_fixture);
}

static void
test_right_pin_of_a_login_ends_the_count_on_disk(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+wrong-once", "yes");
    check_right_pin_ends_the_count(false);
}

static void
test_pin_of_a_signature_that_is_in_doubt_counts_on_disk(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin+vague-sign?pin-source=file:/pin", "yes");
    token_sign_ends(0, "a", true, ATH_ERR_HSM_ERROR);
    token_stop_pool();
    assert_int_equal(wrong_on_disk(), 1);
    fixture_end(&token_fixture);
}

static void
test_right_pin_of_a_signature_ends_the_count_on_disk(void **state)
{
    (void)state;
    fixture_begin(&token_fixture, "pkcs11:token=pin+wrong-sign-once");
    token_fixture.config.hsms[0].pin_ttl_s = 60; /* the PIN is kept */
    setenv("FAKE_PROMPTER", "yes", 1);
    token_start_pool();
    check_right_pin_ends_the_count(true);
}

static void
test_login_that_hangs_ends_the_helper_and_counts(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin+login-hang?pin-source=file:/pin", "yes");
    token_sign(0, "a", false);
    token_run_until_file_says("seen", "8 0 pin=2");
    fake_clock_move(11);
    fixture_run_until(&token_fixture, &token_completions, 1);
    assert_int_equal(token_results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    token_stop_pool();
    assert_int_equal(wrong_on_disk(), 1);
    fixture_end(&token_fixture);
}

/* ---- questions ---- */

static void
test_nobody_is_asked_for_a_pin_when_athd_ends(void **state)
{
    (void)state;
    token_begin("pkcs11:token=pin", "yes");
    token_run_until_state("locked");
    consent_close(token_fixture.athd.consent);
    token_sign(0, "a", false); /* as the last checkpoint */
    fixture_run_until(&token_fixture, &token_completions, 1);
    assert_int_equal(token_results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(token_count("prompter", "START"), 0);
    token_end();
}

static void
test_one_caller_cannot_take_the_screen_with_questions_for_pins(void **state)
{
    size_t i;

    (void)state;
    token_begin("pkcs11:token=pin", "yes");
    token_sign(0, "a", false);
    fixture_run_until(&token_fixture, &token_completions, 1);
    setenv("FAKE_PROMPTER", "silent", 1);
    for (i = 1; i <= 9; i++)
        token_sign(i, "b", true);
    fixture_run_until(&token_fixture, &token_completions, 2);
    assert_int_equal(token_results[9].err, ATH_ERR_LIMIT_EXCEEDED);
    assert_non_null(strstr(token_results[9].why.text, "wait for an answer already"));
    token_end();
    assert_int_equal(token_completions, 10);
}

static void
test_question_asked_anew_has_its_whole_time(void **state)
{
    int shown = 0, turns;
    struct consent_turn turn = {.granted = let_have, .closed = let_have, .ctx = &shown};
    uint64_t now_ms;

    (void)state;
    fake_clock_set(1000000);
    token_begin("pkcs11:token=pin", "silent");
    setenv("GPG_TTY", "/dev/null", 1);
    consent_turn_wait(token_fixture.athd.consent, &turn); /* the terminal is somebody else's */
    assert_int_equal(shown, 1);
    token_results[0].request = fixture_request(&token_fixture, RPC_KEY_CREATE);
    token_run_until_state("locked");
    token_sign(0, "a", false);
    fake_clock_move(100);
    now_ms = clock_monotonic_ms();
    token_touch("remove");
    token_run_until_state("absent");
    unlink(fixture_path(&token_fixture, "remove"));
    for (turns = 0; turns < 60000 && token_results[0].done == 0 &&
                    token_results[0].request->deadline_ms < now_ms + 120000;
         turns++) {
        fixture_turn(&token_fixture);
        usleep(500);
    }
    assert_int_equal(token_results[0].done, 0);
    assert_true(token_results[0].request->deadline_ms >= now_ms + 120000);
    consent_turn_end(token_fixture.athd.consent, &turn);
    unsetenv("GPG_TTY");
    token_end();
}

/* ---- flow ---- */

static void
test_a_window_of_the_longest_messages_is_no_reason_to_end_the_helper(void **state)
{
    static char message[HSM_WIRE_MAX_MESSAGE + 1];
    size_t i;

    (void)state;
    memset(message, 'm', sizeof(message) - 1);
    token_begin("pkcs11:token=many", "yes");
    token_run_until_state("ready");
    for (i = 0; i < 70; i++)
        token_sign(i, message, false);
    fixture_run_until(&token_fixture, &token_completions, 70);
    for (i = 0; i < 70; i++)
        assert_int_equal(token_results[i].err, ATH_OK);
    assert_int_equal(token_count("seen", "1 0 "), 1);
    token_end();
}

/* ---- which token ---- */

static void
test_key_of_another_token_is_not_looked_for_in_this_one(void **state)
{
    struct pkcs11_uri key;

    (void)state;
    token_begin("pkcs11:token=x", "yes");
    token_run_until_state("ready"); /* its serial number is 0001 */
    assert_int_equal(
        pkcs11_uri_parse(ath_slice_of_string("pkcs11:serial=0002;object=a"), NULL, &key), ATH_OK);
    assert_null(hsm_pool_find_token(token_fixture.athd.hsms, &key));
    assert_int_equal(
        pkcs11_uri_parse(ath_slice_of_string("pkcs11:serial=0001;object=a"), NULL, &key), ATH_OK);
    assert_string_equal(hsm_pool_find_token(token_fixture.athd.hsms, &key), "one");
    token_end();
}

/* ---- hardware that has to be made first ---- */

#define INFO_REQUEST "1 0 " /* as the fake helper notes it: one for each life */

/* What waits has no time left at the same tick that looks whether the helper hangs. */
static void
wait_for_slow_start(void)
{
    token_sign(0, "a", false);
    token_run_until_status("message", "the TPM is being made");
}

static void
end_waiting_after(int64_t seconds)
{
    fake_clock_move(seconds);
    fixture_run_until(&token_fixture, &token_results[0].done, 1);
    assert_int_equal(token_results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(strstr(token_results[0].why.text, "the TPM is being made"));
}

static void
test_helper_that_says_that_its_start_takes_long_is_not_killed_for_that(void **state)
{
    (void)state;
    fake_clock_set(1700000000);
    token_begin("swtpm:slow-open", "yes");
    wait_for_slow_start();
    end_waiting_after(1000);
    token_touch("made");
    token_sign_ends(1, "b", false, ATH_OK);
    assert_int_equal(token_count("seen", INFO_REQUEST), 1);
    token_end();
    fake_clock_set(0);
}

static void
test_start_that_never_ends_is_begun_anew(void **state)
{
    (void)state;
    fake_clock_set(1700000000);
    token_begin("swtpm:slow-open", "yes");
    wait_for_slow_start();
    end_waiting_after(3600);
    token_run_until_count("seen", INFO_REQUEST, 2);
    token_touch("made");
    token_sign_ends(1, "b", false, ATH_OK);
    token_end();
    fake_clock_set(0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signature_cancelled_by_the_answer_before_it_is_told_of_that),
        cmocka_unit_test(test_wrong_pin_of_a_signature_that_was_cancelled_before_counts),
        cmocka_unit_test(test_signature_cancelled_while_its_wrong_pin_is_written_down_ends_once),
        cmocka_unit_test(test_key_that_may_be_in_the_token_already_is_not_made_again),
        cmocka_unit_test(test_pin_for_a_signature_that_was_lost_is_not_tried_again_and_counts),
        cmocka_unit_test(test_key_opened_for_nobody_is_closed_again),
        cmocka_unit_test(test_key_that_nobody_uses_is_no_work_for_a_pool_that_ends),
        cmocka_unit_test(test_pause_is_not_changed_by_the_time_of_day),
        cmocka_unit_test(test_pause_ends_after_a_start_with_the_clock_put_back),
        cmocka_unit_test(test_pin_is_not_kept_longer_because_the_machine_sleeps),
        cmocka_unit_test(test_one_token_as_two_hsms_spends_one_try_of_a_refused_pin_source),
        cmocka_unit_test(test_starts_that_end_while_a_pin_source_is_tried_use_up_no_tries),
        cmocka_unit_test(test_question_of_a_person_that_ends_with_athd_is_no_try),
        cmocka_unit_test(test_locked_key_is_looked_at_again),
        cmocka_unit_test(test_token_that_forgets_each_login_is_not_given_its_pin_for_ever),
        cmocka_unit_test(test_key_file_that_the_hardware_does_not_take_is_no_fault_of_the_caller),
        cmocka_unit_test(test_right_pin_of_a_login_ends_the_count_on_disk),
        cmocka_unit_test(test_pin_of_a_signature_that_is_in_doubt_counts_on_disk),
        cmocka_unit_test(test_right_pin_of_a_signature_ends_the_count_on_disk),
        cmocka_unit_test(test_login_that_hangs_ends_the_helper_and_counts),
        cmocka_unit_test(test_nobody_is_asked_for_a_pin_when_athd_ends),
        cmocka_unit_test(test_one_caller_cannot_take_the_screen_with_questions_for_pins),
        cmocka_unit_test(test_question_asked_anew_has_its_whole_time),
        cmocka_unit_test(test_key_of_another_token_is_not_looked_for_in_this_one),
        cmocka_unit_test(test_a_window_of_the_longest_messages_is_no_reason_to_end_the_helper),
        cmocka_unit_test(test_helper_that_says_that_its_start_takes_long_is_not_killed_for_that),
        cmocka_unit_test(test_start_that_never_ends_is_begun_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
