/* Jobs for a TPM's keys that have a PIN each, with a fake helper and fake prompters. Keys below 4
 * have one. */
#include "hsm_token_fixture.h"

#include "athd/hsm_throttle.h"

#define LOGIN_OF_3 "8 3 pin=1" /* as the fake helper notes it: op, key, where the PIN is from */

static struct hsm_key_ref
ref_of(uint32_t number)
{
    static const char *const jkts[] = {"zero", "one", "two", "three"};
    bool has_pin = number < 4;

    return (struct hsm_key_ref){.number = number,
                                .hsm = "one",
                                .blob = ath_slice_of_string("URI"),
                                .jkt = has_pin ? jkts[number] : NULL,
                                .has_pin = has_pin};
}

static struct hsm_job *
sign_as(size_t job, struct hsm_key_ref ref)
{
    struct hsm_job_params params = token_params_of(job);
    struct hsm_job *made = NULL;

    token_results[job] = (struct token_result){0};
    assert_int_equal(
        hsm_pool_sign(token_fixture.athd.hsms, &ref, ath_slice_of_string("m"), &params, &made),
        ATH_OK);
    assert_int_equal(token_results[job].done, 0);
    return made;
}

static struct hsm_job *
sign(size_t job, uint32_t key)
{
    return sign_as(job, ref_of(key));
}

static void
ends(size_t job, ath_err expected)
{
    fixture_run_until(&token_fixture, &token_results[job].done, 1);
    if (token_results[job].err != expected)
        fail_msg("%s: %s", ath_err_reason(token_results[job].err), token_results[job].why.text);
    assert_int_equal(token_results[job].done, 1);
}

static void
test_all_who_wait_share_one_question(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin", "yes");
    for (size_t i = 0; i < 10; i++)
        sign(i, 3);
    for (size_t i = 0; i < 10; i++)
        ends(i, ATH_OK);
    for (size_t i = 1; i < 10; i++)
        assert_true(token_results[i].place > token_results[i - 1].place);
    sign(10, 3);
    ends(10, ATH_OK);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 1);
    assert_int_equal(token_count("prompter", "yes"), 1);
    token_end();
}

static void
test_other_keys_are_asked_for_by_themselves_or_not_at_all(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin", "yes");
    sign(0, 5);
    ends(0, ATH_OK);
    assert_int_equal(token_count("prompter", "yes"), 0);
    sign(1, 3);
    sign(2, 2);
    sign(3, 5);
    ends(1, ATH_OK);
    ends(2, ATH_OK);
    ends(3, ATH_OK);
    assert_int_equal(token_count("seen", "8 2 pin=1"), 1);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 1);
    token_end();
}

static void
test_wrong_one_is_one_try_for_all(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin+wrong", "yes");
    for (size_t i = 0; i < 10; i++)
        sign(i, 3);
    for (size_t i = 0; i < 10; i++)
        ends(i, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 1);
    assert_int_equal(token_count("seen", "6 3 "), 0); /* nothing was to be signed */
    token_end();
}

static void
test_five_tries_then_a_pause_that_survives_a_restart(void **state)
{
    (void)state;
    fake_clock_set(1700000000); /* it stands: no pause is over, however long this takes */
    token_begin("swtpm:key-pin+wrong", "yes");
    for (size_t i = 0; i < 5; i++) {
        sign(i, 3);
        ends(i, ATH_ERR_PIN_INCORRECT);
        assert_true((token_results[i].retry_after_s > 0) == (i == 4));
    }
    sign(5, 3);
    ends(5, ATH_ERR_PIN_LOCKED);
    assert_true(token_results[5].retry_after_s > 0);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 5);
    sign(6, 2); /* counted by key */
    ends(6, ATH_ERR_PIN_INCORRECT);
    token_stop_pool();
    token_start_pool();
    sign(0, 3);
    ends(0, ATH_ERR_PIN_LOCKED);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 5);
    token_end();
}

/* As where it is imported twice at once. */
static void
test_one_key_under_two_numbers_is_one_question_and_one_try(void **state)
{
    struct hsm_key_ref copy = ref_of(2);

    (void)state;
    fake_clock_set(1700000000); /* it stands: no pause is over, however long this takes */
    token_begin("swtpm:key-pin+wrong", "yes");
    copy.jkt = ref_of(3).jkt;
    sign(0, 3);
    sign_as(1, copy);
    ends(0, ATH_ERR_PIN_INCORRECT);
    ends(1, ATH_ERR_HSM_BUSY);
    assert_int_equal(token_count("seen", "8 2 pin=1"), 0);
    for (size_t i = 2; i < 6; i++) { /* afterwards it is asked for, and counted as one key */
        sign_as(i, copy);
        ends(i, ATH_ERR_PIN_INCORRECT);
    }
    sign(6, 3);
    ends(6, ATH_ERR_PIN_LOCKED);
    token_end();
}

/* The question of key 3 stands there, nobody waits for it any more, and the helper has not said so
 * yet; then job 1 wants the same key under another number. */
static void
come_behind_who_left(void)
{
    struct hsm_key_ref copy = ref_of(2);
    struct hsm_job *first;

    copy.jkt = ref_of(3).jkt;
    first = sign(0, 3);
    token_run_until_file_says("seen", LOGIN_OF_3);
    setenv("FAKE_PROMPTER", "yes", 1);
    hsm_job_cancel(first, ATH_ERR_USER_DENIED);
    sign_as(1, copy);
}

static void
test_who_comes_when_nobody_is_asked_any_more_waits_and_is_asked(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin", "silent");
    come_behind_who_left();
    ends(0, ATH_ERR_USER_DENIED);
    ends(1, ATH_OK);
    assert_int_equal(token_count("seen", "8 2 pin=1"), 1);
    token_end();
}

static void
test_who_waits_for_another_to_end_is_told_that_somebody_else_is_asked_then(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin", "silent");
    come_behind_who_left();
    sign(2, 3); /* gets the next question, before who waits for the key's other number */
    ends(1, ATH_ERR_HSM_BUSY);
    ends(2, ATH_OK);
    token_end();
}

static void
test_who_waits_for_another_to_end_can_leave(void **state)
{
    struct hsm_key_ref copy = ref_of(2);
    struct hsm_job *second;

    (void)state;
    copy.jkt = ref_of(3).jkt;
    token_begin("swtpm:key-pin", "silent");
    come_behind_who_left();
    second = sign_as(2, copy);
    hsm_job_cancel(second, ATH_ERR_USER_DENIED);
    ends(2, ATH_ERR_USER_DENIED);
    ends(1, ATH_OK);
    token_end();
}

static void
test_who_waits_for_another_to_end_is_asked_by_the_next_helper(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin+login-crash-once", "silent");
    come_behind_who_left();
    ends(1, ATH_OK);
    assert_int_equal(token_count("seen", "8 2 pin=1"), 1);
    token_end();
}

static void
test_athd_ends_while_somebody_waits_for_another_to_end(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin", "silent");
    come_behind_who_left();
    token_end();
    assert_int_equal(token_results[1].err, ATH_ERR_HSM_UNAVAILABLE);
}

static void
test_no_is_no_try(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin", "cancel");
    for (size_t i = 0; i < 8; i++) {
        sign(i, 3);
        ends(i, ATH_ERR_USER_DENIED);
    }
    setenv("FAKE_PROMPTER", "yes", 1);
    sign(8, 3);
    ends(8, ATH_OK);
    token_end();
}

static void
test_last_who_leaves_takes_the_question_along(void **state)
{
    struct hsm_job *first, *second;

    (void)state;
    token_begin("swtpm:key-pin", "silent");
    first = sign(0, 3);
    second = sign(1, 3);
    token_run_until_file_says("seen", LOGIN_OF_3);
    hsm_job_cancel(first, ATH_ERR_USER_DENIED);
    ends(0, ATH_ERR_USER_DENIED);
    assert_int_equal(token_results[1].done, 0);
    setenv("FAKE_PROMPTER", "yes", 1);
    hsm_job_cancel(second, ATH_ERR_USER_DENIED);
    ends(1, ATH_ERR_USER_DENIED);
    sign(2, 3); /* who comes now gets a question of theirs */
    ends(2, ATH_OK);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 2);
    token_end();
}

static void
test_key_that_is_forgotten_fails_who_waits_for_it(void **state)
{
    const struct hsm_key_ref ref = ref_of(3);

    (void)state;
    token_begin("swtpm:key-pin", "silent");
    sign(0, 3);
    token_run_until_file_says("seen", LOGIN_OF_3);
    hsm_pool_key_forget(token_fixture.athd.hsms, &ref);
    ends(0, ATH_ERR_KEY_NOT_FOUND);
    sign(1, 5);
    ends(1, ATH_OK);
    token_end();
}

static void
test_key_that_cannot_be_opened_fails_without_an_answer(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin+bad-key", "silent");
    sign(0, 3);
    ends(0, ATH_ERR_HSM_ERROR);
    token_end();
}

static void
test_helper_that_is_lost_at_a_pin_counts_as_a_try(void **state)
{
    (void)state;
    fake_clock_set(1700000000); /* it stands: no pause is over, however long this takes */
    token_begin("swtpm:key-pin+login-crash", "yes");
    for (size_t i = 0; i < 5; i++) {
        sign(i, 3);
        ends(i, ATH_ERR_HSM_UNAVAILABLE);
    }
    sign(5, 3);
    ends(5, ATH_ERR_PIN_LOCKED);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 5);
    token_end();
}

static void
test_helper_that_is_lost_later_is_told_the_pin_again(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin+crash-once", "yes");
    sign(0, 3); /* the helper dies of the signature */
    ends(0, ATH_OK);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 2);
    token_end();
}

static void
test_login_alone_asks_once(void **state)
{
    const struct hsm_key_ref ref = ref_of(3);
    struct hsm_job_params params;

    (void)state;
    token_begin("swtpm:key-pin", "yes");
    for (size_t i = 0; i < 3; i++) {
        params = token_params_of(i);
        assert_int_equal(hsm_pool_key_login(token_fixture.athd.hsms, &ref, &params, NULL), ATH_OK);
        ends(i, ATH_OK);
    }
    sign(3, 3);
    ends(3, ATH_OK);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 1);
    token_end();
}

static void
test_shut_pool_forgets_and_asks_nobody(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin", "yes");
    sign(0, 3);
    ends(0, ATH_OK);
    setenv("FAKE_PROMPTER", "silent", 1);
    sign(1, 2);
    token_run_until_file_says("seen", "8 2 pin=1");
    hsm_pool_shut(token_fixture.athd.hsms, true);
    ends(1, ATH_ERR_AGENT_LOCKED);
    sign(2, 3);
    ends(2, ATH_ERR_AGENT_LOCKED);
    setenv("FAKE_PROMPTER", "yes", 1);
    hsm_pool_shut(token_fixture.athd.hsms, false);
    sign(3, 3);
    ends(3, ATH_OK);
    assert_int_equal(token_count("seen", LOGIN_OF_3), 2);
    token_end();
}

static void
test_new_pin_is_asked_for_by_the_helper(void **state)
{
    struct hsm_job_params params;
    struct hsm_job *job = NULL;

    (void)state;
    token_begin("swtpm:", "yes");
    params = token_params_of(0);
    assert_int_equal(
        hsm_pool_key_create_with_pin(token_fixture.athd.hsms, "one", 1, "k", &params, NULL),
        ATH_OK);
    ends(0, ATH_OK);
    assert_string_equal(token_results[0].blob, "BLOB");
    assert_int_equal(token_count("seen", "2 0 pin=1"), 1);
    setenv("FAKE_PROMPTER", "silent", 1);
    params = token_params_of(1);
    assert_int_equal(
        hsm_pool_key_create_with_pin(token_fixture.athd.hsms, "one", 1, "k", &params, &job),
        ATH_OK);
    token_run_until_count("seen", "2 0 pin=1", 2);
    hsm_job_cancel(job, ATH_ERR_USER_DENIED);
    ends(1, ATH_ERR_USER_DENIED);
    sign(2, 5);
    ends(2, ATH_OK);
    token_end();
}

static void
test_athd_ends_while_it_asks(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin", "silent");
    sign(0, 3);
    sign(1, 3);
    token_run_until_file_says("seen", LOGIN_OF_3);
    token_end();
    assert_int_equal(token_results[0].err, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(token_results[1].err, ATH_ERR_HSM_UNAVAILABLE);
}

static void
test_the_machines_athd_asks_nobody(void **state)
{
    (void)state;
    token_begin("swtpm:key-pin", "yes");
    token_fixture.config.is_system = true;
    sign(0, 3);
    ends(0, ATH_ERR_NO_PROMPTER);
    assert_non_null(strstr(token_results[0].why.text, "--system"));
    token_fixture.config.is_system = false;
    token_end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_who_wait_share_one_question),
        cmocka_unit_test(test_other_keys_are_asked_for_by_themselves_or_not_at_all),
        cmocka_unit_test(test_wrong_one_is_one_try_for_all),
        cmocka_unit_test(test_five_tries_then_a_pause_that_survives_a_restart),
        cmocka_unit_test(test_one_key_under_two_numbers_is_one_question_and_one_try),
        cmocka_unit_test(test_who_comes_when_nobody_is_asked_any_more_waits_and_is_asked),
        cmocka_unit_test(
            test_who_waits_for_another_to_end_is_told_that_somebody_else_is_asked_then),
        cmocka_unit_test(test_who_waits_for_another_to_end_can_leave),
        cmocka_unit_test(test_who_waits_for_another_to_end_is_asked_by_the_next_helper),
        cmocka_unit_test(test_athd_ends_while_somebody_waits_for_another_to_end),
        cmocka_unit_test(test_no_is_no_try),
        cmocka_unit_test(test_last_who_leaves_takes_the_question_along),
        cmocka_unit_test(test_key_that_is_forgotten_fails_who_waits_for_it),
        cmocka_unit_test(test_key_that_cannot_be_opened_fails_without_an_answer),
        cmocka_unit_test(test_helper_that_is_lost_at_a_pin_counts_as_a_try),
        cmocka_unit_test(test_helper_that_is_lost_later_is_told_the_pin_again),
        cmocka_unit_test(test_login_alone_asks_once),
        cmocka_unit_test(test_shut_pool_forgets_and_asks_nobody),
        cmocka_unit_test(test_new_pin_is_asked_for_by_the_helper),
        cmocka_unit_test(test_athd_ends_while_it_asks),
        cmocka_unit_test(test_the_machines_athd_asks_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
