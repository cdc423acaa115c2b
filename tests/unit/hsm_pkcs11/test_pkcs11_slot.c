#include "hsm/pkcs11/pkcs11_info.h"

#include "fixture_token.h"

#include <stdio.h>

static ath_err
open_path(struct fixture *fixture, const char *path_attributes, struct hsm_fault *fault)
{
    char uri[512];

    (void)snprintf(uri, sizeof(uri), "pkcs11:%s?module-path=%s", path_attributes, fixture->module);
    return fixture_open(fixture, uri, fault);
}

static void
test_field_is_text_without_its_padding(void **state)
{
    char text[9];

    (void)state;
    pkcs11_slot_text((const unsigned char *)"a b     ", 8, text);
    assert_string_equal(text, "a b");
    pkcs11_slot_text((const unsigned char *)"abcdefgh", 8, text);
    assert_string_equal(text, "abcdefgh");
    pkcs11_slot_text((const unsigned char *)"ab\0defgh", 8, text);
    assert_string_equal(text, "ab");
    pkcs11_slot_text((const unsigned char *)"        ", 8, text);
    assert_string_equal(text, "");
}

static void
test_info_says_what_the_token_is(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_info info;

    pkcs11_backend_ops.info(fixture->hsm, &info);
    assert_string_equal(info.kind, "pkcs11");
    assert_string_equal(info.label, "agent");
    assert_string_equal(info.manufacturer, "SoftHSM project");
    assert_string_equal(info.model, "SoftHSM v2");
    assert_int_equal(strlen(info.serial), 16);
    assert_string_equal(info.firmware, "2.6");
    assert_true(info.software);
    assert_int_equal(info.algorithms, 1u << KEY_ES256 | 1u << KEY_ES384 | 1u << KEY_EDDSA);
    assert_int_equal(info.login, HSM_LOGIN_PIN);
    assert_true(info.parallel >= 1 && info.parallel <= PKCS11_WORKERS_MAX);
    assert_false(info.pin_locked || info.has_counter || info.has_ek_certificate);
    assert_int_equal(info.tries_left, 0);
}

static void
test_token_is_found_among_others_by_label_and_by_serial(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;
    struct hsm_info info;
    char attributes[80];

    fixture_add_token(fixture, "agent two", true);
    assert_int_equal(open_path(fixture, "token=agent%20two", &fault), ATH_OK);
    pkcs11_backend_ops.info(fixture->hsm, &info);
    assert_string_equal(info.label, "agent two");
    fixture_close(fixture);
    (void)snprintf(attributes, sizeof(attributes), "serial=%s", info.serial);
    assert_int_equal(open_path(fixture, attributes, &fault), ATH_OK);
    pkcs11_backend_ops.info(fixture->hsm, &info);
    assert_string_equal(info.label, "agent two");
}

static void
test_single_token_needs_no_name(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    assert_int_equal(open_path(fixture, "", &fault), ATH_OK);
}

static void
test_absent_token_says_what_was_wanted_and_what_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    assert_int_equal(open_path(fixture, "token=other;serial=12", &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_must_say(&fault, "label \"other\", serial \"12\"");
    fixture_must_say(&fault, "there: \"agent\" (serial ");
}

static void
test_several_tokens_that_fit_are_listed(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    fixture_add_token(fixture, "agent", true);
    assert_int_equal(open_path(fixture, "token=agent", &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_must_say(&fault, "fits 2 tokens");
    fixture_must_say(&fault, "serial=");
    assert_int_equal(open_path(fixture, "", &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_must_say(&fault, "fits 2 tokens");
}

static void
test_token_that_is_not_initialised_is_no_token_and_says_so(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    assert_int_equal(open_path(fixture, "", &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_must_say(&fault, "not initialised");
    assert_int_equal(open_path(fixture, "token=agent", &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_must_say(&fault, "no token is there; wanted: label \"agent\"");
}

static void
test_token_without_user_pin_says_so(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    fixture_add_token(fixture, "agent", false);
    assert_int_equal(open_path(fixture, "token=agent", &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_must_say(&fault, "no user PIN");
}

/* The same process, again and again, as the helper does it while a token is away. */
static void
test_open_works_once_the_token_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    for (int i = 0; i < 5; i++)
        assert_int_equal(fixture_open(fixture, fixture->uri, &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_add_token(fixture, "agent", true);
    assert_int_equal(fixture_open(fixture, fixture->uri, &fault), ATH_OK);
    fixture_close(fixture);
    fixture_hide_tokens(fixture);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fixture_open(fixture, fixture->uri, &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_show_tokens(fixture);
    assert_int_equal(fixture_open(fixture, fixture->uri, &fault), ATH_OK);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    pkcs11_backend_ops.key_close(fixture->hsm, fixture_key(fixture, KEY_ES256, "k"));
}

static void
test_token_that_is_taken_out_is_missed_and_works_when_it_is_back(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};

    ath_buf_put_slice(&blob, pkcs11_backend_ops.key_blob(key));
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_OK);
    fixture_must_sign(fixture, 0, key);
    fixture_hide_tokens(fixture);
    assert_int_equal(fixture_sign(fixture, 0, key, "", &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_must_say(&fault, "\"agent\" (serial ");
    fixture_must_say(&fault, "was taken out");
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_ERR_HSM_UNAVAILABLE);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
    fixture_close(fixture);
    fixture_show_tokens(fixture);
    assert_int_equal(fixture_open(fixture, fixture->uri, &fault), ATH_OK);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    assert_int_equal(fixture_key_open(fixture, ath_buf_text(&blob), &fault, &key), ATH_OK);
    fixture_must_sign(fixture, 1, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
    ath_buf_done(&blob);
}

/* ---- modules that lie ---- */

static CK_TOKEN_INFO lie;
static CK_SLOT_INFO slot_lie;

static CK_RV
lying_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    (void)slot;
    *info = lie;
    return CKR_OK;
}

static CK_RV
lying_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    (void)slot;
    *info = slot_lie;
    return CKR_OK;
}

static CK_RV
too_many_slots(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    (void)present;
    (void)slots;
    *count = 100000;
    return CKR_OK;
}

static CK_RV
too_many_mechanisms(CK_SLOT_ID slot, CK_MECHANISM_TYPE *types, CK_ULONG *count)
{
    (void)slot;
    (void)types;
    *count = 100000;
    return CKR_OK;
}

static void
test_another_token_in_the_same_slot_is_not_taken_for_ours(void **state)
{
    struct fixture *fixture = *state;
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct hsm_fault fault = {0};

    assert_int_equal(fixture_real->C_GetTokenInfo(fixture->token->place.slot, &lie), CKR_OK);
    fake->C_GetTokenInfo = lying_token_info;
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_OK);
    lie.serialNumber[0] ^= 1;
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_ERR_HSM_UNAVAILABLE);
    lie.serialNumber[0] ^= 1;
    fixture->token->place.name.serial[0] = '\0'; /* ours has none written on it, this one has */
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_ERR_HSM_UNAVAILABLE);
}

static unsigned lists;

static CK_RV
counting_slots(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    lists += slots == NULL;
    return fixture_real->C_GetSlotList(present, slots, count);
}

/* Modules look at their readers only then (PKCS #11 2.40, 5.5). Those without readers are left in
 * peace. */
static void
test_check_asks_for_the_number_of_slots_where_tokens_can_be_taken_out(void **state)
{
    struct fixture *fixture = *state;
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct hsm_fault fault = {0};

    fake->C_GetSlotList = counting_slots;
    fake->C_GetSlotInfo = lying_slot_info;
    lists = 0;
    slot_lie.flags = CKF_TOKEN_PRESENT;
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_OK);
    assert_int_equal(lists, 0);
    slot_lie.flags = CKF_TOKEN_PRESENT | CKF_REMOVABLE_DEVICE;
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_OK);
    assert_int_equal(lists, 1);
}

static unsigned unreadable; /* times */
static CK_RV unreadable_rv;

static CK_RV
unreadable_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    if (unreadable == 0)
        return fixture_real->C_GetTokenInfo(slot, info);
    unreadable--;
    return unreadable_rv;
}

/* SoftHSM's, while another process writes to it. */
static void
test_token_that_cannot_be_read_for_a_moment_is_not_gone(void **state)
{
    struct fixture *fixture = *state;
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct hsm_fault fault = {0};

    fake->C_GetTokenInfo = unreadable_token_info;
    unreadable_rv = CKR_GENERAL_ERROR;
    unreadable = 2;
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_OK);
    assert_int_equal(unreadable, 0);
    unreadable = 100;
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(fault.native, CKR_GENERAL_ERROR);
    assert_in_range(unreadable, 90, 98);
    unreadable_rv = CKR_TOKEN_NOT_PRESENT;
    unreadable = 1;
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(unreadable, 0);
}

/* OpenSC goes on telling of a card that is gone, while its slot is empty. */
static void
test_token_of_an_empty_slot_is_gone(void **state)
{
    struct fixture *fixture = *state;
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct hsm_fault fault = {0};

    fake->C_GetSlotInfo = lying_slot_info;
    slot_lie.flags = CKF_TOKEN_PRESENT | CKF_REMOVABLE_DEVICE;
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_OK);
    slot_lie.flags = CKF_REMOVABLE_DEVICE;
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_ERR_HSM_UNAVAILABLE);
}

static void
test_counts_beyond_all_measure_are_refused(void **state)
{
    struct fixture *fixture = *state;
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct pkcs11_place place;
    struct hsm_fault fault = {0};
    struct hsm_info info;

    fake->C_GetSlotList = too_many_slots;
    assert_int_equal(
        pkcs11_slot_find(fixture->token->module, &fixture->token->wanted, &fault, &place),
        ATH_ERR_HSM_ERROR);
    fake->C_GetMechanismList = too_many_mechanisms;
    assert_int_equal(
        pkcs11_info_read(fixture->token->module, &fixture->token->place, &fault, &info),
        ATH_ERR_HSM_ERROR);
}

static struct hsm_info
info_of(struct fixture *fixture)
{
    struct pkcs11_place place = fixture->token->place;
    struct hsm_fault fault = {0};
    struct hsm_info info;

    place.info = lie;
    assert_int_equal(pkcs11_info_read(fixture->token->module, &place, &fault, &info), ATH_OK);
    pkcs11_info_put_now(&lie, &info);
    return info;
}

static void
test_flags_become_login_and_tries(void **state)
{
    struct fixture *fixture = *state;

    lie = fixture->token->place.info;
    lie.flags = CKF_TOKEN_INITIALIZED;
    assert_int_equal(info_of(fixture).login, HSM_LOGIN_NONE);
    lie.flags |= CKF_LOGIN_REQUIRED | CKF_USER_PIN_COUNT_LOW;
    assert_int_equal(info_of(fixture).login, HSM_LOGIN_PIN);
    assert_int_equal(info_of(fixture).tries_left, 0);
    lie.flags |= CKF_USER_PIN_FINAL_TRY;
    assert_int_equal(info_of(fixture).tries_left, 1);
    lie.flags |= CKF_USER_PIN_LOCKED | CKF_PROTECTED_AUTHENTICATION_PATH;
    assert_int_equal(info_of(fixture).tries_left, 0);
    assert_true(info_of(fixture).pin_locked);
    assert_int_equal(info_of(fixture).login, HSM_LOGIN_PAD);
}

static void
test_workers_are_as_many_as_the_token_has_sessions_for(void **state)
{
    struct fixture *fixture = *state;
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    unsigned most = fixture->token->info.parallel;

    lie = fixture->token->place.info;
    lie.ulMaxSessionCount = CK_UNAVAILABLE_INFORMATION;
    assert_int_equal(info_of(fixture).parallel, most);
    lie.ulMaxSessionCount = 1;
    assert_int_equal(info_of(fixture).parallel, 1);
    lie.ulMaxSessionCount = 2;
    assert_int_equal(info_of(fixture).parallel, 1);
    lie.ulMaxSessionCount = CK_EFFECTIVELY_INFINITE;
    fake->C_GetSlotInfo = lying_slot_info;
    slot_lie.flags = CKF_TOKEN_PRESENT | CKF_HW_SLOT;
    assert_int_equal(info_of(fixture).parallel, most);
    slot_lie.flags |= CKF_REMOVABLE_DEVICE;
    assert_int_equal(info_of(fixture).parallel, 1);
}

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field_is_text_without_its_padding),
        WITH(fixture_setup, test_info_says_what_the_token_is),
        WITH(fixture_setup_closed, test_token_is_found_among_others_by_label_and_by_serial),
        WITH(fixture_setup_closed, test_single_token_needs_no_name),
        WITH(fixture_setup_closed, test_absent_token_says_what_was_wanted_and_what_is_there),
        WITH(fixture_setup_closed, test_several_tokens_that_fit_are_listed),
        WITH(fixture_setup_empty, test_token_that_is_not_initialised_is_no_token_and_says_so),
        WITH(fixture_setup_empty, test_token_without_user_pin_says_so),
        WITH(fixture_setup_empty, test_open_works_once_the_token_is_there),
        WITH(fixture_setup_login, test_token_that_is_taken_out_is_missed_and_works_when_it_is_back),
        WITH(fixture_setup, test_another_token_in_the_same_slot_is_not_taken_for_ours),
        WITH(fixture_setup, test_token_that_cannot_be_read_for_a_moment_is_not_gone),
        WITH(fixture_setup, test_check_asks_for_the_number_of_slots_where_tokens_can_be_taken_out),
        WITH(fixture_setup, test_token_of_an_empty_slot_is_gone),
        WITH(fixture_setup, test_counts_beyond_all_measure_are_refused),
        WITH(fixture_setup, test_flags_become_login_and_tries),
        WITH(fixture_setup, test_workers_are_as_many_as_the_token_has_sessions_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
