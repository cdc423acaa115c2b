#include "fixture_daemon.h"

#include <stdio.h>
#include <unistd.h>

#include "athd/hsm_pool.h"
#include "base/clock.h"

#define DEADLINE_MS 300000 /* of all jobs: none ends because the machine is busy */

static struct fixture fixture;

/* What a job's completion said. */
struct result {
    int done, begun;
    int place; /* the how many-eth completion it was */
    ath_err err;
    struct why why;
    uint32_t native;
    uint8_t signature[64];
    size_t signature_len;
    char blob[16];
    uint64_t counter;
    size_t evidence_len;
};

static int completions, closed;

static void
on_done(void *ctx, const struct hsm_outcome *outcome)
{
    struct result *result = ctx;

    result->done++;
    result->place = ++completions;
    result->err = outcome->err;
    result->why = outcome->why;
    result->native = outcome->native;
    result->signature_len = outcome->signature.len;
    if (outcome->signature.len == sizeof(result->signature))
        memcpy(result->signature, outcome->signature.data, sizeof(result->signature));
    snprintf(result->blob, sizeof(result->blob), "%.*s", (int)outcome->blob.len,
             outcome->blob.len == 0 ? "" : (const char *)outcome->blob.data);
    result->counter = outcome->counter;
    result->evidence_len = outcome->evidence.len;
}

static void
begin(const char *uri)
{
    completions = closed = 0;
    fixture_begin(&fixture, uri);
    assert_int_equal(hsm_pool_new(&fixture.athd, NULL, &fixture.athd.hsms), ATH_OK);
    hsm_pool_start(fixture.athd.hsms);
}

static void
on_closed(void *ctx)
{
    ++*(int *)ctx;
}

static void
end(void)
{
    hsm_pool_close(fixture.athd.hsms, on_closed, &closed);
    fixture_run_until(&fixture, &closed, 1);
    fixture_turn(&fixture); /* what was closed is so after a turn */
    hsm_pool_free(fixture.athd.hsms);
    fixture_end(&fixture);
}

static struct hsm_job *
sign(struct result *result, uint32_t key, uint64_t identity, enum hsm_priority priority,
     const char *message)
{
    const struct hsm_key_ref ref = {
        .number = key, .hsm = "one", .blob = ath_slice_of_string("BLOB")};
    const struct hsm_job_params params = {.caller_identity = identity,
                                          .priority = priority,
                                          .deadline_ms = clock_monotonic_ms() + DEADLINE_MS,
                                          .done = on_done,
                                          .ctx = result};
    struct hsm_job *job = NULL;

    *result = (struct result){0};
    assert_int_equal(
        hsm_pool_sign(fixture.athd.hsms, &ref, ath_slice_of_string(message), &params, &job),
        ATH_OK);
    assert_int_equal(result->done, 0); /* never from inside */
    return job;
}

static void
on_sent(void *ctx)
{
    struct result *result = ctx;

    result->begun++;
}

/* What still queues in the helper has not begun: its audit record may wait for others. */
static void
test_hardware_begins_with_no_more_than_it_does_at_once(void **state)
{
    static const char *const messages[] = {"first", "hang", "behind it"};
    const struct hsm_key_ref ref = {.number = 3, .hsm = "one", .blob = ath_slice_of_string("BLOB")};
    struct result results[3] = {{0}};

    (void)state;
    begin("swtpm:");
    for (int i = 0; i < 3; i++) {
        const struct hsm_job_params params = {.caller_identity = 1,
                                              .priority = HSM_PRIORITY_NORMAL,
                                              .deadline_ms = clock_monotonic_ms() + DEADLINE_MS,
                                              .done = on_done,
                                              .ctx = &results[i],
                                              .sent = on_sent};

        assert_int_equal(
            hsm_pool_sign(fixture.athd.hsms, &ref, ath_slice_of_string(messages[i]), &params, NULL),
            ATH_OK);
    }
    fixture_run_until(&fixture, &results[1].begun, 1);
    assert_int_equal(results[0].done, 1);
    assert_int_equal(results[0].begun, 1);
    for (int i = 0; i < 20; i++) {
        usleep(1000);
        fixture_turn(&fixture);
    }
    assert_int_equal(results[2].begun, 0);
    end();
}

static void
test_sign_opens_the_key_once_a_helper_life(void **state)
{
    struct result a, b;
    char *seen;

    (void)state;
    begin("swtpm:");
    sign(&a, 3, 1, HSM_PRIORITY_NORMAL, "first");
    sign(&b, 3, 1, HSM_PRIORITY_NORMAL, "second");
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(a.err, ATH_OK);
    assert_int_equal(a.signature_len, 64);
    assert_int_equal(a.signature[0], 3);
    assert_int_equal(b.err, ATH_OK);
    seen = fixture_read(&fixture, "seen");
    assert_string_equal(seen, "1 0 \n3 3 BLOB\n6 3 first\n6 3 second\n");
    free(seen);
    end();
}

static void
test_key_create_gives_blob_and_kind_is_known(void **state)
{
    struct hsm_job_params params = {.caller_identity = 1,
                                    .priority = HSM_PRIORITY_NORMAL,
                                    .deadline_ms = UINT64_MAX,
                                    .done = on_done};
    struct result result = {0};
    const char *kind;
    bool software;

    (void)state;
    begin("swtpm:");
    hsm_pool_describe(fixture.athd.hsms, "one", &kind, &software);
    assert_string_equal(kind, "");
    params.ctx = &result;
    assert_int_equal(
        hsm_pool_key_create(fixture.athd.hsms, "one", 1, HSM_KEY_IDENTITY, "label", &params, NULL),
        ATH_OK);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    assert_string_equal(result.blob, "BLOB");
    hsm_pool_describe(fixture.athd.hsms, "one", &kind, &software);
    assert_string_equal(kind, "tpm");
    assert_true(software);
    end();
}

static ath_err
step_counter(struct result *result, const char *blob, uint32_t steps)
{
    static const uint8_t nonce[32] = {7};
    const struct hsm_key_ref ref = {.number = 4, .hsm = "one", .blob = ath_slice_of_string("BLOB")};
    const struct hsm_job_params params = {.caller_identity = 1,
                                          .priority = HSM_PRIORITY_NORMAL,
                                          .deadline_ms = UINT64_MAX,
                                          .done = on_done,
                                          .ctx = result};

    *result = (struct result){0};
    return hsm_pool_counter(fixture.athd.hsms, &ref, ath_slice_of_string(blob), steps, nonce,
                            &params, NULL);
}

static void
test_counter_is_stepped_with_its_key_open(void **state)
{
    struct result result;
    char *seen;

    (void)state;
    begin("swtpm:counter");
    assert_false(hsm_pool_has_counter(fixture.athd.hsms, "one")); /* it has not said yet */
    assert_int_equal(step_counter(&result, "NV", 1), ATH_OK);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    assert_int_equal(result.counter, 8);
    assert_int_equal(result.evidence_len, 8);
    assert_string_equal(result.blob, "NV");
    assert_true(hsm_pool_has_counter(fixture.athd.hsms, "one"));
    seen = fixture_read(&fixture, "seen");
    assert_string_equal(seen, "1 0 \n3 4 BLOB\n10 4 NV\n");
    free(seen);
    end();
}

static void
test_counter_step_is_never_repeated(void **state)
{
    struct result result;

    (void)state;
    begin("swtpm:crash-counter-once");
    assert_int_equal(step_counter(&result, "NV", 1), ATH_OK);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_ERR_HSM_UNAVAILABLE);
    end();
    begin("swtpm:crash-counter-once");
    assert_int_equal(step_counter(&result, "NV", 0), ATH_OK); /* a reading is */
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    assert_int_equal(result.counter, 7);
    end();
}

static void
test_unknown_hsm_is_refused_at_once(void **state)
{
    const struct hsm_key_ref ref = {.number = 1, .hsm = "nowhere", .blob = {NULL, 0}};
    const struct hsm_job_params params = {
        .caller_identity = 1, .priority = HSM_PRIORITY_NORMAL, .deadline_ms = 0, .done = on_done};

    (void)state;
    begin("swtpm:");
    assert_int_equal(
        hsm_pool_sign(fixture.athd.hsms, &ref, ath_slice_of_string("m"), &params, NULL),
        ATH_ERR_HSM_NOT_FOUND);
    assert_null(hsm_pool_find(fixture.athd.hsms, "nowhere"));
    assert_string_equal(hsm_pool_find(fixture.athd.hsms, NULL), "one");
    end();
}

/* All are queued before the helper is up, so the order of completion is the queue's. */
static void
test_queue_is_fair_and_heeds_priority(void **state)
{
    struct result many[4], few, urgent, late;
    size_t i;

    (void)state;
    begin("swtpm:");
    sign(&late, 1, 9, HSM_PRIORITY_LATE, "late");
    for (i = 0; i < 4; i++)
        sign(&many[i], 1, 1, HSM_PRIORITY_NORMAL, "many");
    sign(&few, 1, 2, HSM_PRIORITY_NORMAL, "few");
    sign(&urgent, 1, 1, HSM_PRIORITY_URGENT, "urgent");
    fixture_run_until(&fixture, &completions, 7);
    assert_int_equal(urgent.place, 1);
    assert_int_equal(many[0].place, 2);
    assert_int_equal(few.place, 3);
    assert_int_equal(many[1].place, 4);
    assert_int_equal(late.place, 5); /* three may go before it, not all there ever are */
    assert_int_equal(many[3].place, 7);
    end();
}

static void
test_crash_is_one_retry_for_the_caller(void **state)
{
    static const char *const faults[] = {"swtpm:crash-once", "swtpm:garbage-once",
                                         "swtpm:gone-once", "swtpm:stranger-once"};
    struct result a, b;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        begin(faults[i]);
        sign(&a, 1, 1, HSM_PRIORITY_NORMAL, "a");
        sign(&b, 2, 1, HSM_PRIORITY_NORMAL, "b");
        fixture_run_until(&fixture, &completions, 2);
        assert_int_equal(a.err, ATH_OK);
        assert_int_equal(b.err, ATH_OK);
        assert_int_equal(a.place, 1); /* the order is kept */
        assert_int_equal(fixture.athd.counters.helper_restarts, 1);
        end();
    }
}

static void
test_crash_at_each_try_fails_the_job_but_not_the_pool(void **state)
{
    static const char *const faults[] = {"swtpm:crash", "swtpm:gone"};
    struct result result;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        begin(faults[i]);
        sign(&result, 1, 1, HSM_PRIORITY_NORMAL, "m");
        fixture_run_until(&fixture, &completions, 1);
        assert_int_equal(result.err, ATH_ERR_HSM_UNAVAILABLE);
        assert_int_equal(result.done, 1);
        end();
    }
}

static bool
has_had_its_fault(void *ctx)
{
    (void)ctx;
    return access(fixture_path(&fixture, "had-fault"), F_OK) == 0;
}

static void
test_hanging_helper_is_killed_and_the_job_repeated(void **state)
{
    struct result result;

    (void)state;
    fake_clock_set(1000000);
    begin("swtpm:hang-once");
    sign(&result, 1, 1, HSM_PRIORITY_NORMAL, "m");
    fixture_run_until_so(&fixture, has_had_its_fault, NULL);
    fixture_turn(&fixture); /* the key is open: not progress of the time after */
    fake_clock_move(11);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    assert_int_equal(fixture.athd.counters.helper_restarts, 1);
    end();
}

static void
test_key_that_cannot_be_opened_tells_why_at_its_signature(void **state)
{
    struct result a, b;

    (void)state;
    begin("swtpm:bad-key-once");
    sign(&a, 1, 1, HSM_PRIORITY_NORMAL, "a");
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(a.err, ATH_ERR_HSM_ERROR);
    assert_int_equal(a.native, 0x1df);
    assert_string_equal(a.why.text, "integrity check failed");
    sign(&b, 1, 1, HSM_PRIORITY_NORMAL, "b"); /* tried again, not remembered as open */
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(b.err, ATH_OK);
    end();
}

static void
test_forgotten_key_is_opened_again(void **state)
{
    const struct hsm_key_ref ref = {.number = 5, .hsm = "one", .blob = ath_slice_of_string("BLOB")};
    struct result a, b;
    char *seen;

    (void)state;
    begin("swtpm:");
    sign(&a, 5, 1, HSM_PRIORITY_NORMAL, "a");
    fixture_run_until(&fixture, &completions, 1);
    hsm_pool_key_forget(fixture.athd.hsms, &ref);
    sign(&b, 5, 1, HSM_PRIORITY_NORMAL, "b");
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(b.err, ATH_OK);
    seen = fixture_read(&fixture, "seen");
    assert_string_equal(seen, "1 0 \n3 5 BLOB\n6 5 a\n4 5 \n3 5 BLOB\n6 5 b\n");
    free(seen);
    end();
}

static bool
is_in_state(void *ctx)
{
    struct json *status = NULL;
    bool is_so;

    assert_int_equal(hsm_pool_status(fixture.athd.hsms, &status), ATH_OK);
    is_so = strcmp(json_get_string(json_first(status), "state"), ctx) == 0;
    json_free(status);
    return is_so;
}

static void
test_absent_hsm_is_waited_for_until_the_deadline(void **state)
{
    char absent[] = "absent";
    struct result result;

    (void)state;
    fake_clock_set(1000000);
    begin("swtpm:absent");
    sign(&result, 1, 1, HSM_PRIORITY_NORMAL, "m");
    fixture_run_until_so(&fixture, is_in_state, absent);
    assert_int_equal(result.done, 0);
    fake_clock_move(DEADLINE_MS / 1000 + 1);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_ERR_HSM_UNAVAILABLE);
    assert_true(is_in_state(absent));
    end();
}

static void
test_absent_hsm_that_comes_back_serves_what_waited(void **state)
{
    struct result result;

    (void)state;
    begin("swtpm:absent-once");
    sign(&result, 1, 1, HSM_PRIORITY_NORMAL, "m");
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    end();
}

static void
test_states_tell_refusal_and_missing_helper_apart_from_absence(void **state)
{
    static const char *const faults[] = {"swtpm:refuse", "swtpm:no-start"};
    struct json *status = NULL;
    char failed[] = "failed";
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        begin(faults[i]);
        fixture_run_until_so(&fixture, is_in_state, failed);
        assert_int_equal(hsm_pool_status(fixture.athd.hsms, &status), ATH_OK);
        assert_non_null(json_get_string(json_first(status), "message"));
        json_free(status);
        end();
    }
}

static void
test_cancelled_job_ends_once_queued_or_flying(void **state)
{
    struct result flying, queued, after;
    struct hsm_job *job;

    (void)state;
    begin("swtpm:");
    job = sign(&queued, 1, 1, HSM_PRIORITY_NORMAL, "queued"); /* the helper is not up yet */
    hsm_job_cancel(job, ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(queued.done, 0); /* never from inside */
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(queued.err, ATH_ERR_CONSENT_TIMEOUT);
    sign(&after, 1, 1, HSM_PRIORITY_NORMAL, "warm");
    fixture_run_until(&fixture, &completions, 2);
    job = sign(&flying, 1, 1, HSM_PRIORITY_NORMAL, "flying");
    hsm_job_cancel(job, ATH_ERR_CONSENT_TIMEOUT);
    sign(&after, 1, 1, HSM_PRIORITY_NORMAL, "after");
    fixture_run_until(&fixture, &completions, 4);
    assert_int_equal(flying.err, ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(flying.done, 1);
    assert_int_equal(after.err, ATH_OK);
    end();
}

static void
test_one_caller_cannot_queue_without_end(void **state)
{
    static struct result results[1025];
    const struct hsm_key_ref ref = {.number = 1, .hsm = "one", .blob = ath_slice_of_string("BLOB")};
    struct hsm_job_params params = {.caller_identity = 1,
                                    .priority = HSM_PRIORITY_NORMAL,
                                    .deadline_ms = UINT64_MAX,
                                    .done = on_done};
    struct result other;
    size_t i;

    (void)state;
    begin("swtpm:");
    for (i = 0; i < 1024; i++)
        sign(&results[i], 1, 1, HSM_PRIORITY_NORMAL, "m");
    assert_int_equal(
        hsm_pool_sign(fixture.athd.hsms, &ref, ath_slice_of_string("m"), &params, NULL),
        ATH_ERR_HSM_BUSY);
    sign(&other, 1, 2, HSM_PRIORITY_NORMAL, "m");
    fixture_run_until(&fixture, &completions, 1025);
    assert_int_equal(other.place, 2);
    assert_int_equal(results[1023].err, ATH_OK);
    end();
}

static void
test_some_callers_together_leave_room_for_another(void **state)
{
    static struct result results[4096];
    const struct hsm_key_ref ref = {.number = 1, .hsm = "one", .blob = ath_slice_of_string("BLOB")};
    struct hsm_job_params params = {
        .priority = HSM_PRIORITY_NORMAL, .deadline_ms = UINT64_MAX, .done = on_done};
    size_t count = 0;
    struct result other;

    (void)state;
    begin("swtpm:");
    for (params.caller_identity = 1; params.caller_identity <= 8; params.caller_identity++) {
        for (params.ctx = &results[count];
             hsm_pool_sign(fixture.athd.hsms, &ref, ath_slice_of_string("m"), &params, NULL) ==
             ATH_OK;
             params.ctx = &results[++count])
            assert_true(count < 4095);
    }
    assert_true(count > 4096 / 2);
    sign(&other, 1, 9, HSM_PRIORITY_NORMAL, "m");
    fixture_run_until(&fixture, &completions, (int)count + 1);
    assert_true(other.place <= 9);
    end();
}

static void
test_create_is_not_repeated_where_the_token_would_keep_both(void **state)
{
    struct hsm_job_params params = {.caller_identity = 1,
                                    .priority = HSM_PRIORITY_NORMAL,
                                    .deadline_ms = UINT64_MAX,
                                    .done = on_done};
    struct result result = {0};

    (void)state;
    begin("swtpm:crash-create-once"); /* a TPM: repeated */
    params.ctx = &result;
    assert_int_equal(
        hsm_pool_key_create(fixture.athd.hsms, "one", 1, HSM_KEY_IDENTITY, "l", &params, NULL),
        ATH_OK);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    end();
}

static void
test_close_ends_what_waits_and_kills_a_deaf_helper(void **state)
{
    struct result result, waiting;

    (void)state;
    begin("swtpm:deaf");
    sign(&result, 1, 1, HSM_PRIORITY_NORMAL, "m");
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    sign(&waiting, 1, 1, HSM_PRIORITY_NORMAL, "m");
    end();
    assert_int_equal(waiting.done, 1);
    assert_int_equal(waiting.err, ATH_ERR_HSM_UNAVAILABLE);
}

static ath_err
submit_once(void *ctx)
{
    struct result *result = ctx;
    const struct hsm_key_ref ref = {.number = 1, .hsm = "one", .blob = ath_slice_of_string("BLOB")};
    const struct hsm_job_params params = {.caller_identity = 1,
                                          .priority = HSM_PRIORITY_NORMAL,
                                          .deadline_ms = clock_monotonic_ms() + DEADLINE_MS,
                                          .done = on_done,
                                          .ctx = result};
    int before = completions;
    ath_err err;

    err = hsm_pool_sign(fixture.athd.hsms, &ref, ath_slice_of_string("m"), &params, NULL);
    if (err != ATH_OK)
        return err;
    fixture_run_until(&fixture, &completions, before + 1);
    return result->err;
}

static void
test_each_failing_allocation_fails_the_job_and_leaves_the_pool_whole(void **state)
{
    struct result result = {0};

    (void)state;
    begin("swtpm:");
    each_allocation_failing(submit_once, &result);
    assert_int_equal(submit_once(&result), ATH_OK);
    end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hardware_begins_with_no_more_than_it_does_at_once),
        cmocka_unit_test(test_sign_opens_the_key_once_a_helper_life),
        cmocka_unit_test(test_key_create_gives_blob_and_kind_is_known),
        cmocka_unit_test(test_counter_is_stepped_with_its_key_open),
        cmocka_unit_test(test_counter_step_is_never_repeated),
        cmocka_unit_test(test_unknown_hsm_is_refused_at_once),
        cmocka_unit_test(test_queue_is_fair_and_heeds_priority),
        cmocka_unit_test(test_crash_is_one_retry_for_the_caller),
        cmocka_unit_test(test_crash_at_each_try_fails_the_job_but_not_the_pool),
        cmocka_unit_test(test_hanging_helper_is_killed_and_the_job_repeated),
        cmocka_unit_test(test_key_that_cannot_be_opened_tells_why_at_its_signature),
        cmocka_unit_test(test_forgotten_key_is_opened_again),
        cmocka_unit_test(test_absent_hsm_is_waited_for_until_the_deadline),
        cmocka_unit_test(test_absent_hsm_that_comes_back_serves_what_waited),
        cmocka_unit_test(test_states_tell_refusal_and_missing_helper_apart_from_absence),
        cmocka_unit_test(test_cancelled_job_ends_once_queued_or_flying),
        cmocka_unit_test(test_one_caller_cannot_queue_without_end),
        cmocka_unit_test(test_some_callers_together_leave_room_for_another),
        cmocka_unit_test(test_create_is_not_repeated_where_the_token_would_keep_both),
        cmocka_unit_test(test_close_ends_what_waits_and_kills_a_deaf_helper),
        cmocka_unit_test(test_each_failing_allocation_fails_the_job_and_leaves_the_pool_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
