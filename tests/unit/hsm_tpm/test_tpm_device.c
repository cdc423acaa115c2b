/* Faults between us and a real swtpm: what is resent, mended, reported, refused. */
#include "fixture_tpm.h"

#include "hsm/tpm/tpm_error.h"
#include "hsm/tpm/tpm_transport.h"

static void
arm(struct fixture *fixture, enum fault_kind kind, TPM2_CC command, unsigned times)
{
    struct fault_tcti *fault = fixture->fault;

    fault->kind = kind;
    fault->command = command;
    fault->times = times;
    memset(fault->sent_of, 0, sizeof(fault->sent_of));
}

static void
arm_code(struct fixture *fixture, TPM2_CC command, uint32_t code, unsigned times)
{
    arm(fixture, FAULT_CODE, command, times);
    fixture->fault->code = code;
}

static void
test_resident_key_signs_with_one_command(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    unsigned before = fixture->fault->sent;

    fixture_must_sign(fixture, key);
    assert_int_equal(fixture->fault->sent - before, 1);
    tpm_key_close(fixture->device, key);
}

static void
test_retry_yielded_testing_and_rate_are_sent_again(void **state)
{
    static const uint32_t codes[] = {0x922, 0x908, 0x90a, 0x920};
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        arm_code(fixture, TPM2_CC_Sign, codes[i], 3);
        fixture_must_sign(fixture, key);
        assert_int_equal(fixture->fault->sent_of[TPM2_CC_Sign & 0x1ff], 4);
        assert_int_equal(fixture->fault->sent_of[TPM2_CC_StartAuthSession & 0x1ff], 0);
    }
    tpm_key_close(fixture->device, key);
}

static void
test_flipped_response_bit_is_noticed_and_mended_once(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);

    arm(fixture, FAULT_FLIP, TPM2_CC_Sign, 1);
    fixture->fault->at = 80; /* in the signature */
    fixture_must_sign(fixture, key);
    assert_int_equal(fixture->device->hmac_failures, 1);
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_StartAuthSession & 0x1ff], 1);
    tpm_key_close(fixture->device, key);
}

static void
test_each_flipped_bit_of_nonce_attributes_and_hmac_is_noticed(void **state)
{
    static const unsigned places[] = {0, 31, 34, 35, 66}; /* hmac, attributes, nonce */

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct fixture *fixture = *state;
        struct hsm_key *key = fixture_key(fixture, KEY_ES256);

        arm(fixture, FAULT_FLIP, TPM2_CC_Sign, 1);
        fixture->fault->at = places[i];
        fixture_must_sign(fixture, key);
        assert_int_equal(fixture->device->hmac_failures, 1);
        fixture->device->hmac_failures = 0;
        tpm_key_close(fixture->device, key);
    }
}

static void
test_second_changed_response_closes_the_device(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_fault fault;

    arm(fixture, FAULT_FLIP, TPM2_CC_Sign, 2);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(strstr(fault.why.text, "changed on their way"));
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_Sign & 0x1ff], 2);
    tpm_key_close(fixture->device, key);
}

/* The first one was mended; that a signature came in between makes the second no better. */
static void
test_second_changed_response_closes_the_device_however_late(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_fault fault;

    arm(fixture, FAULT_FLIP, TPM2_CC_Sign, 1);
    fixture_must_sign(fixture, key);
    fixture_must_sign(fixture, key);
    arm(fixture, FAULT_FLIP, TPM2_CC_Sign, 1);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(strstr(fault.why.text, "changed on their way"));
    tpm_key_close(fixture->device, key);
}

static void
refuses_malformed(struct fixture *fixture, enum fault_kind kind, unsigned at)
{
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_fault fault;

    arm(fixture, kind, TPM2_CC_Sign, 1);
    fixture->fault->at = at;
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(fault.native, TSS2_TCTI_RC_MALFORMED_RESPONSE);
    tpm_key_close(fixture->device, key);
}

static void
test_bare_success_is_refused(void **state)
{
    refuses_malformed(*state, FAULT_BARE_SUCCESS, 0);
}

static void
test_short_response_is_refused(void **state)
{
    refuses_malformed(*state, FAULT_SHORT, 1);
}

static void
test_long_response_is_refused(void **state)
{
    refuses_malformed(*state, FAULT_LONG, 0);
}

static void
test_bare_success_gives_no_random_bytes(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault = {0};
    uint8_t bytes[64];

    arm(fixture, FAULT_BARE_SUCCESS, TPM2_CC_GetRandom, 1);
    assert_int_equal(tpm_random(fixture->device, bytes, sizeof(bytes), &fault),
                     ATH_ERR_HSM_UNAVAILABLE);
}

static void
test_random_bytes_come_encrypted(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault = {0};
    uint8_t a[64] = {0}, b[64] = {0}, zero[64] = {0};

    assert_int_equal(tpm_random(fixture->device, a, sizeof(a), &fault), ATH_OK);
    assert_int_equal(tpm_random(fixture->device, b, sizeof(b), &fault), ATH_OK);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + 32, zero, 32);
}

static void
test_full_object_memory_evicts_the_oldest_key(void **state)
{
    static const TPM2_CC commands[] = {TPM2_CC_Load, TPM2_CC_ContextLoad, TPM2_CC_Sign};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        struct hsm_key *a = fixture_key(fixture, KEY_ES256), *b = fixture_key(fixture, KEY_ES256);

        while (b->object.resident && commands[i] != TPM2_CC_Sign)
            assert_true(tpm_slots_evict(&fixture->device->slots));
        if (commands[i] == TPM2_CC_Load)
            ath_buf_done(&b->object.saved);
        fixture_must_sign(fixture, a); /* somebody to be evicted */
        arm_code(fixture, commands[i], 0x902, 1);
        fixture_must_sign(fixture, b);
        assert_int_equal(fixture->fault->times, 0);
        fixture_must_sign(fixture, a);
        tpm_key_close(fixture->device, a);
        tpm_key_close(fixture->device, b);
    }
}

static void
test_object_memory_that_stays_full_is_busy(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_fault fault;

    arm_code(fixture, TPM2_CC_Sign, 0x902, 1000);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_HSM_BUSY);
    arm(fixture, FAULT_NONE, 0, 0);
    fixture_must_sign(fixture, key);
    tpm_key_close(fixture->device, key);
}

static void
test_context_gap_and_unknown_session_start_a_new_one(void **state)
{
    static const uint32_t codes[] = {0x901, 0x918, 0x9a2};
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        arm_code(fixture, TPM2_CC_Sign, codes[i], 1);
        fixture_must_sign(fixture, key);
        assert_int_equal(fixture->fault->sent_of[TPM2_CC_StartAuthSession & 0x1ff], 1);
    }
    tpm_key_close(fixture->device, key);
    fixture_close(fixture);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_LOADED_SESSION), 0);
}

static void
test_lost_objects_are_loaded_again(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct tpm_context *context = fixture_context(fixture);
    struct hsm_fault fault = {0};
    unsigned count;

    assert_int_equal(tpm_context_flush_all(context, TPM_FIRST_TRANSIENT, &fault, &count), ATH_OK);
    assert_true(count > 0);
    tpm_context_free(context);
    fixture_must_sign(fixture, key);
    tpm_key_close(fixture->device, key);
}

static void
test_stale_saved_context_falls_back_to_the_blob(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);

    while (tpm_slots_evict(&fixture->device->slots))
        ;
    assert_true(key->object.saved.len > 0);
    key->object.saved.data[key->object.saved.len - 1] ^= 1;
    arm(fixture, FAULT_NONE, 0, 0);
    fixture_must_sign(fixture, key);
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_Load & 0x1ff], 1);
    tpm_key_close(fixture->device, key);
}

static void
test_wrong_pin_of_a_counting_key_is_never_tried_again(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_fault fault;

    arm_code(fixture, TPM2_CC_Sign, 0x98e, 1000);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_Sign & 0x1ff], 1);
    arm_code(fixture, TPM2_CC_Sign, 0x9a2, 1000);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_Sign & 0x1ff], 2);
    arm_code(fixture, TPM2_CC_Sign, 0x921, 1000);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_PIN_LOCKED);
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_Sign & 0x1ff], 1);
    tpm_key_close(fixture->device, key);
}

static void
test_failure_mode_is_reported_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_fault fault;

    arm_code(fixture, TPM2_CC_Sign, 0x101, 1000);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_HSM_ERROR);
    assert_int_equal(fault.native, 0x101);
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_Sign & 0x1ff], 1);
    tpm_key_close(fixture->device, key);
}

static void
test_reset_tpm_is_gone_and_nothing_more_is_sent(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_fault fault;
    unsigned sent;

    arm_code(fixture, TPM2_CC_Sign, 0x100, 1);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_HSM_UNAVAILABLE);
    sent = fixture->fault->sent;
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(fixture->fault->sent, sent);
    tpm_key_close(fixture->device, key);
}

static void
test_lost_connection_is_gone(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES384);
    struct hsm_fault fault;

    arm(fixture, FAULT_GONE, 0, 1000);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_HSM_UNAVAILABLE);
    tpm_key_close(fixture->device, key);
}

static void
test_session_is_renewed_before_its_time(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_fault fault = {0};
    uint8_t bytes[8];

    arm(fixture, FAULT_NONE, 0, 0);
    for (unsigned i = 0; i < TPM_SESSION_MAX_USES; i++)
        assert_int_equal(tpm_random(fixture->device, bytes, sizeof(bytes), &fault), ATH_OK);
    fixture_must_sign(fixture, key);
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_StartAuthSession & 0x1ff], 1);
    tpm_key_close(fixture->device, key);
    fixture_close(fixture);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_LOADED_SESSION), 0);
}

/* What an unclean program leaves: transient objects, and sessions in all three places. */
static void
leave_sessions(struct tpm_context *context, unsigned count)
{
    const TPMT_SYM_DEF symmetric = {.algorithm = TPM2_ALG_NULL};
    TPM2B_NONCE caller = {.size = 16}, tpm = {.size = sizeof(tpm.buffer)};
    TPM2_HANDLE handle;

    for (unsigned i = 0; i < count; i++) {
        tpm.size = sizeof(tpm.buffer);
        assert_int_equal(Tss2_Sys_StartAuthSession(context->sys, TPM2_RH_NULL, TPM2_RH_NULL, NULL,
                                                   &caller, NULL, TPM2_SE_HMAC, &symmetric,
                                                   TPM2_ALG_SHA256, &handle, &tpm, NULL),
                         0);
    }
}

static void
test_sessions_that_others_left_make_room(void **state)
{
    struct fixture *fixture = *state;
    struct tpm_context *context = fixture_context(fixture);
    struct hsm_fault fault = {0};

    assert_int_equal(tpm_context_startup(context, &fault), ATH_OK);
    leave_sessions(context, 3);
    tpm_context_free(context);
    assert_int_equal(fixture_open(fixture, &fault), ATH_OK);
    fixture_close(fixture);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_LOADED_SESSION), 0);
}

static void
test_idle_session_of_another_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct tpm_context *context = fixture_context(fixture);
    struct hsm_fault fault = {0};

    assert_int_equal(tpm_context_startup(context, &fault), ATH_OK);
    leave_sessions(context, 1);
    tpm_context_free(context);
    assert_int_equal(fixture_open(fixture, &fault), ATH_OK);
    fixture_close(fixture);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_LOADED_SESSION), 1);
}

static void
test_clean_end_shuts_the_tpm_down_last(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);

    fixture_must_sign(fixture, key);
    tpm_key_close(fixture->device, key);
    fixture_close(fixture);
    assert_int_equal(fixture_last_command(), TPM2_CC_Shutdown);
}

static void
test_tpm_behind_a_resource_manager_is_not_shut_down(void **state)
{
    struct fixture *fixture = *state;

    fixture->device->exclusive = false;
    fixture_close(fixture);
    assert_int_equal(fixture_last_command(), TPM2_CC_FlushContext);
}

static ath_err
open_and_close(void *ctx)
{
    struct fixture *fixture = ctx;
    struct hsm_fault fault = {0};
    struct hsm *hsm = NULL;
    struct tpm_connection connection = {.exclusive = true};
    struct fault_tcti *lower;
    ath_err err;

    if ((lower = calloc(1, sizeof(*lower))) == NULL)
        return ATH_ERR_NOMEM;
    *lower = *fixture->fault;
    err = tpm_transport_over_tcti((TSS2_TCTI_CONTEXT *)(void *)lower, false, &connection.transport);
    if (err != ATH_OK) {
        free(lower);
        return err;
    }
    if ((err = tpm_backend_open_connection(&connection, &fault, &hsm)) == ATH_OK)
        tpm_backend_ops.close(hsm);
    return err;
}

static ath_err
make_and_use_key(void *ctx)
{
    struct fixture *fixture = ctx;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;
    ath_err err;

    err = tpm_key_create(fixture->device, KEY_ES256, HSM_KEY_IDENTITY, &fault, &blob);
    if (err == ATH_OK)
        err = tpm_key_open(fixture->device, ath_buf_slice(&blob), &fault, &key);
    if (err == ATH_OK)
        err = fixture_sign(fixture, key, &fault);
    tpm_key_close(fixture->device, key);
    ath_buf_done(&blob);
    return err;
}

static void
test_each_failing_allocation_is_survived(void **state)
{
    each_allocation_failing(make_and_use_key, *state);
    each_allocation_failing(open_and_close, *state);
}

#define WITH_TPM(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
#define WITH_CLOSED(test)                                                                          \
    cmocka_unit_test_setup_teardown(test, fixture_setup_closed, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TPM(test_resident_key_signs_with_one_command),
        WITH_TPM(test_retry_yielded_testing_and_rate_are_sent_again),
        WITH_TPM(test_flipped_response_bit_is_noticed_and_mended_once),
        WITH_TPM(test_each_flipped_bit_of_nonce_attributes_and_hmac_is_noticed),
        WITH_TPM(test_second_changed_response_closes_the_device),
        WITH_TPM(test_second_changed_response_closes_the_device_however_late),
        WITH_TPM(test_bare_success_is_refused),
        WITH_TPM(test_short_response_is_refused),
        WITH_TPM(test_long_response_is_refused),
        WITH_TPM(test_bare_success_gives_no_random_bytes),
        WITH_TPM(test_random_bytes_come_encrypted),
        WITH_TPM(test_full_object_memory_evicts_the_oldest_key),
        WITH_TPM(test_object_memory_that_stays_full_is_busy),
        WITH_TPM(test_context_gap_and_unknown_session_start_a_new_one),
        WITH_TPM(test_lost_objects_are_loaded_again),
        WITH_TPM(test_stale_saved_context_falls_back_to_the_blob),
        WITH_TPM(test_wrong_pin_of_a_counting_key_is_never_tried_again),
        WITH_TPM(test_failure_mode_is_reported_at_once),
        WITH_TPM(test_reset_tpm_is_gone_and_nothing_more_is_sent),
        WITH_TPM(test_lost_connection_is_gone),
        WITH_TPM(test_session_is_renewed_before_its_time),
        WITH_CLOSED(test_sessions_that_others_left_make_room),
        WITH_CLOSED(test_idle_session_of_another_is_left_alone),
        WITH_TPM(test_clean_end_shuts_the_tpm_down_last),
        WITH_TPM(test_tpm_behind_a_resource_manager_is_not_shut_down),
        WITH_TPM(test_each_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
