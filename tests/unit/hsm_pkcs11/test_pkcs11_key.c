#include <stdio.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "hsm/pkcs11/pkcs11_public.h"

#include "fixture_token.h"

static const enum key_algorithm algorithms[] = {KEY_ES256, KEY_ES384, KEY_EDDSA};

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static ath_err
create(struct fixture *fixture, enum key_algorithm algorithm, struct ath_buf *blob,
       struct hsm_fault *fault)
{
    *fault = (struct hsm_fault){0};
    return pkcs11_backend_ops.key_create(fixture->hsm, algorithm, HSM_KEY_IDENTITY, "k", fault,
                                         blob);
}

/* ---- keys of our own ---- */

static void
test_each_algorithm_signs_and_verifies(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 3; i++) {
        struct hsm_key *key = fixture_key(fixture, algorithms[i], "agent-key");

        assert_int_equal(public_key_algorithm(key->public), algorithms[i]);
        for (unsigned k = 0; k < 30; k++) /* short r or s come along */
            fixture_must_sign(fixture, k % 2, key);
        pkcs11_backend_ops.key_close(fixture->hsm, key);
    }
}

static bool
bool_of(struct fixture *fixture, const struct hsm_key *key, CK_ATTRIBUTE_TYPE type)
{
    struct hsm_fault fault = {0};
    bool value = false;

    assert_int_equal(pkcs11_object_bool(fixture->token,
                                        fixture->token->sessions[PKCS11_MAIN_SESSION], key->handle,
                                        type, false, &fault, &value),
                     ATH_OK);
    return value;
}

static void
test_new_key_has_the_attributes_we_promise(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 3; i++) {
        struct hsm_key *key = fixture_key(fixture, algorithms[i], "k");
        struct hsm_key_facts facts;

        pkcs11_backend_ops.key_facts(key, &facts);
        assert_true(facts.generated_inside && facts.always_sensitive && facts.never_extractable);
        assert_false(facts.extractable || facts.always_authenticate || facts.fixed_tpm ||
                     facts.restricted || facts.decrypt || facts.da || facts.empty_auth);
        assert_true(bool_of(fixture, key, CKA_TOKEN) && bool_of(fixture, key, CKA_PRIVATE));
        assert_true(bool_of(fixture, key, CKA_SENSITIVE) && bool_of(fixture, key, CKA_SIGN));
        assert_false(bool_of(fixture, key, CKA_DERIVE) || bool_of(fixture, key, CKA_DECRYPT) ||
                     bool_of(fixture, key, CKA_UNWRAP));
        pkcs11_backend_ops.key_close(fixture->hsm, key);
    }
}

static void
test_blob_is_a_uri_that_finds_the_key_again(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "a key/1"), *again;
    struct ath_slice blob = pkcs11_backend_ops.key_blob(key);
    struct pkcs11_uri uri;
    struct hsm_fault fault = {0};

    assert_int_equal(pkcs11_uri_parse(blob, NULL, &uri), ATH_OK);
    assert_string_equal(uri.token, "agent");
    assert_string_equal(uri.manufacturer, "SoftHSM project");
    assert_string_equal(uri.object, "a key/1");
    assert_string_equal(uri.serial, fixture->token->info.serial);
    assert_int_equal(uri.id_len, 16);
    assert_int_equal(pkcs11_backend_ops.key_open(fixture->hsm, blob, &fault, &again), ATH_OK);
    assert_true(public_key_equal(key->public, again->public));
    assert_true(ath_slice_equal(blob, pkcs11_backend_ops.key_blob(again)));
    fixture_must_sign(fixture, 0, again);
    pkcs11_backend_ops.key_close(fixture->hsm, again);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_key_survives_the_process(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES384, "k"), *again;
    struct public_key *public = public_key_ref(key->public);
    struct ath_buf blob = {0};
    struct hsm_fault fault;

    ath_buf_put_slice(&blob, pkcs11_backend_ops.key_blob(key));
    pkcs11_backend_ops.key_close(fixture->hsm, key);
    fixture_close(fixture);
    assert_int_equal(fixture_open(fixture, fixture->uri, &fault), ATH_OK);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    assert_int_equal(fixture_key_open(fixture, ath_buf_text(&blob), &fault, &again), ATH_OK);
    assert_true(public_key_equal(public, again->public));
    fixture_must_sign(fixture, 0, again);
    pkcs11_backend_ops.key_close(fixture->hsm, again);
    public_key_free(public);
    ath_buf_done(&blob);
}

static void
test_audit_key_is_a_key_like_others(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};

    assert_int_equal(pkcs11_backend_ops.key_create(fixture->hsm, KEY_ES256, HSM_KEY_AUDIT, "audit",
                                                   &fault, &blob),
                     ATH_OK);
    ath_buf_done(&blob);
}

static void
test_deleted_key_leaves_nothing_but_its_certificate(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_key *other = fixture_key(fixture, KEY_ES256, "k"), *again;
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    uint8_t junk[] = {0x30, 0};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_CERTIFICATE_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, 1},
        {CKA_ID, key->id, key->id_len},
        {CKA_SUBJECT, junk, sizeof(junk)},
        {CKA_VALUE, junk, sizeof(junk)},
    };
    CK_OBJECT_HANDLE certificate;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};

    assert_int_equal(fixture->token->module->f->C_CreateObject(
                         fixture->token->sessions[PKCS11_MAIN_SESSION], template, 6, &certificate),
                     CKR_OK);
    ath_buf_put_slice(&blob, pkcs11_backend_ops.key_blob(key));
    assert_int_equal(pkcs11_backend_ops.key_delete(fixture->hsm, key, &fault), ATH_OK);
    assert_int_equal(fixture_count_objects(fixture, CKO_PRIVATE_KEY), 1);
    assert_int_equal(fixture_count_objects(fixture, CKO_PUBLIC_KEY), 1);
    assert_int_equal(fixture_count_objects(fixture, CKO_CERTIFICATE), 1);
    fixture_must_sign(fixture, 0, other);
    assert_int_equal(fixture_key_open(fixture, ath_buf_text(&blob), &fault, &again),
                     ATH_ERR_KEY_NOT_FOUND);
    fixture_must_say(&fault, "no such private key");
    pkcs11_backend_ops.key_close(fixture->hsm, other);
    ath_buf_done(&blob);
}

/* ---- tokens that make something else ---- */

static CK_ATTRIBUTE_TYPE forbidden, denied;
static CK_RV refusal;
static unsigned generations;

static CK_RV
picky_generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public,
               CK_ULONG public_count, CK_ATTRIBUTE *private, CK_ULONG private_count,
               CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private)
{
    generations++;
    for (CK_ULONG i = 0; i < private_count; i++) {
        if (private[i].type == forbidden)
            return refusal;
    }
    return fixture_real->C_GenerateKeyPair(session, mechanism, public, public_count, private,
                                           private_count, ret_public, ret_private);
}

/* Gives a key that can be taken out, whatever is asked for. */
static CK_RV
careless_generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public,
                  CK_ULONG public_count, CK_ATTRIBUTE *private, CK_ULONG private_count,
                  CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private)
{
    for (CK_ULONG i = 0; i < private_count; i++) {
        if (private[i].type == CKA_EXTRACTABLE)
        private[i].pValue = &yes;
    }
    return fixture_real->C_GenerateKeyPair(session, mechanism, public, public_count, private,
                                           private_count, ret_public, ret_private);
}

/* Says nothing of one attribute. */
static CK_RV
silent_get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
           CK_ULONG count)
{
    if (template[0].type != denied)
        return fixture_real->C_GetAttributeValue(session, object, template, count);
    template[0].ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return refusal;
}

static void
test_token_that_takes_a_shorter_template_only_gets_one(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault;

    fixture_fake(fixture)->C_GenerateKeyPair = picky_generate;
    forbidden = CKA_UNWRAP;
    refusal = CKR_ATTRIBUTE_TYPE_INVALID;
    generations = 0;
    assert_int_equal(create(fixture, KEY_ES256, &blob, &fault), ATH_OK);
    assert_int_equal(generations, 2);
    ath_buf_clear(&blob);
    forbidden = CKA_SENSITIVE; /* but none that asks for less protection */
    generations = 0;
    assert_int_equal(create(fixture, KEY_ES256, &blob, &fault), ATH_ERR_HSM_ERROR);
    fixture_must_say(&fault, "cannot create the key");
    assert_int_equal(generations, 2);
    refusal = CKR_DEVICE_MEMORY; /* no template helps */
    generations = 0;
    assert_int_equal(create(fixture, KEY_ES256, &blob, &fault), ATH_ERR_HSM_ERROR);
    assert_int_equal(generations, 1);
    refusal = CKR_SESSION_HANDLE_INVALID; /* nor is it done twice */
    generations = 0;
    assert_int_equal(create(fixture, KEY_ES256, &blob, &fault), ATH_ERR_HSM_ERROR);
    assert_int_equal(generations, 1);
    assert_int_equal(blob.len, 0);
    ath_buf_done(&blob);
}

static void
test_key_that_could_be_taken_out_is_destroyed_and_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault;

    fixture_fake(fixture)->C_GenerateKeyPair = careless_generate;
    assert_int_equal(create(fixture, KEY_ES256, &blob, &fault), ATH_ERR_HSM_ERROR);
    fixture_must_say(&fault, "it was deleted again");
    assert_int_equal(blob.len, 0);
    assert_int_equal(fixture_count_objects(fixture, CKO_PRIVATE_KEY), 0);
    assert_int_equal(fixture_count_objects(fixture, CKO_PUBLIC_KEY), 0);
    ath_buf_done(&blob);
}

static void
test_what_a_token_does_not_say_of_a_new_key_counts_against_it(void **state)
{
    static const CK_ATTRIBUTE_TYPE attributes[] = {CKA_SENSITIVE, CKA_EXTRACTABLE};
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault;

    fixture_fake(fixture)->C_GetAttributeValue = silent_get;
    refusal = CKR_ATTRIBUTE_TYPE_INVALID;
    for (size_t i = 0; i < 2; i++) {
        denied = attributes[i];
        assert_int_equal(create(fixture, KEY_ES256, &blob, &fault), ATH_ERR_HSM_ERROR);
        assert_int_equal(fixture_count_objects(fixture, CKO_PRIVATE_KEY), 0);
        assert_int_equal(fixture_count_objects(fixture, CKO_PUBLIC_KEY), 0);
    }
    ath_buf_done(&blob);
}

static void
test_failure_after_the_key_was_made_leaves_no_key(void **state)
{
    static const CK_ATTRIBUTE_TYPE attributes[] = {CKA_LOCAL, CKA_SENSITIVE, CKA_ID, CKA_LABEL};
    struct fixture *fixture = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault;

    fixture_fake(fixture)->C_GetAttributeValue = silent_get;
    refusal = CKR_GENERAL_ERROR;
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        denied = attributes[i];
        assert_int_equal(create(fixture, KEY_ES256, &blob, &fault), ATH_ERR_HSM_ERROR);
        assert_int_equal(fixture_count_objects(fixture, CKO_PRIVATE_KEY), 0);
        assert_int_equal(fixture_count_objects(fixture, CKO_PUBLIC_KEY), 0);
    }
    ath_buf_done(&blob);
}

static void
test_unknown_facts_are_the_unsafe_ones(void **state)
{
    static const CK_ATTRIBUTE_TYPE attributes[] = {CKA_LOCAL, CKA_EXTRACTABLE, CKA_ALWAYS_SENSITIVE,
                                                   CKA_NEVER_EXTRACTABLE};
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k"), *again;
    struct hsm_fault fault = {0};
    struct hsm_key_facts facts;

    fixture_fake(fixture)->C_GetAttributeValue = silent_get;
    refusal = CKR_OK; /* with CK_UNAVAILABLE_INFORMATION as length */
    for (size_t i = 0; i < 4; i++) {
        denied = attributes[i];
        assert_int_equal(pkcs11_backend_ops.key_open(fixture->hsm, pkcs11_backend_ops.key_blob(key),
                                                     &fault, &again),
                         ATH_OK);
        pkcs11_backend_ops.key_facts(again, &facts);
        assert_int_equal(facts.generated_inside, i != 0);
        assert_int_equal(facts.extractable, i == 1);
        assert_int_equal(facts.always_sensitive, i != 2);
        assert_int_equal(facts.never_extractable, i != 3);
        pkcs11_backend_ops.key_close(fixture->hsm, again);
    }
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* ---- keys of others ---- */

static void
test_foreign_key_is_opened_by_id_or_label_with_its_facts(void **state)
{
    const CK_ATTRIBUTE loose[] = {{CKA_EXTRACTABLE, &yes, 1}, {CKA_SENSITIVE, &no, 1}};
    struct fixture *fixture = *state;
    CK_OBJECT_HANDLE public, private;
    struct hsm_key_facts facts;
    struct hsm_fault fault;
    struct hsm_key *key;

    fixture_raw_key(fixture, 7, "mine", loose, 2, &public, &private);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=mine;type=private", &fault, &key),
                     ATH_OK);
    assert_non_null(strstr(ath_buf_text(&key->blob), ";id=%07;object=mine"));
    pkcs11_backend_ops.key_facts(key, &facts);
    assert_true(facts.extractable && facts.generated_inside);
    assert_false(facts.never_extractable || facts.always_sensitive);
    fixture_must_sign(fixture, 0, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:token=agent;id=%07", &fault, &key), ATH_OK);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:id=%07;object=yours", &fault, &key),
                     ATH_ERR_KEY_NOT_FOUND);
}

static void
test_uri_that_fits_two_keys_is_refused(void **state)
{
    struct fixture *fixture = *state;
    CK_OBJECT_HANDLE public, private;
    struct hsm_fault fault;
    struct hsm_key *key;

    fixture_raw_key(fixture, 1, "same", NULL, 0, &public, &private);
    fixture_raw_key(fixture, 2, "same", NULL, 0, &public, &private);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=same", &fault, &key),
                     ATH_ERR_INVALID_PARAMS);
    fixture_must_say(&fault, "more than one private key");
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=same;id=%02", &fault, &key), ATH_OK);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_uri_of_another_token_or_module_or_with_a_pin_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k"), *again;
    struct hsm_fault fault;
    char uri[1200];

    assert_int_equal(fixture_key_open(fixture, "pkcs11:token=other;object=k", &fault, &again),
                     ATH_ERR_INVALID_PARAMS);
    fixture_must_say(&fault, "this key lies in another token: \"other\"");
    fixture_must_say(&fault, "\"agent\"");
    assert_int_equal(
        fixture_key_open(fixture, "pkcs11:object=k?module-name=opensc-pkcs11", &fault, &again),
        ATH_ERR_INVALID_PARAMS);
    fixture_must_say(&fault, "another module");
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=k?module-path=/x.so", &fault, &again),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(
        fixture_key_open(fixture, "pkcs11:object=k?pin-source=file:/x", &fault, &again),
        ATH_ERR_INVALID_PARAMS);
    fixture_must_say(&fault, "pin-source");
    assert_int_equal(fixture_key_open(fixture, "pkcs11:token=agent", &fault, &again),
                     ATH_ERR_INVALID_PARAMS);
    fixture_must_say(&fault, "names no key");
    assert_int_equal(fixture_key_open(fixture, "nonsense", &fault, &again), ATH_ERR_INVALID_PARAMS);
    (void)snprintf(uri, sizeof(uri), "pkcs11:object=k?module-path=%s", fixture->module);
    assert_int_equal(fixture_key_open(fixture, uri, &fault, &again), ATH_OK);
    pkcs11_backend_ops.key_close(fixture->hsm, again);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_key_that_cannot_sign_is_refused(void **state)
{
    const CK_ATTRIBUTE attributes[] = {{CKA_SIGN, &no, 1}, {CKA_DERIVE, &yes, 1}};
    struct fixture *fixture = *state;
    CK_OBJECT_HANDLE public, private;
    struct hsm_fault fault;
    struct hsm_key *key;

    fixture_raw_key(fixture, 1, "ecdh", attributes, 2, &public, &private);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=ecdh", &fault, &key),
                     ATH_ERR_INVALID_PARAMS);
    fixture_must_say(&fault, "cannot sign");
}

static void
test_rsa_key_is_unsupported(void **state)
{
    struct fixture *fixture = *state;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ULONG bits = 1024;
    uint8_t exponent[] = {1, 0, 1};
    char label[] = "rsa";
    CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)},
                             {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)},
                             {CKA_LABEL, label, 3}};
    CK_ATTRIBUTE private[] = {{CKA_TOKEN, &yes, 1}, {CKA_LABEL, label, 3}};
    CK_OBJECT_HANDLE handles[2];
    struct hsm_fault fault;
    struct hsm_key *key;

    assert_int_equal(fixture->token->module->f->C_GenerateKeyPair(
                         fixture->token->sessions[PKCS11_MAIN_SESSION], &mechanism, public, 3,
                         private, 2, &handles[0], &handles[1]),
                     CKR_OK);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=rsa", &fault, &key),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
}

/* ---- memory ---- */

static ath_err
life_of_a_key(void *ctx)
{
    struct fixture *fixture = ctx;
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;
    uint8_t signature[SIGNATURE_MAX_LEN];
    ath_err err;

    if ((err = fixture_open(fixture, fixture->uri, &fault)) != ATH_OK)
        goto out;
    if ((err = fixture_login(fixture, FIXTURE_PIN, &fault)) != ATH_OK)
        goto out;
    if ((err = create(fixture, KEY_ES256, &blob, &fault)) != ATH_OK)
        goto out;
    err = pkcs11_backend_ops.key_open(fixture->hsm, ath_buf_slice(&blob), &fault, &key);
    if (err != ATH_OK)
        goto out;
    err = pkcs11_backend_ops.sign_with(fixture->hsm, 0, key, ath_buf_slice(&blob),
                                       ath_slice_of(NULL, 0), &fault, signature);
    if (err == ATH_OK && (err = pkcs11_backend_ops.key_delete(fixture->hsm, key, &fault)) == ATH_OK)
        key = NULL;
out:
    if (key != NULL)
        pkcs11_backend_ops.key_close(fixture->hsm, key);
    fixture_close(fixture);
    ath_buf_done(&blob);
    return err;
}

static void
test_each_allocation_may_fail(void **state)
{
    each_allocation_failing(life_of_a_key, *state);
}

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(fixture_setup_login, test_each_algorithm_signs_and_verifies),
        WITH(fixture_setup_login, test_new_key_has_the_attributes_we_promise),
        WITH(fixture_setup_login, test_blob_is_a_uri_that_finds_the_key_again),
        WITH(fixture_setup_login, test_key_survives_the_process),
        WITH(fixture_setup_login, test_audit_key_is_a_key_like_others),
        WITH(fixture_setup_login, test_deleted_key_leaves_nothing_but_its_certificate),
        WITH(fixture_setup_login, test_token_that_takes_a_shorter_template_only_gets_one),
        WITH(fixture_setup_login, test_key_that_could_be_taken_out_is_destroyed_and_refused),
        WITH(fixture_setup_login, test_what_a_token_does_not_say_of_a_new_key_counts_against_it),
        WITH(fixture_setup_login, test_failure_after_the_key_was_made_leaves_no_key),
        WITH(fixture_setup_login, test_unknown_facts_are_the_unsafe_ones),
        WITH(fixture_setup_login, test_foreign_key_is_opened_by_id_or_label_with_its_facts),
        WITH(fixture_setup_login, test_uri_that_fits_two_keys_is_refused),
        WITH(fixture_setup_login, test_uri_of_another_token_or_module_or_with_a_pin_is_refused),
        WITH(fixture_setup_login, test_key_that_cannot_sign_is_refused),
        WITH(fixture_setup_login, test_rsa_key_is_unsupported),
        WITH(fixture_setup_closed, test_each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
