/* The storage key: what lies at 0x81000001 is used when it is the right one, and never replaced. */
#include "fixture_tpm.h"

#include "hsm/tpm/tpm_storage.h"

static const TSS2L_SYS_AUTH_COMMAND empty_password = {.count = 1,
                                                      .auths[0].sessionHandle = TPM2_RH_PW};

/* The SRK template as draft-bottomley-tpm2-keys has it, written here a second time on purpose. */
static TPM2B_PUBLIC
srk_template(void)
{
    return (TPM2B_PUBLIC){
        .publicArea = {.type = TPM2_ALG_ECC,
                       .nameAlg = TPM2_ALG_SHA256,
                       .objectAttributes = 0x00030472,
                       .parameters.eccDetail = {.symmetric = {.algorithm = TPM2_ALG_AES,
                                                              .keyBits.aes = 128,
                                                              .mode.aes = TPM2_ALG_CFB},
                                                .scheme.scheme = TPM2_ALG_NULL,
                                                .curveID = TPM2_ECC_NIST_P256,
                                                .kdf.scheme = TPM2_ALG_NULL}},
    };
}

static void
make_persistent(struct fixture *fixture, const TPM2B_PUBLIC *template, TPM2B_PUBLIC *ret_public)
{
    struct tpm_context *context = fixture_context(fixture);
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    const TPM2B_DATA outside = {0};
    struct hsm_fault fault = {0};
    TPM2_HANDLE handle;

    *ret_public = (TPM2B_PUBLIC){0};
    assert_int_equal(tpm_context_startup(context, &fault), ATH_OK);
    assert_int_equal(Tss2_Sys_CreatePrimary(context->sys, TPM2_RH_OWNER, &empty_password,
                                            &sensitive, template, &outside, &pcrs, &handle,
                                            ret_public, NULL, NULL, NULL, NULL, NULL),
                     0);
    assert_int_equal(Tss2_Sys_EvictControl(context->sys, TPM2_RH_OWNER, handle, &empty_password,
                                           TPM_SRK_HANDLE, NULL),
                     0);
    tpm_context_flush(context, handle);
    tpm_context_free(context);
}

static void
read_persistent(struct fixture *fixture, TPM2B_PUBLIC *ret_public)
{
    struct tpm_context *context = fixture_context(fixture);

    *ret_public = (TPM2B_PUBLIC){0};
    assert_int_equal(
        Tss2_Sys_ReadPublic(context->sys, TPM_SRK_HANDLE, NULL, ret_public, NULL, NULL, NULL), 0);
    tpm_context_free(context);
}

static void
open_and_sign(struct fixture *fixture)
{
    struct hsm_fault fault = {0};
    struct hsm_key *key;
    ath_err err = fixture_open(fixture, &fault);

    if (err != ATH_OK)
        fail_msg("%s", why_text(&fault.why, err));
    key = fixture_key(fixture, KEY_ES256);
    fixture_must_sign(fixture, key);
    tpm_key_close(fixture->device, key);
}

static void
test_without_a_persistent_key_none_is_made(void **state)
{
    struct fixture *fixture = *state;

    open_and_sign(fixture);
    assert_int_equal(fixture->device->storage.persistent, 0);
    fixture_close(fixture);
    assert_int_equal(fixture_count_handles(fixture, TPM_SRK_HANDLE), 0);
}

static void
test_right_persistent_key_is_used(void **state)
{
    TPM2B_PUBLIC template = srk_template(), public;
    struct fixture *fixture = *state;

    make_persistent(fixture, &template, &public);
    open_and_sign(fixture);
    assert_int_equal(fixture->device->storage.persistent, TPM_SRK_HANDLE);
    assert_false(fixture->device->storage.object.resident);
}

static void
is_left_alone(struct fixture *fixture, const TPM2B_PUBLIC *template)
{
    TPM2B_PUBLIC before, after;

    make_persistent(fixture, template, &before);
    open_and_sign(fixture);
    assert_int_equal(fixture->device->storage.persistent, 0);
    fixture_close(fixture);
    read_persistent(fixture, &after);
    assert_memory_equal(&after.publicArea, &before.publicArea, sizeof(after.publicArea));
}

static void
test_key_of_another_template_is_left_alone(void **state)
{
    TPM2B_PUBLIC template = srk_template();

    template.publicArea.objectAttributes &= ~(TPMA_OBJECT)TPMA_OBJECT_NODA;
    is_left_alone(*state, &template);
}

static void
test_key_of_our_template_but_another_seed_is_left_alone(void **state)
{
    TPM2B_PUBLIC template = srk_template();

    template.publicArea.unique.ecc.x.size = 32; /* zeros, as some provisioning tools have it */
    template.publicArea.unique.ecc.y.size = 32;
    is_left_alone(*state, &template);
}

static void
test_rsa_storage_key_is_left_alone(void **state)
{
    TPM2B_PUBLIC template = {
        .publicArea = {.type = TPM2_ALG_RSA,
                       .nameAlg = TPM2_ALG_SHA256,
                       .objectAttributes = 0x00030472,
                       .parameters.rsaDetail = {.symmetric = {.algorithm = TPM2_ALG_AES,
                                                              .keyBits.aes = 128,
                                                              .mode.aes = TPM2_ALG_CFB},
                                                .scheme.scheme = TPM2_ALG_NULL,
                                                .keyBits = 2048}},
    };

    is_left_alone(*state, &template);
}

/* With an owner password the primary cannot be derived; what is persistent serves. */
static void
set_owner_password(struct fixture *fixture)
{
    struct tpm_context *context = fixture_context(fixture);
    const TPM2B_AUTH password = {.size = 5, .buffer = "owner"};
    struct hsm_fault fault = {0};

    assert_int_equal(tpm_context_startup(context, &fault), ATH_OK);
    assert_int_equal(
        Tss2_Sys_HierarchyChangeAuth(context->sys, TPM2_RH_OWNER, &empty_password, &password, NULL),
        0);
    tpm_context_free(context);
}

static void
test_owner_password_needs_the_persistent_key(void **state)
{
    TPM2B_PUBLIC template = srk_template(), public;
    struct fixture *fixture = *state;
    struct hsm_fault fault = {0};

    make_persistent(fixture, &template, &public);
    set_owner_password(fixture);
    open_and_sign(fixture);
    assert_int_equal(fixture->device->storage.persistent, TPM_SRK_HANDLE);
    fixture_close(fixture);
    assert_true(fixture_open(fixture, &fault) == ATH_OK);
}

static void
test_owner_password_without_persistent_key_is_an_error_that_says_so(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault = {0};

    set_owner_password(fixture);
    assert_int_equal(fixture_open(fixture, &fault), ATH_ERR_HSM_ERROR);
    assert_non_null(strstr(fault.why.text, "owner"));
}

static void
test_blob_made_with_the_persistent_key_loads_without_it(void **state)
{
    TPM2B_PUBLIC template = srk_template(), public;
    struct fixture *fixture = *state;
    struct tpm_context *context;
    struct hsm_fault fault = {0};
    struct ath_buf blob = {0};
    struct hsm_key *key = NULL;

    make_persistent(fixture, &template, &public);
    assert_int_equal(fixture_open(fixture, &fault), ATH_OK);
    assert_int_equal(tpm_key_create(fixture->device, KEY_ES384, HSM_KEY_IDENTITY, &fault, &blob),
                     ATH_OK);
    fixture_close(fixture);
    context = fixture_context(fixture);
    assert_int_equal(tpm_context_startup(context, &fault), ATH_OK);
    assert_int_equal(Tss2_Sys_EvictControl(context->sys, TPM2_RH_OWNER, TPM_SRK_HANDLE,
                                           &empty_password, TPM_SRK_HANDLE, NULL),
                     0);
    tpm_context_free(context);
    assert_int_equal(fixture_open(fixture, &fault), ATH_OK);
    assert_int_equal(tpm_key_open(fixture->device, ath_buf_slice(&blob), &fault, &key), ATH_OK);
    fixture_must_sign(fixture, key);
    tpm_key_close(fixture->device, key);
    ath_buf_done(&blob);
}

#define WITH_TPM(test) cmocka_unit_test_setup_teardown(test, fixture_setup_closed, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TPM(test_without_a_persistent_key_none_is_made),
        WITH_TPM(test_right_persistent_key_is_used),
        WITH_TPM(test_key_of_another_template_is_left_alone),
        WITH_TPM(test_key_of_our_template_but_another_seed_is_left_alone),
        WITH_TPM(test_rsa_storage_key_is_left_alone),
        WITH_TPM(test_owner_password_needs_the_persistent_key),
        WITH_TPM(test_owner_password_without_persistent_key_is_an_error_that_says_so),
        WITH_TPM(test_blob_made_with_the_persistent_key_loads_without_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
