/* The restricted key: what it is, what it signs, and what it must never sign. */
#include "fixture_tpm.h"

static ath_err
sign(struct fixture *fixture, struct hsm_key *key, struct ath_slice message,
     struct hsm_fault *fault, uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    *fault = (struct hsm_fault){0};
    return hsm_sign(&tpm_backend_ops, fixture->hsm, key, message, fault, ret_signature);
}

static void
must_sign(struct fixture *fixture, struct hsm_key *key, struct ath_slice message)
{
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct hsm_fault fault;
    ath_err err = sign(fixture, key, message, &fault, signature);

    if (err != ATH_OK)
        fail_msg("%zu bytes: %s", message.len, why_text(&fault.why, err));
    assert_int_equal(public_key_verify(key->public, message, ath_slice_of(signature, 64)), ATH_OK);
}

static void
test_audit_key_is_restricted_and_says_so(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct hsm_key_facts facts;
    struct hsm_key *key = NULL;
    struct tss2_key file;

    assert_int_equal(
        tpm_backend_ops.key_create(fixture->hsm, KEY_ES256, HSM_KEY_AUDIT, "audit", &fault, &blob),
        ATH_OK);
    assert_int_equal(tss2_pem_decode(ath_buf_slice(&blob), NULL, &file), ATH_OK);
    assert_int_equal(file.public.publicArea.objectAttributes,
                     TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                         TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                         TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT);
    assert_int_equal(tpm_key_open(fixture->device, ath_buf_slice(&blob), &fault, &key), ATH_OK);
    tpm_backend_ops.key_facts(key, &facts);
    assert_true(facts.restricted && facts.generated_inside && facts.fixed_tpm && facts.empty_auth);
    assert_false(facts.extractable || facts.decrypt || facts.da);
    tpm_key_close(fixture->device, key);
    ath_buf_done(&blob);
}

static void
test_identity_key_is_not_restricted(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256);
    struct hsm_key_facts facts;

    tpm_backend_ops.key_facts(key, &facts);
    assert_false(facts.restricted);
    tpm_key_close(fixture->device, key);
}

static void
test_audit_key_is_es256_only(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};

    assert_int_equal(tpm_key_create(fixture->device, KEY_ES384, HSM_KEY_AUDIT, &fault, &blob),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
}

/* Empty, around what the TPM hashes at once, and many pieces. */
static void
test_messages_of_any_length_are_signed(void **state)
{
    static const size_t lengths[] = {0, 1, 200, 1023, 1024, 1025, 2048, 2049, 5000, 70000};
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_audit_key(fixture);
    uint8_t *bytes = malloc(70000);

    assert_non_null(bytes);
    memset(bytes, 'a', 70000);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        must_sign(fixture, key, ath_slice_of(bytes, lengths[i]));
    free(bytes);
    tpm_key_close(fixture->device, key);
    fixture_close(fixture);
    assert_int_equal(fixture_count_handles(fixture, TPM_FIRST_TRANSIENT), 0);
}

/* FF 'T' 'C' 'G': so begins all that a TPM says of itself. */
static void
test_what_begins_like_an_attestation_is_not_signed(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_audit_key(fixture);
    uint8_t bytes[3000] = {0xff, 'T', 'C', 'G', 0x80, 0x14};
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct hsm_fault fault;

    assert_int_equal(sign(fixture, key, ath_slice_of(bytes, 100), &fault, signature),
                     ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(fault.why.text, "attestation"));
    assert_int_equal(sign(fixture, key, ath_slice_of(bytes, sizeof(bytes)), &fault, signature),
                     ATH_ERR_INVALID_PARAMS);
    must_sign(fixture, key, ath_slice_of(bytes, 3)); /* too short to be one */
    must_sign(fixture, key, ath_slice_of(bytes + 1, sizeof(bytes) - 1));
    tpm_key_close(fixture->device, key);
}

/* Not our politeness but the TPM: it refuses a digest without its own ticket. */
static void
test_the_tpm_itself_refuses_a_digest_made_outside(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_audit_key(fixture);
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct hsm_fault fault;

    key->facts.restricted = false; /* hashed on the host then */
    assert_int_equal(sign(fixture, key, ath_slice_of_string("a message"), &fault, signature),
                     ATH_ERR_HSM_ERROR);
    assert_non_null(strstr(fault.why.text, "only what the TPM itself has hashed"));
    tpm_key_close(fixture->device, key);
}

static void
test_changed_digest_is_noticed_and_mended(void **state)
{
    static const TPM2_CC commands[] = {TPM2_CC_Hash, TPM2_CC_SequenceUpdate,
                                       TPM2_CC_SequenceComplete};
    static uint8_t bytes[3000];
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_audit_key(fixture);

    for (size_t i = 0; i < 3; i++) {
        fixture->fault->kind = FAULT_FLIP;
        fixture->fault->command = commands[i];
        fixture->fault->at = 40; /* in the HMAC's nonce, or before it */
        fixture->fault->times = 1;
        must_sign(fixture, key, ath_slice_of(bytes, i == 0 ? 100 : sizeof(bytes)));
        assert_int_equal(fixture->fault->times, 0);
        assert_int_equal(fixture->device->hmac_failures, 1);
        fixture->device->hmac_failures = 0;
    }
    tpm_key_close(fixture->device, key);
}

static void
test_full_object_memory_makes_room_for_a_sequence(void **state)
{
    static uint8_t bytes[3000];
    struct fixture *fixture = *state;
    struct hsm_key *keys[3] = {fixture_key(fixture, KEY_ES256), fixture_key(fixture, KEY_ES256),
                               fixture_audit_key(fixture)};

    for (unsigned i = 0; i < 5; i++) {
        fixture_must_sign(fixture, keys[0]);
        fixture_must_sign(fixture, keys[1]);
        must_sign(fixture, keys[2], ath_slice_of(bytes, sizeof(bytes)));
    }
    fixture->fault->kind = FAULT_CODE;
    fixture->fault->command = TPM2_CC_HashSequenceStart;
    fixture->fault->code = 0x902;
    fixture->fault->times = 1;
    must_sign(fixture, keys[2], ath_slice_of(bytes, sizeof(bytes)));
    for (unsigned i = 0; i < 3; i++)
        tpm_key_close(fixture->device, keys[i]);
}

static ath_err
make_and_use_key(void *ctx)
{
    static uint8_t bytes[1500];
    struct fixture *fixture = ctx;
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;
    ath_err err;

    err = tpm_key_create(fixture->device, KEY_ES256, HSM_KEY_AUDIT, &fault, &blob);
    if (err == ATH_OK)
        err = tpm_key_open(fixture->device, ath_buf_slice(&blob), &fault, &key);
    if (err == ATH_OK)
        err = sign(fixture, key, ath_slice_of(bytes, sizeof(bytes)), &fault, signature);
    tpm_key_close(fixture->device, key);
    ath_buf_done(&blob);
    return err;
}

static void
test_each_failing_allocation_is_survived(void **state)
{
    each_allocation_failing(make_and_use_key, *state);
}

#define WITH_TPM(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TPM(test_audit_key_is_restricted_and_says_so),
        WITH_TPM(test_identity_key_is_not_restricted),
        WITH_TPM(test_audit_key_is_es256_only),
        WITH_TPM(test_messages_of_any_length_are_signed),
        WITH_TPM(test_what_begins_like_an_attestation_is_not_signed),
        WITH_TPM(test_the_tpm_itself_refuses_a_digest_made_outside),
        WITH_TPM(test_changed_digest_is_noticed_and_mended),
        WITH_TPM(test_full_object_memory_makes_room_for_a_sequence),
        WITH_TPM(test_each_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
