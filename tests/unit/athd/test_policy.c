/* What athd adds to the rules: the caller's facts now, rates, consent that was given, names that
 * outlive the rules, files that are wrong. */
#include "fixture_daemon.h"

#include <sys/stat.h>

#include "athd/freeze.h"
#include "athd/policy_limits.h"
#include "base/file.h"

static struct fixture f;

static int
begin(void **state)
{
    (void)state;
    fixture_begin(&f, NULL);
    f.config.policy_dir = ath_strdup(f.dir);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    fixture_end(&f);
    return 0;
}

static void
write_policy(const char *text)
{
    assert_int_equal(file_replace(fixture_path(&f, "policy.json"), ath_slice_of_string(text), NULL),
                     ATH_OK);
}

static void
load(const char *text)
{
    struct why why = {{0}};

    write_policy(text);
    if (policy_reload(f.athd.policy, &why) != ATH_OK)
        fail_msg("%s", why.text);
}

static struct policy_answer
ask(uid_t uid, const char *method, const char *key)
{
    const struct caller caller = {.uid = uid, .pid = 5};
    const struct policy_question question = {.method = method, .key = key};

    return policy_decide(f.tenant, &caller, &question, false);
}

static void
test_without_files_the_owner_may_do_everything_and_nobody_else_root_included(void **state)
{
    static const uid_t others[] = {0, 1, 1001, 65534};
    struct policy_answer answer = ask(f.athd.owner, "key.create", NULL);

    (void)state;
    assert_true(policy_is_built_in(f.athd.policy));
    assert_int_equal(answer.verdict, POLICY_ALLOW);
    assert_string_equal(answer.rule, "owner");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i] == f.athd.owner)
            continue;
        answer = ask(others[i], "agent.hello", NULL);
        assert_int_equal(answer.verdict, POLICY_DENY);
        assert_string_equal(answer.rule, "default");
        assert_true(answer.missing[0] != '\0');
    }
}

static void
test_a_wrong_file_leaves_the_old_rules_and_their_names(void **state)
{
    struct why why = {{0}};
    struct policy_answer before;

    (void)state;
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":7},\"may\":[\"key.list\"]}]}");
    before = ask(7, "key.list", NULL);
    write_policy("{\"rules\":[\n{\"name\":\"two\",\n\"who\":{},\"may\":[\"*\"]}]}");
    assert_int_equal(policy_reload(f.athd.policy, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "policy.json:3: "));
    assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_ALLOW);
    load("{\"rules\":[]}");
    assert_string_equal(before.rule, "one"); /* requests under way still say it */
    assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_DENY);
    assert_int_equal(ask(f.athd.owner, "key.list", NULL).verdict, POLICY_DENY);
}

static void
test_a_file_that_everybody_may_write_to_is_refused(void **state)
{
    struct why why = {{0}};

    (void)state;
    write_policy("{\"rules\":[]}");
    assert_int_equal(chmod(fixture_path(&f, "policy.json"), 0666), 0);
    assert_int_equal(policy_reload(f.athd.policy, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "chmod"));
    assert_int_equal(chmod(fixture_path(&f, "policy.json"), 0600), 0);
    assert_int_equal(policy_reload(f.athd.policy, &why), ATH_OK);
    assert_int_equal(chmod(f.dir, 0777), 0);
    assert_int_equal(policy_reload(f.athd.policy, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "everybody may put files into"));
    assert_int_equal(chmod(f.dir, 0700), 0);
}

static void
test_a_process_that_is_not_proven_fits_no_rule_about_processes(void **state)
{
    struct policy_answer answer;

    (void)state;
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":7,\"exe\":\"/*\"},\"may\":[\"*\"]}]}");
    answer = ask(7, "key.list", NULL);
    assert_int_equal(answer.verdict, POLICY_DENY);
    assert_string_equal(answer.missing, "exe: unknown");
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":7,\"namespace\":\"same\"},\"may\":[\"*\"]}"
         "]}");
    assert_string_equal(ask(7, "key.list", NULL).missing, "namespace: unseen");
}

static void
test_a_rate_is_of_rule_uid_and_key_and_says_when_to_come_again(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":\"*\"},\"may\":[\"*\"],\"rate\":\"3/"
         "min\"}]}");
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_ALLOW);
    assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_LIMITED);
    assert_int_equal(ask(7, "key.list", NULL).retry_after_s, 20);
    assert_int_equal(ask(8, "key.list", NULL).verdict, POLICY_ALLOW);
    fake_clock_move(20);
    assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_ALLOW);
    assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_LIMITED);
}

static void
test_consent_once_is_asked_again_when_its_time_is_over(void **state)
{
    struct policy_answer answer;

    (void)state;
    fake_clock_set(1000000);
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":7},\"may\":[\"*\"],\"consent\":\"once:"
         "60\"}]}");
    answer = ask(7, "key.list", "a");
    assert_int_equal(answer.verdict, POLICY_ASK);
    assert_int_equal(ask(7, "key.list", "a").verdict, POLICY_ASK); /* no answer yet */
    policy_remember(f.tenant, &answer.memo);
    assert_int_equal(ask(7, "key.list", "a").verdict, POLICY_ALLOW);
    assert_int_equal(ask(7, "key.list", "b").verdict, POLICY_ASK);
    assert_int_equal(ask(7, "key.get", "a").verdict, POLICY_ASK);
    fake_clock_move(61);
    assert_int_equal(ask(7, "key.list", "a").verdict, POLICY_ASK);
}

static void
test_a_machine_that_sleeps_forgets_a_yes_and_a_rule_that_changed_has_none(void **state)
{
    struct policy_answer answer;

    (void)state;
    fake_clock_set(1000000);
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":7},\"may\":[\"*\"],\"consent\":\"once:"
         "60\"}]}");
    answer = ask(7, "key.list", "a");
    policy_remember(f.tenant, &answer.memo);
    fake_clock_jump(-3600); /* the time of day says nothing */
    assert_int_equal(ask(7, "key.list", "a").verdict, POLICY_ALLOW);
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":7},\"may\":[\"*\"],\"consent\":\"once:"
         "61\"}]}");
    assert_int_equal(ask(7, "key.list", "a").verdict, POLICY_ASK);
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":7},\"may\":[\"*\"],\"consent\":\"once:"
         "60\"}]}");
    assert_int_equal(ask(7, "key.list", "a").verdict, POLICY_ALLOW);
    fake_clock_sleep(61);
    assert_int_equal(ask(7, "key.list", "a").verdict, POLICY_ASK);
}

/* By rule, not by its name: a rate that was widened waits for nothing of the old one. */
static void
test_a_rule_that_changed_is_counted_anew(void **state)
{
    (void)state;
    fake_clock_set(1000000);
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":7},\"may\":[\"*\"],\"rate\":\"1/day\"}]}");
    assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_ALLOW);
    assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_LIMITED);
    fake_clock_jump(90000);
    assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_LIMITED);
    fake_clock_jump(-90000);
    load("{\"rules\":[{\"name\":\"one\",\"who\":{\"uid\":7},\"may\":[\"*\"],\"rate\":\"1/s\"}]}");
    assert_int_equal(ask(7, "key.list", NULL).verdict, POLICY_ALLOW);
}

static void
test_one_caller_with_many_keys_does_not_use_up_what_others_are_counted_with(void **state)
{
    static struct policy_limits limits;
    const struct policy_rule rule = {.name = "one", .rate = 2, .rate_s = 60};
    const struct caller one = {.uid = 7}, other = {.uid = 8};
    unsigned allowed = 0;
    char key[16];

    (void)state;
    fake_clock_set(1000000);
    for (unsigned i = 0; i < 2 * POLICY_RATES; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        allowed += policy_limits_count(&limits, &rule, &one, true, key) == 0;
    }
    assert_in_range(allowed, POLICY_RATES_OF_ONE, 2 * POLICY_RATES_OF_ONE);
    assert_int_equal(policy_limits_count(&limits, &rule, &other, true, "k1"), 0);
}

static void
test_where_grants_do_not_count_apart_whoever_has_some_gets_no_more(void **state)
{
    static struct policy_limits limits;
    const struct policy_rule rule = {.name = "one", .rate = 2, .rate_s = 60};
    const struct caller owner = {.uid = 7}, a = {.uid = 7, .grant = "a"}, b = {.uid = 7, .grant = "b"};

    (void)state;
    fake_clock_set(1000000);
    assert_int_equal(policy_limits_count(&limits, &rule, &owner, false, "k"), 0);
    assert_int_equal(policy_limits_count(&limits, &rule, &a, false, "k"), 0);
    assert_int_not_equal(policy_limits_count(&limits, &rule, &b, false, "k"), 0);
    assert_int_equal(policy_limits_count(&limits, &rule, &b, true, "k"), 0);
}

static void
test_observing_allows_the_owner_only(void **state)
{
    struct policy_answer answer;

    (void)state;
    load("{\"observe\":true,\"rules\":[]}");
    answer = ask(f.athd.owner, "key.list", NULL);
    assert_int_equal(answer.verdict, POLICY_ALLOW);
    assert_true(answer.is_observed);
    assert_int_equal(ask(f.athd.owner + 1, "key.list", NULL).verdict, POLICY_DENY);
}

/* ---- the kill switch ---- */

static int written;

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    (void)why;
    *(ath_err *)ctx = err;
    written++;
}

static void
reopen(void)
{
    freeze_free(f.tenant->freeze);
    f.tenant->freeze = NULL;
    assert_int_equal(freeze_open(&f.athd, f.dir, NULL, &f.tenant->freeze), ATH_OK);
}

static void
test_a_frozen_key_is_denied_what_signs_and_stays_so(void **state)
{
    ath_err err = ATH_ERR_INTERNAL;

    (void)state;
    written = 0;
    reopen();
    assert_int_equal(freeze_set(f.tenant->freeze, "a", NULL, on_written, &err), ATH_OK);
    assert_true(freeze_has(f.tenant->freeze, "a")); /* at once */
    fixture_run_until(&f, &written, 1);
    assert_int_equal(err, ATH_OK);
    reopen();
    assert_string_equal(ask(f.athd.owner, "attestation.create", "a").rule, "frozen");
    assert_int_equal(ask(f.athd.owner, "attestation.create", "b").verdict, POLICY_ALLOW);
    assert_int_equal(ask(f.athd.owner, "key.get", "a").verdict, POLICY_ALLOW);
    assert_int_equal(freeze_end(f.tenant->freeze, "a", NULL, on_written, &err), ATH_OK);
    assert_true(freeze_has(f.tenant->freeze, "a")); /* until it is on disk */
    fixture_run_until(&f, &written, 2);
    assert_false(freeze_has(f.tenant->freeze, "a"));
    reopen();
    assert_false(freeze_has(f.tenant->freeze, "a"));
}

static void
test_what_is_frozen_while_something_is_unfrozen_stays_frozen(void **state)
{
    ath_err err = ATH_OK, other = ATH_OK;

    (void)state;
    written = 0;
    reopen();
    assert_int_equal(freeze_set(f.tenant->freeze, NULL, NULL, on_written, &err), ATH_OK);
    fixture_run_until(&f, &written, 1);
    assert_int_equal(freeze_end(f.tenant->freeze, NULL, NULL, on_written, &err), ATH_OK);
    assert_int_equal(freeze_set(f.tenant->freeze, NULL, NULL, on_written, &other), ATH_OK);
    fixture_run_until(&f, &written, 3);
    assert_int_equal(err, ATH_ERR_INVALID_PARAMS);
    assert_int_equal(other, ATH_OK);
    assert_true(freeze_has(f.tenant->freeze, "a"));
    reopen();
    assert_true(freeze_has(f.tenant->freeze, "a"));
}

static void
test_a_list_that_cannot_be_read_freezes_all(void **state)
{
    static const char *const wrong[] = {"",
                                        "{",
                                        "{\"all\":1,\"keys\":[]}",
                                        "{\"all\":false}",
                                        "{\"all\":false,\"keys\":[\"/\"]}",
                                        "{\"all\":false,\"keys\":[],\"x\":1}"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(
            file_replace(fixture_path(&f, "frozen.json"), ath_slice_of_string(wrong[i]), NULL),
            ATH_OK);
        log_set_level(LOG_LEVEL_ERROR);
        reopen();
        assert_true(freeze_has(f.tenant->freeze, "any"));
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_without_files_the_owner_may_do_everything_and_nobody_else_root_included),
        TEST(test_a_wrong_file_leaves_the_old_rules_and_their_names),
        TEST(test_a_file_that_everybody_may_write_to_is_refused),
        TEST(test_a_process_that_is_not_proven_fits_no_rule_about_processes),
        TEST(test_a_rate_is_of_rule_uid_and_key_and_says_when_to_come_again),
        TEST(test_consent_once_is_asked_again_when_its_time_is_over),
        TEST(test_a_machine_that_sleeps_forgets_a_yes_and_a_rule_that_changed_has_none),
        TEST(test_a_rule_that_changed_is_counted_anew),
        TEST(test_one_caller_with_many_keys_does_not_use_up_what_others_are_counted_with),
        TEST(test_where_grants_do_not_count_apart_whoever_has_some_gets_no_more),
        TEST(test_observing_allows_the_owner_only),
        TEST(test_a_frozen_key_is_denied_what_signs_and_stays_so),
        TEST(test_what_is_frozen_while_something_is_unfrozen_stays_frozen),
        TEST(test_a_list_that_cannot_be_read_freezes_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
