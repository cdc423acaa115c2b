#include "fixture_tpm.h"

#define MANY_KEYS 200
#define ROUNDS 2

static void
test_both_curves_sign_and_verify(void **state)
{
    static const enum key_algorithm algorithms[] = {KEY_ES256, KEY_ES384};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 2; i++) {
        struct hsm_key *key = fixture_key(fixture, algorithms[i]);

        assert_int_equal(public_key_algorithm(key->public), algorithms[i]);
        for (int k = 0; k < 50; k++) /* short r or s come along */
            fixture_must_sign(fixture, key);
        tpm_key_close(fixture->device, key);
    }
}

static void
test_new_key_has_the_attributes_we_promise(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct tss2_key file;

    assert_int_equal(tpm_key_create(fixture->device, KEY_ES256, HSM_KEY_IDENTITY, &fault, &blob),
                     ATH_OK);
    assert_int_equal(tss2_pem_decode(ath_buf_slice(&blob), NULL, &file), ATH_OK);
    assert_int_equal(file.public.publicArea.objectAttributes,
                     TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                         TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                         TPMA_OBJECT_NODA | TPMA_OBJECT_SIGN_ENCRYPT);
    assert_int_equal(file.parent, TPM2_RH_OWNER);
    assert_true(file.empty_auth);
    ath_buf_done(&blob);
}

static void
test_facts_of_a_new_key(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_key_facts facts;

    tpm_backend_ops.key_facts(key, &facts);
    assert_true(facts.generated_inside && facts.fixed_tpm && facts.empty_auth);
    assert_false(facts.extractable || facts.decrypt || facts.da);
    tpm_key_close(fixture->device, key);
}

static void
test_ed25519_is_not_made_in_a_tpm(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};

    assert_int_equal(tpm_key_create(fixture->device, KEY_EDDSA, HSM_KEY_IDENTITY, &fault, &blob),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
}

/* 200 keys share three places; afterwards the TPM is as empty as before. */
static void
test_many_keys_round_robin_leave_nothing_behind(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *keys[MANY_KEYS];

    assert_int_equal(fixture->device->slots.capacity, 3);
    for (size_t i = 0; i < MANY_KEYS; i++)
        keys[i] = fixture_key(fixture, i % 8 == 0 ? KEY_ES384 : KEY_ES256);
    for (size_t i = 0; i < ROUNDS * MANY_KEYS; i++)
        fixture_must_sign(fixture, keys[i % MANY_KEYS]);
    assert_true(fixture_count_handles(fixture, TPM_FIRST_TRANSIENT) <= 3);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_LOADED_SESSION), 1);
    for (size_t i = 0; i < MANY_KEYS; i++)
        tpm_key_close(fixture->device, keys[i]);
    fixture_close(fixture);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_TRANSIENT), 0);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_LOADED_SESSION), 0);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_SAVED_SESSION), 0);
}

static void
test_key_of_another_tpm_is_refused(void **state)
{
    struct fixture *here = *state, *there;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;
    void *other = NULL;

    fixture_setup(&other);
    there = other;
    assert_int_equal(tpm_key_create(there->device, KEY_ES256, HSM_KEY_IDENTITY, &fault, &blob),
                     ATH_OK);
    assert_int_equal(tpm_key_open(here->device, ath_buf_slice(&blob), &fault, &key),
                     ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(fault.why.text, "does not belong to this TPM"));
    fixture_must_sign(here, key = fixture_key(here, KEY_ES256));
    tpm_key_close(here->device, key);
    ath_buf_done(&blob);
    fixture_teardown(&other);
}

/* Not even tried below our storage key: its file says that it belongs elsewhere. */
static void
test_key_below_another_parent_is_refused(void **state)
{
    static const uint32_t parents[] = {0x81000002, TPM_SRK_HANDLE, TPM2_RH_NULL, 0};
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct tss2_key file;

    assert_int_equal(fixture->device->storage.persistent, 0);
    assert_int_equal(tpm_key_create(fixture->device, KEY_ES256, HSM_KEY_IDENTITY, &fault, &blob),
                     ATH_OK);
    assert_int_equal(tss2_pem_decode(ath_buf_slice(&blob), NULL, &file), ATH_OK);
    for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
        struct hsm_key *key = NULL;

        file.parent = parents[i];
        ath_buf_clear(&blob);
        assert_int_equal(tss2_pem_encode(&file, &blob), ATH_OK);
        assert_int_equal(tpm_key_open(fixture->device, ath_buf_slice(&blob), &fault, &key),
                         ATH_ERR_INVALID_PARAMS);
    }
    ath_buf_done(&blob);
}

static void
test_key_with_an_authorization_value_asks_for_its_pin(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_fault fault;

    key->facts.empty_auth = false; /* as a file without emptyAuth says */
    assert_int_equal(fixture_sign(fixture, key, &fault), ATH_ERR_PIN_REQUIRED);
    tpm_key_close(fixture->device, key);
}

/* ---- judging public areas ---- */

#define GOOD                                                                                       \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |            \
     TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_SIGN_ENCRYPT)

static TPMT_PUBLIC
area(TPMA_OBJECT attributes)
{
    return (TPMT_PUBLIC){.type = TPM2_ALG_ECC,
                         .nameAlg = TPM2_ALG_SHA256,
                         .objectAttributes = attributes,
                         .parameters.eccDetail = {.symmetric.algorithm = TPM2_ALG_NULL,
                                                  .scheme.scheme = TPM2_ALG_NULL,
                                                  .curveID = TPM2_ECC_NIST_P256,
                                                  .kdf.scheme = TPM2_ALG_NULL}};
}

static ath_err
judge(TPMA_OBJECT attributes, struct hsm_key_facts *ret_facts)
{
    TPMT_PUBLIC public = area(attributes);
    enum key_algorithm algorithm;
    struct why why;

    return tpm_key_judge(&public, &why, &algorithm, ret_facts);
}

static void
test_attributes_that_make_a_key_portable_or_bound_are_refused(void **state)
{
    static const TPMA_OBJECT missing[] = {TPMA_OBJECT_FIXEDTPM, TPMA_OBJECT_FIXEDPARENT,
                                          TPMA_OBJECT_SENSITIVEDATAORIGIN, TPMA_OBJECT_SIGN_ENCRYPT,
                                          TPMA_OBJECT_USERWITHAUTH};
    struct hsm_key_facts facts;

    (void)state;
    assert_int_equal(judge(GOOD, &facts), ATH_OK);
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
        assert_int_equal(judge(GOOD & ~missing[i], &facts), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(judge(GOOD | TPMA_OBJECT_RESTRICTED, &facts), ATH_ERR_INVALID_PARAMS);
}

static void
test_decrypt_and_dictionary_attack_protection_are_facts(void **state)
{
    struct hsm_key_facts facts;

    (void)state;
    /* What tpm2-openssl makes: 0x00060072. */
    assert_int_equal(judge(0x00060072, &facts), ATH_OK);
    assert_true(facts.decrypt && facts.da);
    assert_int_equal(judge(GOOD, &facts), ATH_OK);
    assert_false(facts.decrypt || facts.da);
}

static void
test_other_curves_and_schemes_are_unsupported(void **state)
{
    TPMT_PUBLIC public = area(GOOD);
    enum key_algorithm algorithm;
    struct hsm_key_facts facts;
    struct why why;

    (void)state;
    public.parameters.eccDetail.curveID = TPM2_ECC_NIST_P521;
    assert_int_equal(tpm_key_judge(&public, &why, &algorithm, &facts),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
    public = area(GOOD);
    public.parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDAA;
    assert_int_equal(tpm_key_judge(&public, &why, &algorithm, &facts),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
    public.parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDSA;
    public.parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA1;
    assert_int_equal(tpm_key_judge(&public, &why, &algorithm, &facts),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
    public.parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    assert_int_equal(tpm_key_judge(&public, &why, &algorithm, &facts), ATH_OK);
    public.type = TPM2_ALG_RSA;
    assert_int_equal(tpm_key_judge(&public, &why, &algorithm, &facts),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
}

#define WITH_TPM(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TPM(test_both_curves_sign_and_verify),
        WITH_TPM(test_new_key_has_the_attributes_we_promise),
        WITH_TPM(test_facts_of_a_new_key),
        WITH_TPM(test_ed25519_is_not_made_in_a_tpm),
        WITH_TPM(test_many_keys_round_robin_leave_nothing_behind),
        WITH_TPM(test_key_of_another_tpm_is_refused),
        WITH_TPM(test_key_below_another_parent_is_refused),
        WITH_TPM(test_key_with_an_authorization_value_asks_for_its_pin),
        cmocka_unit_test(test_attributes_that_make_a_key_portable_or_bound_are_refused),
        cmocka_unit_test(test_decrypt_and_dictionary_attack_protection_are_facts),
        cmocka_unit_test(test_other_curves_and_schemes_are_unsupported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
