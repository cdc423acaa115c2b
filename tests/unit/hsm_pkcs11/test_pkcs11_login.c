#include "fixture_token.h"

#include "hsm/pkcs11/pkcs11_login.h"

static struct hsm_info
info_of(struct fixture *fixture)
{
    struct hsm_info info;

    pkcs11_backend_ops.info(fixture->hsm, &info);
    return info;
}

static void
test_wrong_pin_costs_exactly_one_try(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    fixture_fake(fixture);
    assert_int_equal(fixture_login(fixture, "13572468", &fault), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(fixture_logins, 1);
    assert_int_equal(fault.native, CKR_PIN_INCORRECT);
    fixture_must_say(&fault, "the try counts");
    assert_null(strstr(fault.why.text, "13572468"));
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    assert_int_equal(fixture_logins, 2);
}

static void
test_pin_of_impossible_length_is_not_tried(void **state)
{
    struct fixture *fixture = *state;
    char long_pin[300];
    struct hsm_fault fault;

    fixture_fake(fixture);
    memset(long_pin, '1', sizeof(long_pin) - 1);
    long_pin[sizeof(long_pin) - 1] = '\0';
    assert_int_equal(fixture_login(fixture, "123", &fault), ATH_ERR_PIN_INCORRECT);
    fixture_must_say(&fault, "no try was spent");
    assert_int_equal(fixture_login(fixture, long_pin, &fault), ATH_ERR_PIN_INCORRECT);
    fixture_must_say(&fault, "4 to 255 characters");
    assert_int_equal(fixture_login(fixture, "", &fault), ATH_ERR_PIN_INCORRECT);
    fixture_must_say(&fault, "no try was spent");
    assert_int_equal(fixture_logins, 0);
}

static void
test_limits_that_make_no_sense_are_none(void **state)
{
    static const CK_ULONG limits[][2] = {{8, 4}, {0, 0}, {0, CK_UNAVAILABLE_INFORMATION}};
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    for (size_t i = 0; i < 3; i++) {
        fixture->token->now.ulMinPinLen = limits[i][0];
        fixture->token->now.ulMaxPinLen = limits[i][1];
        assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
        pkcs11_backend_ops.logout(fixture->hsm);
    }
}

static void
test_being_logged_in_already_is_fine(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
}

/* A token that has somebody logged in judges no PIN (CKR_USER_ALREADY_LOGGED_IN). */
static void
test_wrong_pin_is_wrong_though_somebody_is_logged_in(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_fault fault;

    fixture_must_sign(fixture, 1, key);
    fixture_fake(fixture);
    assert_int_equal(fixture_login(fixture, "13572468", &fault), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(fixture_logins, 1);
    assert_int_equal(fixture_sign(fixture, 1, key, FIXTURE_PIN, &fault), ATH_ERR_PIN_REQUIRED);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    fixture_must_sign(fixture, 1, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_pad_that_has_asked_does_not_ask_again(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    fixture_fake(fixture);
    fixture->token->info.login = HSM_LOGIN_PAD;
    assert_int_equal(fixture_login(fixture, "", &fault), ATH_OK);
    assert_int_equal(fixture_logins, 0);
}

/* The login is all sessions': that of a worker holds it, too. */
static void
test_logout_is_one_also_when_the_first_session_was_lost(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_fault fault;

    fixture_must_sign(fixture, 1, key);
    pkcs11_session_drop(fixture->token, PKCS11_MAIN_SESSION);
    fixture_must_sign(fixture, 1, key);
    pkcs11_backend_ops.logout(fixture->hsm);
    assert_int_equal(fixture_sign(fixture, 1, key, FIXTURE_PIN, &fault), ATH_ERR_PIN_REQUIRED);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* ---- tokens that lock, have a pad, or none at all ---- */

static CK_RV login_answer;
static CK_FLAGS extra_flags;
static const CK_UTF8CHAR *last_pin;
static CK_ULONG last_pin_len;
static CK_USER_TYPE last_user;

static CK_RV
answering_login(CK_SESSION_HANDLE session, CK_USER_TYPE type, CK_UTF8CHAR *pin, CK_ULONG len)
{
    (void)session;
    fixture_logins++;
    last_user = type;
    last_pin = pin;
    last_pin_len = len;
    return login_answer;
}

static CK_RV
flagged_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = fixture_real->C_GetTokenInfo(slot, info);

    info->flags |= extra_flags;
    return rv;
}

static void
test_tries_left_are_read_again_after_each_try(void **state)
{
    struct fixture *fixture = *state;
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct hsm_fault fault;

    fake->C_Login = answering_login;
    fake->C_GetTokenInfo = flagged_token_info;
    login_answer = CKR_PIN_INCORRECT;
    extra_flags = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY;
    assert_int_equal(fixture_login(fixture, "1111", &fault), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(info_of(fixture).tries_left, 1);
    assert_false(info_of(fixture).pin_locked);
    extra_flags = CKF_USER_PIN_LOCKED;
    login_answer = CKR_PIN_LOCKED;
    assert_int_equal(fixture_login(fixture, "1111", &fault), ATH_ERR_PIN_LOCKED);
    assert_true(info_of(fixture).pin_locked);
    assert_int_equal(info_of(fixture).tries_left, 0);
    extra_flags = 0;
    login_answer = CKR_OK;
    assert_int_equal(fixture_login(fixture, "1111", &fault), ATH_OK);
    assert_false(info_of(fixture).pin_locked);
}

static void
test_token_that_says_locked_without_the_flag_is_locked(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    fixture_fake(fixture)->C_Login = answering_login;
    login_answer = CKR_PIN_LOCKED;
    assert_int_equal(fixture_login(fixture, "1111", &fault), ATH_ERR_PIN_LOCKED);
    assert_true(info_of(fixture).pin_locked);
}

static void
test_no_answer_of_a_token_makes_us_try_again(void **state)
{
    static const struct {
        CK_RV rv;
        ath_err err;
        bool leaves_doubt; /* may have cost a try */
    } answers[] = {
        {CKR_OK, ATH_OK, false},
        {CKR_PIN_INCORRECT, ATH_ERR_PIN_INCORRECT, false},
        {CKR_PIN_INVALID, ATH_ERR_PIN_INCORRECT, false},
        {CKR_PIN_LEN_RANGE, ATH_ERR_PIN_INCORRECT, false},
        {CKR_PIN_LOCKED, ATH_ERR_PIN_LOCKED, false},
        {CKR_PIN_EXPIRED, ATH_ERR_HSM_ERROR, false},
        {CKR_USER_PIN_NOT_INITIALIZED, ATH_ERR_HSM_ERROR, false},
        {CKR_USER_ANOTHER_ALREADY_LOGGED_IN, ATH_ERR_HSM_BUSY, false},
        {CKR_USER_NOT_LOGGED_IN, ATH_ERR_HSM_ERROR, true},
        {CKR_FUNCTION_CANCELED, ATH_ERR_HSM_ERROR, false},
        {CKR_FUNCTION_NOT_SUPPORTED, ATH_ERR_HSM_ERROR, false},
        {CKR_SESSION_HANDLE_INVALID, ATH_ERR_HSM_ERROR, false},
        {CKR_OPERATION_ACTIVE, ATH_ERR_HSM_ERROR, true},
        {CKR_DEVICE_REMOVED, ATH_ERR_HSM_ERROR, true},
        {CKR_DEVICE_ERROR, ATH_ERR_HSM_ERROR, true},
        {CKR_DEVICE_MEMORY, ATH_ERR_HSM_ERROR, true},
        {CKR_FUNCTION_FAILED, ATH_ERR_HSM_ERROR, true},
        {CKR_OBJECT_HANDLE_INVALID, ATH_ERR_HSM_ERROR, true},
        {CKR_GENERAL_ERROR, ATH_ERR_HSM_ERROR, true},
        {CKR_VENDOR_DEFINED, ATH_ERR_HSM_ERROR, true},
    };
    struct fixture *fixture = *state;
    struct hsm_fault fault = {0};

    fixture_fake(fixture)->C_Login = answering_login;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        fixture_logins = 0;
        login_answer = answers[i].rv;
        assert_int_equal(fixture_login(fixture, "1111", &fault), answers[i].err);
        assert_int_equal(fault.pin_in_doubt, answers[i].leaves_doubt);
        assert_int_equal(fixture_logins, 1);
    }
}

static bool is_gone;

static CK_RV
login_of_a_token_that_goes(CK_SESSION_HANDLE session, CK_USER_TYPE type, CK_UTF8CHAR *pin,
                           CK_ULONG len)
{
    is_gone = true;
    login_answer = CKR_DEVICE_ERROR;
    return answering_login(session, type, pin, len);
}

static CK_RV
info_of_a_token_that_goes(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    return is_gone ? CKR_TOKEN_NOT_PRESENT : fixture_real->C_GetTokenInfo(slot, info);
}

/* Who takes it out has a person's hands: that is no loop of tries. */
static void
test_token_that_is_gone_leaves_no_doubt_of_a_pin(void **state)
{
    struct fixture *fixture = *state;
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct hsm_fault fault = {0};

    is_gone = false;
    fake->C_Login = login_of_a_token_that_goes;
    fake->C_GetTokenInfo = info_of_a_token_that_goes;
    assert_int_equal(fixture_login(fixture, "1111", &fault), ATH_ERR_HSM_UNAVAILABLE);
    assert_false(fault.pin_in_doubt);
}

static void
test_reader_with_a_pad_is_given_no_pin(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    fixture_fake(fixture)->C_Login = answering_login;
    fixture->token->info.login = HSM_LOGIN_PAD;
    login_answer = CKR_OK;
    last_pin_len = 77;
    assert_int_equal(fixture_login(fixture, "", &fault), ATH_OK);
    assert_null(last_pin);
    assert_int_equal(last_pin_len, 0);
    assert_int_equal(last_user, CKU_USER);
}

/* The PIN lies in locked memory; the module is given that very memory. */
static void
test_pin_is_not_copied(void **state)
{
    static const char pin[] = "135791";
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    fixture_fake(fixture)->C_Login = answering_login;
    login_answer = CKR_OK;
    assert_int_equal(fixture_login(fixture, pin, &fault), ATH_OK);
    assert_ptr_equal(last_pin, pin);
    assert_int_equal(last_pin_len, 6);
}

static void
test_token_without_login_is_not_logged_in_to(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    fixture_fake(fixture)->C_Login = answering_login;
    fixture->token->info.login = HSM_LOGIN_NONE;
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    assert_int_equal(fixture_logins, 0);
}

/* ---- who is not logged in ---- */

static void
test_everything_asks_for_a_login_first(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct hsm_fault fault = {0};
    struct hsm_key *key, *closed;

    assert_int_equal(pkcs11_backend_ops.key_create(fixture->hsm, KEY_ES256, HSM_KEY_IDENTITY, "k",
                                                   &fault, &blob),
                     ATH_ERR_PIN_REQUIRED);
    assert_int_equal(blob.len, 0);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=k", &fault, &closed),
                     ATH_ERR_PIN_REQUIRED);
    fixture_must_say(&fault, "wants its PIN");
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    key = fixture_key(fixture, KEY_ES256, "k");
    fixture_must_sign(fixture, 0, key);
    fixture_must_sign(fixture, 1, key);
    fixture_fake(fixture);
    pkcs11_backend_ops.logout(fixture->hsm);
    for (unsigned worker = 0; worker < 2; worker++)
        assert_int_equal(fixture_sign(fixture, worker, key, FIXTURE_PIN, &fault),
                         ATH_ERR_PIN_REQUIRED);
    assert_int_equal(pkcs11_backend_ops.key_delete(fixture->hsm, key, &fault),
                     ATH_ERR_PIN_REQUIRED);
    assert_int_equal(fixture_logins, 0);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    for (unsigned worker = 0; worker < 2; worker++)
        fixture_must_sign(fixture, worker, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
    ath_buf_done(&blob);
}

/* Another user of the module in this process, or a token shared between programs, logs out. */
static void
test_logout_behind_our_back_asks_for_the_pin_and_does_not_log_in(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_fault fault;

    fixture_must_sign(fixture, 1, key);
    fixture_fake(fixture);
    assert_int_equal(fixture_real->C_Logout(fixture->token->sessions[PKCS11_MAIN_SESSION]), CKR_OK);
    assert_int_equal(fixture_sign(fixture, 1, key, FIXTURE_PIN, &fault), ATH_ERR_PIN_REQUIRED);
    assert_int_equal(fixture_logins, 0);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    fixture_must_sign(fixture, 1, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(fixture_setup, test_wrong_pin_costs_exactly_one_try),
        WITH(fixture_setup, test_pin_of_impossible_length_is_not_tried),
        WITH(fixture_setup, test_limits_that_make_no_sense_are_none),
        WITH(fixture_setup, test_being_logged_in_already_is_fine),
        WITH(fixture_setup_login, test_wrong_pin_is_wrong_though_somebody_is_logged_in),
        WITH(fixture_setup_login, test_pad_that_has_asked_does_not_ask_again),
        WITH(fixture_setup_login, test_logout_is_one_also_when_the_first_session_was_lost),
        WITH(fixture_setup, test_tries_left_are_read_again_after_each_try),
        WITH(fixture_setup, test_token_that_says_locked_without_the_flag_is_locked),
        WITH(fixture_setup, test_no_answer_of_a_token_makes_us_try_again),
        WITH(fixture_setup, test_token_that_is_gone_leaves_no_doubt_of_a_pin),
        WITH(fixture_setup, test_reader_with_a_pad_is_given_no_pin),
        WITH(fixture_setup, test_pin_is_not_copied),
        WITH(fixture_setup, test_token_without_login_is_not_logged_in_to),
        WITH(fixture_setup, test_everything_asks_for_a_login_first),
        WITH(fixture_setup_login, test_logout_behind_our_back_asks_for_the_pin_and_does_not_log_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
