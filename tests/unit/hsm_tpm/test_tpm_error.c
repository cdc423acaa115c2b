#include "hsm/tpm/tpm_error.h"
#include "support.h"

struct expectation {
    TSS2_RC rc;
    enum tpm_class class;
    enum tpm_action action;
    ath_err err;
};

static const struct expectation expectations[] = {
    {0x98e, TPM_CLASS_AUTH, TPM_ACTION_REPORT, ATH_ERR_PIN_INCORRECT},
    {0x9a2, TPM_CLASS_AUTH, TPM_ACTION_NEW_SESSION, ATH_ERR_PIN_INCORRECT},
    {0xaa2, TPM_CLASS_AUTH, TPM_ACTION_NEW_SESSION, ATH_ERR_PIN_INCORRECT}, /* second session */
    {0x921, TPM_CLASS_LOCKOUT, TPM_ACTION_REPORT, ATH_ERR_PIN_LOCKED},
    {0x922, TPM_CLASS_TRANSIENT, TPM_ACTION_RESEND, ATH_ERR_HSM_BUSY},
    {0x908, TPM_CLASS_TRANSIENT, TPM_ACTION_RESEND, ATH_ERR_HSM_BUSY},
    {0x90a, TPM_CLASS_TRANSIENT, TPM_ACTION_RESEND, ATH_ERR_HSM_BUSY},
    {0x920, TPM_CLASS_TRANSIENT, TPM_ACTION_RESEND, ATH_ERR_HSM_BUSY},
    {0x902, TPM_CLASS_RESOURCE, TPM_ACTION_EVICT, ATH_ERR_HSM_BUSY},
    {0xb0902, TPM_CLASS_RESOURCE, TPM_ACTION_EVICT, ATH_ERR_HSM_BUSY}, /* through tpm2-abrmd */
    {0xc0902, TPM_CLASS_RESOURCE, TPM_ACTION_EVICT, ATH_ERR_HSM_BUSY},
    {0x903, TPM_CLASS_RESOURCE, TPM_ACTION_NEW_SESSION, ATH_ERR_HSM_BUSY},
    {0x905, TPM_CLASS_RESOURCE, TPM_ACTION_NEW_SESSION, ATH_ERR_HSM_BUSY},
    {0x901, TPM_CLASS_RESOURCE, TPM_ACTION_NEW_SESSION, ATH_ERR_HSM_BUSY},
    {0x910, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR},
    {0x912, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR},
    {0x918, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR},
    {0x1df, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR},
    {0x18b, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR},
    {0xb018b, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR},
    {0xa000a, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE},
    {0xa0011, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE},
    {0x70007, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE},
    {0x80013, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE},
    {0x80011, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE},
    {0x100, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE},
    {0x101, TPM_CLASS_FATAL, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {0x99d, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {0x12f, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {0x182, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {0x2c2, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {0x1c4, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {0x4c4, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {0x3e0, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {0x14b, TPM_CLASS_FULL, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {TPM_RC_RESPONSE_HMAC, TPM_CLASS_INTEGRITY, TPM_ACTION_NEW_SESSION, ATH_ERR_HSM_ERROR},
    {0x1d5, TPM_CLASS_OTHER, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR},   /* size of parameter 1 */
    {0xb0002, TPM_CLASS_OTHER, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR}, /* the manager's own */
};

static void
test_each_code_has_its_class_action_and_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
        const struct expectation *want = &expectations[i];
        const struct tpm_error *got = tpm_error_of(want->rc);

        if (got->class != want->class || got->action != want->action || got->err != want->err)
            fail_msg("0x%x: class %d, action %d, %s", want->rc, (int)got->class, (int)got->action,
                     ath_err_reason(got->err));
    }
}

static void
test_report_keeps_the_code_and_says_it_in_words(void **state)
{
    struct hsm_fault fault = {0};

    (void)state;
    assert_int_equal(tpm_error_report(0x922, "sign", &fault), ATH_ERR_HSM_BUSY);
    assert_int_equal(fault.native, 0x922);
    assert_non_null(strstr(fault.why.text, "cannot sign: the TPM is busy (0x922 "));
    assert_int_equal(tpm_error_action(&fault), TPM_ACTION_RESEND);
}

static void
test_success_leaves_the_fault_alone(void **state)
{
    struct hsm_fault fault = {.native = 7};

    (void)state;
    assert_int_equal(tpm_error_report(0, "sign", &fault), ATH_OK);
    assert_int_equal(fault.native, 7);
    fault.native = 0;
    assert_int_equal(tpm_error_action(&fault), TPM_ACTION_REPORT);
}

static void
test_parameters_are_told_from_handles_and_sessions(void **state)
{
    (void)state;
    assert_true(tpm_error_is_of_parameter(0x1df));
    assert_true(tpm_error_is_of_parameter(0xb02c2));
    assert_false(tpm_error_is_of_parameter(0x18b));
    assert_false(tpm_error_is_of_parameter(0x9a2));
    assert_false(tpm_error_is_of_parameter(0x902));
    assert_false(tpm_error_is_of_parameter(0xa00c5));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_code_has_its_class_action_and_error),
        cmocka_unit_test(test_report_keeps_the_code_and_says_it_in_words),
        cmocka_unit_test(test_success_leaves_the_fault_alone),
        cmocka_unit_test(test_parameters_are_told_from_handles_and_sessions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
