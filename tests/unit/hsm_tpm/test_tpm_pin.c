/* Keys with a PIN for their authValue. */
#include "fixture_tpm.h"
#include "hsm/tpm/tpm_pin.h"

#define LONGEST "0123456789abcdef0123456789abcdef"

static const char right[] = "a PIN, 7531", wrong[] = "a PIN, 7532";

static struct hsm_key *
make_key(struct fixture *fixture, enum key_algorithm algorithm, const char *pin)
{
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;

    assert_int_equal(tpm_key_create_with_pin(fixture->device, algorithm, ath_slice_of_string(pin),
                                             &fault, &blob),
                     ATH_OK);
    assert_int_equal(tpm_key_open(fixture->device, ath_buf_slice(&blob), &fault, &key), ATH_OK);
    ath_buf_done(&blob);
    return key;
}

static ath_err
try_pin(struct fixture *fixture, struct hsm_key *key, const char *pin)
{
    struct hsm_fault fault = {0};

    return tpm_backend_ops.key_login(fixture->hsm, key, ath_slice_of_string(pin), &fault);
}

static void
test_key_signs_with_its_pin_only(void **state)
{
    static const enum key_algorithm algorithms[] = {KEY_ES256, KEY_ES384};
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    for (size_t i = 0; i < 2; i++) {
        struct hsm_key *key = make_key(fixture, algorithms[i], right);
        struct hsm_key_facts facts;

        tpm_backend_ops.key_facts(key, &facts);
        assert_false(facts.empty_auth || facts.da);
        assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_PIN_REQUIRED);
        assert_int_equal(try_pin(fixture, key, right), ATH_OK);
        for (int k = 0; k < 5; k++)
            fixture_must_sign(fixture, key);
        tpm_key_close(fixture->device, key);
    }
}

static void
test_file_says_that_there_is_a_pin(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct tss2_key file;

    assert_int_equal(tpm_key_create_with_pin(fixture->device, KEY_ES256, ath_slice_of_string(right),
                                             &fault, &blob),
                     ATH_OK);
    assert_int_equal(tss2_pem_decode(ath_buf_slice(&blob), NULL, &file), ATH_OK);
    assert_false(file.empty_auth);
    assert_int_equal(file.public.publicArea.objectAttributes,
                     TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                         TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                         TPMA_OBJECT_NODA | TPMA_OBJECT_SIGN_ENCRYPT);
    ath_buf_done(&blob);
}

/* The TPM itself would take another one at any time: so often as we ask. */
static void
test_wrong_pin_is_one_try_and_no_signature(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = make_key(fixture, KEY_ES256, right);
    struct hsm_fault fault = {0};

    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(try_pin(fixture, key, wrong), ATH_ERR_PIN_INCORRECT);
        assert_int_equal(fixture->fault->sent_of[TPM2_CC_PolicySecret], i);
        assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_PIN_REQUIRED);
    }
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_Sign], 0);
    assert_int_equal(try_pin(fixture, key, right), ATH_OK);
    fixture_must_sign(fixture, key);
    tpm_key_close(fixture->device, key);
    fixture_close(fixture);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_LOADED_SESSION), 0);
}

static void
test_wrong_pin_takes_the_place_of_none(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = make_key(fixture, KEY_ES256, right);
    struct hsm_fault fault;

    assert_int_equal(try_pin(fixture, key, right), ATH_OK);
    assert_int_equal(try_pin(fixture, key, wrong), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_PIN_REQUIRED);
    tpm_key_close(fixture->device, key);
}

static void
test_logout_forgets(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = make_key(fixture, KEY_ES256, right);
    struct hsm_fault fault;

    assert_int_equal(try_pin(fixture, key, right), ATH_OK);
    fixture_must_sign(fixture, key);
    tpm_backend_ops.key_logout(fixture->hsm, key);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_PIN_REQUIRED);
    tpm_backend_ops.key_logout(fixture->hsm, key);
    tpm_key_close(fixture->device, key);
}

/* One command for a signature, with or without a PIN. */
static void
test_signature_is_one_command(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = make_key(fixture, KEY_ES256, right);
    unsigned before;

    assert_int_equal(try_pin(fixture, key, right), ATH_OK);
    fixture_must_sign(fixture, key);
    before = fixture->fault->sent;
    for (unsigned i = 0; i < 10; i++)
        fixture_must_sign(fixture, key);
    assert_int_equal(fixture->fault->sent, before + 10);
    tpm_key_close(fixture->device, key);
}

static void
test_keys_with_different_pins_and_none_share_the_session(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *keys[] = {make_key(fixture, KEY_ES256, right),
                              make_key(fixture, KEY_ES384, LONGEST),
                              fixture_key(fixture, KEY_ES256), make_key(fixture, KEY_ES256, wrong)};

    assert_int_equal(try_pin(fixture, keys[0], right), ATH_OK);
    assert_int_equal(try_pin(fixture, keys[1], LONGEST), ATH_OK);
    assert_int_equal(try_pin(fixture, keys[3], right), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(try_pin(fixture, keys[3], wrong), ATH_OK);
    for (unsigned i = 0; i < 40; i++)
        fixture_must_sign(fixture, keys[i * 7 % 4]);
    for (unsigned i = 0; i < 4; i++)
        tpm_key_close(fixture->device, keys[i]);
}

/* Whoever watches the bus. */
static void
test_pin_goes_to_the_tpm_in_no_clear_text(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key;

    fixture->fault->needle = ath_slice_of_string(right);
    key = make_key(fixture, KEY_ES256, right);
    assert_int_equal(try_pin(fixture, key, right), ATH_OK);
    fixture_must_sign(fixture, key);
    assert_true(fixture->fault->sent_of[TPM2_CC_Create] == 1);
    assert_int_equal(fixture->fault->needle_seen, 0);
    tpm_key_close(fixture->device, key);
}

/* Whoever changes what is said on the bus makes no wrong PIN right. */
static void
test_forged_answer_makes_no_pin_right(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = make_key(fixture, KEY_ES256, right);
    struct hsm_fault fault;

    fixture->fault->kind = FAULT_CODE;
    fixture->fault->code = 0;
    fixture->fault->command = TPM2_CC_PolicySecret;
    fixture->fault->times = 100;
    assert_int_not_equal(try_pin(fixture, key, wrong), ATH_OK);
    fixture->fault->kind = FAULT_NONE;
    assert_int_not_equal(fixture_sign(fixture, key, &fault), ATH_OK);
    tpm_key_close(fixture->device, key);
}

/* A refusal in a session that was good before is not the right PIN's fault: the session is. */
static void
test_right_pin_survives_a_lost_session(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = make_key(fixture, KEY_ES256, right);

    assert_int_equal(try_pin(fixture, key, right), ATH_OK);
    fixture->fault->kind = FAULT_CODE;
    fixture->fault->code = TPM2_RC_BAD_AUTH | TPM2_RC_S | TPM2_RC_1;
    fixture->fault->command = TPM2_CC_Sign;
    fixture->fault->times = 1;
    fixture_must_sign(fixture, key);
    assert_int_equal(fixture->fault->sent_of[TPM2_CC_Sign], 2);
    tpm_key_close(fixture->device, key);
}

static void
test_length_of_a_new_pin(void **state)
{
    static const struct {
        const char *pin;
        ath_err expected;
    } cases[] = {{"", ATH_ERR_INVALID_PARAMS},
                 {"123", ATH_ERR_INVALID_PARAMS},
                 {"1234", ATH_OK},
                 {LONGEST, ATH_OK},
                 {LONGEST "0", ATH_ERR_INVALID_PARAMS}};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ath_buf blob = {0};
        struct hsm_fault fault = {0};

        assert_int_equal(tpm_backend_ops.key_create_with_pin(fixture->hsm, KEY_ES256, "k",
                                                             ath_slice_of_string(cases[i].pin),
                                                             &fault, &blob),
                         cases[i].expected);
        assert_true((blob.len > 0) == (cases[i].expected == ATH_OK));
        ath_buf_done(&blob);
    }
}

static void
test_pin_that_no_key_can_have_is_not_tried(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = make_key(fixture, KEY_ES256, LONGEST);
    unsigned before = fixture->fault->sent;

    assert_int_equal(try_pin(fixture, key, LONGEST "0"), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(fixture->fault->sent, before);
    assert_int_equal(try_pin(fixture, key, LONGEST), ATH_OK);
    tpm_key_close(fixture->device, key);
}

/* The PIN lies in this process and in the key's blob, nowhere else. */
static void
test_another_process_of_the_tpm_asks_again_for_the_same_pin(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;

    assert_int_equal(tpm_key_create_with_pin(fixture->device, KEY_ES256, ath_slice_of_string(right),
                                             &fault, &blob),
                     ATH_OK);
    fixture_stop_tpm(fixture);
    fixture_start_tpm(fixture);
    assert_int_equal(fixture_open(fixture, &fault), ATH_OK);
    assert_int_equal(tpm_key_open(fixture->device, ath_buf_slice(&blob), &fault, &key), ATH_OK);
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_PIN_REQUIRED);
    assert_int_equal(try_pin(fixture, key, right), ATH_OK);
    fixture_must_sign(fixture, key);
    tpm_key_close(fixture->device, key);
    ath_buf_done(&blob);
}

#define WITH_TPM(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TPM(test_key_signs_with_its_pin_only),
        WITH_TPM(test_file_says_that_there_is_a_pin),
        WITH_TPM(test_wrong_pin_is_one_try_and_no_signature),
        WITH_TPM(test_wrong_pin_takes_the_place_of_none),
        WITH_TPM(test_logout_forgets),
        WITH_TPM(test_signature_is_one_command),
        WITH_TPM(test_keys_with_different_pins_and_none_share_the_session),
        WITH_TPM(test_pin_goes_to_the_tpm_in_no_clear_text),
        WITH_TPM(test_forged_answer_makes_no_pin_right),
        WITH_TPM(test_right_pin_survives_a_lost_session),
        WITH_TPM(test_length_of_a_new_pin),
        WITH_TPM(test_pin_that_no_key_can_have_is_not_tried),
        WITH_TPM(test_another_process_of_the_tpm_asks_again_for_the_same_pin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
