#include "hsm/pkcs11/pkcs11_error.h"
#include "support.h"

#define LIBRARY_LOAD_FAILED 0x1b7UL /* p11-kit has another number */

struct expectation {
    CK_RV rv;
    enum pkcs11_action action;
    ath_err err;
};

/* What this program does something about, or what people can. */
static const struct expectation expectations[] = {
    {CKR_CANCEL, PKCS11_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {CKR_HOST_MEMORY, PKCS11_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {CKR_SLOT_ID_INVALID, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
    {CKR_GENERAL_ERROR, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
    {CKR_FUNCTION_FAILED, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
    {CKR_DEVICE_ERROR, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
    {CKR_DEVICE_MEMORY, PKCS11_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {CKR_DEVICE_REMOVED, PKCS11_ACTION_NEW_SESSION, ATH_ERR_HSM_ERROR},
    {CKR_TOKEN_NOT_PRESENT, PKCS11_ACTION_NEW_SESSION, ATH_ERR_HSM_ERROR},
    {CKR_TOKEN_NOT_RECOGNIZED, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
    {CKR_CRYPTOKI_NOT_INITIALIZED, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
    {CKR_KEY_HANDLE_INVALID, PKCS11_ACTION_FIND_AGAIN, ATH_ERR_HSM_ERROR},
    {CKR_OBJECT_HANDLE_INVALID, PKCS11_ACTION_FIND_AGAIN, ATH_ERR_HSM_ERROR},
    {CKR_SESSION_HANDLE_INVALID, PKCS11_ACTION_NEW_SESSION, ATH_ERR_HSM_ERROR},
    {CKR_SESSION_CLOSED, PKCS11_ACTION_NEW_SESSION, ATH_ERR_HSM_ERROR},
    {CKR_OPERATION_ACTIVE, PKCS11_ACTION_NEW_SESSION, ATH_ERR_HSM_ERROR},
    {CKR_OPERATION_NOT_INITIALIZED, PKCS11_ACTION_NEW_SESSION, ATH_ERR_HSM_ERROR},
    {CKR_SESSION_COUNT, PKCS11_ACTION_REPORT, ATH_ERR_HSM_BUSY},
    {CKR_TOKEN_RESOURCE_EXCEEDED, PKCS11_ACTION_REPORT, ATH_ERR_HSM_BUSY},
    {CKR_PIN_INCORRECT, PKCS11_ACTION_REPORT, ATH_ERR_PIN_INCORRECT},
    {CKR_PIN_INVALID, PKCS11_ACTION_REPORT, ATH_ERR_PIN_INCORRECT},
    {CKR_PIN_LEN_RANGE, PKCS11_ACTION_REPORT, ATH_ERR_PIN_INCORRECT},
    {CKR_PIN_EXPIRED, PKCS11_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {CKR_PIN_LOCKED, PKCS11_ACTION_REPORT, ATH_ERR_PIN_LOCKED},
    {CKR_USER_NOT_LOGGED_IN, PKCS11_ACTION_CHECK, ATH_ERR_PIN_REQUIRED},
    {CKR_USER_PIN_NOT_INITIALIZED, PKCS11_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {CKR_USER_ANOTHER_ALREADY_LOGGED_IN, PKCS11_ACTION_REPORT, ATH_ERR_HSM_BUSY},
    {CKR_FUNCTION_CANCELED, PKCS11_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {CKR_FUNCTION_REJECTED, PKCS11_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {CKR_FUNCTION_NOT_SUPPORTED, PKCS11_ACTION_REPORT, ATH_ERR_UNSUPPORTED_ALGORITHM},
    {CKR_MECHANISM_INVALID, PKCS11_ACTION_REPORT, ATH_ERR_UNSUPPORTED_ALGORITHM},
    {CKR_CURVE_NOT_SUPPORTED, PKCS11_ACTION_REPORT, ATH_ERR_UNSUPPORTED_ALGORITHM},
    {CKR_DOMAIN_PARAMS_INVALID, PKCS11_ACTION_REPORT, ATH_ERR_UNSUPPORTED_ALGORITHM},
    {CKR_KEY_FUNCTION_NOT_PERMITTED, PKCS11_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {CKR_TOKEN_WRITE_PROTECTED, PKCS11_ACTION_REPORT, ATH_ERR_HSM_ERROR},
    {CKR_VENDOR_DEFINED, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
    {CKR_VENDOR_DEFINED | 0x1234, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
    {0x7777, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
    {(CK_RV)-1, PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR},
};

/* PKCS #11 3.1, pkcs11t.h: every return value there is, in order. */
static const CK_RV standard[] = {
    0x1,   0x2,   0x3,   0x5,   0x6,   0x7,   0x8,   0x9,   0xa,   0x10,  0x11,  0x12,  0x13,
    0x1a,  0x1b,  0x20,  0x21,  0x30,  0x31,  0x32,  0x40,  0x41,  0x42,  0x50,  0x51,  0x54,
    0x60,  0x62,  0x63,  0x64,  0x65,  0x66,  0x67,  0x68,  0x69,  0x6a,  0x70,  0x71,  0x82,
    0x90,  0x91,  0xa0,  0xa1,  0xa2,  0xa3,  0xa4,  0xb0,  0xb1,  0xb3,  0xb4,  0xb5,  0xb6,
    0xb7,  0xb8,  0xc0,  0xc1,  0xd0,  0xd1,  0xe0,  0xe1,  0xe2,  0xf0,  0xf1,  0xf2,  0x100,
    0x101, 0x102, 0x103, 0x104, 0x105, 0x110, 0x112, 0x113, 0x114, 0x115, 0x120, 0x121, 0x130,
    0x140, 0x150, 0x160, 0x170, 0x180, 0x190, 0x191, 0x1a0, 0x1a1, 0x1b0, 0x1b1, 0x1b5, 0x1b6,
    0x1b7, 0x1b8, 0x1b9, 0x200, 0x201, 0x202, 0x203,
};

static void
test_each_code_has_its_action_and_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
        const struct expectation *want = &expectations[i];
        const struct pkcs11_error *got = pkcs11_error_of(want->rv);

        if (got->action != want->action || got->err != want->err)
            fail_msg("0x%lx: action %d, %s", want->rv, (int)got->action, ath_err_reason(got->err));
    }
}

static void
test_every_standard_code_has_a_name_and_a_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(standard) / sizeof(standard[0]); i++) {
        const struct pkcs11_error *error = pkcs11_error_of(standard[i]);

        if (error->code != standard[i] || strncmp(error->name, "CKR_", 4) != 0)
            fail_msg("0x%lx is not in the table", standard[i]);
        assert_true(strlen(error->sentence) > 10);
        assert_true(error->err != ATH_OK);
    }
}

/* A module cannot say, with a code, that the token is gone or that all is well. */
static void
test_no_code_alone_means_that_the_token_is_gone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(standard) / sizeof(standard[0]); i++) {
        if (standard[i] != LIBRARY_LOAD_FAILED)
            assert_int_not_equal(pkcs11_error_of(standard[i])->err, ATH_ERR_HSM_UNAVAILABLE);
    }
}

static void
test_report_says_what_failed_and_keeps_the_code(void **state)
{
    struct hsm_fault fault = {0};

    (void)state;
    assert_int_equal(pkcs11_error_report(CKR_OK, "sign", &fault), ATH_OK);
    assert_int_equal(fault.native, 0);
    assert_string_equal(fault.why.text, "");
    assert_int_equal(pkcs11_error_report(CKR_PIN_LOCKED, "log in to the token", &fault),
                     ATH_ERR_PIN_LOCKED);
    assert_int_equal(fault.native, CKR_PIN_LOCKED);
    assert_non_null(strstr(fault.why.text, "cannot log in to the token: "));
    assert_non_null(strstr(fault.why.text, "0xa4 CKR_PIN_LOCKED"));
}

/* On 64 bits a module can return more than the wire carries; it must not become "no code". */
static void
test_code_that_is_none_is_a_failure(void **state)
{
    struct hsm_fault fault = {0};

    (void)state;
    assert_int_equal(pkcs11_error_report((CK_RV)UINT32_MAX + 1, "sign", &fault), ATH_ERR_HSM_ERROR);
    assert_int_not_equal(fault.native, 0);
    assert_int_equal(pkcs11_error_action(&fault), PKCS11_ACTION_CHECK);
    assert_int_equal(pkcs11_error_nonsense("sign", "lies", &fault), ATH_ERR_HSM_ERROR);
    assert_int_equal(fault.native, 0);
    assert_int_equal(pkcs11_error_action(&fault), PKCS11_ACTION_REPORT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_code_has_its_action_and_error),
        cmocka_unit_test(test_every_standard_code_has_a_name_and_a_sentence),
        cmocka_unit_test(test_no_code_alone_means_that_the_token_is_gone),
        cmocka_unit_test(test_report_says_what_failed_and_keeps_the_code),
        cmocka_unit_test(test_code_that_is_none_is_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
