/* The public half of a key, and everything that is read of one: curves, points, certificates,
 * lengths. */
#include <stdio.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "hsm/pkcs11/pkcs11_public.h"

#include "fixture_token.h"

static const enum key_algorithm algorithms[] = {KEY_ES256, KEY_ES384, KEY_EDDSA};

static CK_BBOOL yes = CK_TRUE;

static void
make_certificate(const struct public_key *public, uint8_t *ret_der, size_t size, size_t *ret_len)
{
    struct ath_slice der = public_key_der(public);
    const unsigned char *cursor = der.data;
    EVP_PKEY *subject = d2i_PUBKEY(NULL, &cursor, (long)der.len);
    EVP_PKEY *issuer = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *x509 = X509_new();
    unsigned char *out = ret_der;
    int len;

    assert_true(subject != NULL && issuer != NULL && x509 != NULL);
    assert_int_equal(X509_set_pubkey(x509, subject), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x509), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x509), 60));
    assert_true(X509_sign(x509, issuer, EVP_sha256()) > 0);
    len = i2d_X509(x509, NULL);
    assert_true(len > 0 && (size_t)len <= size);
    *ret_len = (size_t)i2d_X509(x509, &out);
    X509_free(x509);
    EVP_PKEY_free(issuer);
    EVP_PKEY_free(subject);
}

static void
add_certificate(struct fixture *fixture, uint8_t id, const uint8_t *der, size_t len)
{
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    uint8_t subject[] = {0x30, 0};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_CERTIFICATE_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, 1},
        {CKA_ID, &id, 1},
        {CKA_SUBJECT, subject, sizeof(subject)},
        {CKA_VALUE, (void *)(uintptr_t)der, len},
    };
    CK_OBJECT_HANDLE handle;

    assert_int_equal(fixture->token->module->f->C_CreateObject(
                         fixture->token->sessions[PKCS11_MAIN_SESSION], template, 6, &handle),
                     CKR_OK);
}

static void
test_public_half_comes_from_a_certificate_where_there_is_no_public_key(void **state)
{
    struct fixture *fixture = *state;
    CK_OBJECT_HANDLE public, private;
    uint8_t certificate[2048];
    struct hsm_fault fault;
    struct hsm_key *key;
    size_t len = 0;

    fixture_raw_key(fixture, 5, "piv", NULL, 0, &public, &private);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:id=%05", &fault, &key), ATH_OK);
    make_certificate(key->public, certificate, sizeof(certificate), &len);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
    assert_int_equal(fixture->token->module->f->C_DestroyObject(
                         fixture->token->sessions[PKCS11_MAIN_SESSION], public),
                     CKR_OK);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:id=%05", &fault, &key),
                     ATH_ERR_INVALID_PARAMS);
    fixture_must_say(&fault, "no public key or certificate");
    add_certificate(fixture, 5, (const uint8_t *)"\x30\x03\x02\x01\x00", 5);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:id=%05", &fault, &key), ATH_ERR_HSM_ERROR);
    add_certificate(fixture, 5, certificate, len);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:id=%05", &fault, &key), ATH_OK);
    fixture_must_sign(fixture, 0, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_broken_certificate_gives_no_key(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    uint8_t certificate[2048];
    struct public_key *public = NULL;
    struct why why;
    size_t len = 0;

    make_certificate(key->public, certificate, sizeof(certificate), &len);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(
            pkcs11_public_of_certificate(ath_slice_of(certificate, cut), &why, &public),
            ATH_ERR_INVALID_PUBLIC_KEY);
    assert_int_equal(pkcs11_public_of_certificate(ath_slice_of(certificate, len), &why, &public),
                     ATH_OK);
    assert_true(public_key_equal(public, key->public));
    public_key_free(public);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* ---- curves and points ---- */

static uint8_t given[300];
static size_t given_len;
static CK_ATTRIBUTE_TYPE given_type;

static CK_RV
lying_get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
          CK_ULONG count)
{
    if (template[0].type != given_type)
        return fixture_real->C_GetAttributeValue(session, object, template, count);
    if (given_len <= template[0].ulValueLen && template[0].pValue != NULL)
        memcpy(template[0].pValue, given, given_len);
    template[0].ulValueLen = given_len;
    return CKR_OK;
}

static ath_err
open_with(struct fixture *fixture, const struct hsm_key *key, CK_ATTRIBUTE_TYPE type,
          const void *value, size_t len)
{
    struct hsm_key *again = NULL;
    struct hsm_fault fault = {0};
    ath_err err;

    given_type = type;
    if (value != NULL)
        memcpy(given, value, len);
    given_len = len;
    err = pkcs11_backend_ops.key_open(fixture->hsm, ath_buf_slice(&key->blob), &fault, &again);
    if (err == ATH_OK && again->public != NULL)
        assert_true(public_key_equal(key->public, again->public));
    pkcs11_backend_ops.key_close(fixture->hsm, again);
    return err;
}

static void
test_point_is_taken_bare_and_wrapped_and_in_no_other_form(void **state)
{
    static const size_t coordinates[] = {64, 96, 32};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 3; i++) {
        struct hsm_key *key = fixture_key(fixture, algorithms[i], "k");
        struct ath_slice der = public_key_der(key->public);
        size_t len = coordinates[i] + (algorithms[i] == KEY_EDDSA ? 0 : 1);
        const uint8_t *point = der.data + der.len - len;
        uint8_t wrapped[100] = {4, (uint8_t)len};

        memcpy(wrapped + 2, point, len);
        fixture_fake(fixture)->C_GetAttributeValue = lying_get;
        assert_int_equal(open_with(fixture, key, CKA_EC_POINT, point, len), ATH_OK);
        assert_int_equal(open_with(fixture, key, CKA_EC_POINT, wrapped, len + 2), ATH_OK);
        for (size_t cut = 0; cut < len + 2; cut++) {
            if (cut != len) /* those might be a point */
                assert_int_not_equal(open_with(fixture, key, CKA_EC_POINT, wrapped, cut), ATH_OK);
        }
        assert_int_not_equal(open_with(fixture, key, CKA_EC_POINT, wrapped, len + 3), ATH_OK);
        assert_int_not_equal(open_with(fixture, key, CKA_EC_POINT, NULL, 299), ATH_OK);
        assert_int_not_equal(open_with(fixture, key, CKA_EC_POINT, NULL, SIZE_MAX), ATH_OK);
        wrapped[1] ^= 1;
        assert_int_not_equal(open_with(fixture, key, CKA_EC_POINT, wrapped, len + 2), ATH_OK);
        wrapped[1] ^= 1;
        wrapped[2] ^= 6; /* compressed */
        if (algorithms[i] != KEY_EDDSA)
            assert_int_not_equal(open_with(fixture, key, CKA_EC_POINT, wrapped, len + 2), ATH_OK);
        fixture->token->module->f = (CK_FUNCTION_LIST *)(uintptr_t)fixture_real;
        pkcs11_backend_ops.key_close(fixture->hsm, key);
    }
}

static void
test_curve_must_be_named_and_one_of_ours(void **state)
{
    static const uint8_t explicit_params[] = {0x30, 0x03, 0x02, 0x01, 0x01};
    static const uint8_t secp256k1[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};
    struct fixture *fixture = *state;
    const struct pkcs11_curve *curve = NULL;
    struct why why;

    (void)fixture;
    assert_int_equal(pkcs11_curve_of_params(ath_slice_of(explicit_params, 5), &why, &curve),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
    assert_non_null(strstr(why.text, "explicit"));
    assert_int_equal(pkcs11_curve_of_params(ath_slice_of(secp256k1, 7), &why, &curve),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
    assert_int_equal(pkcs11_curve_of_params(ath_slice_of(NULL, 0), &why, &curve),
                     ATH_ERR_UNSUPPORTED_ALGORITHM);
    assert_int_equal(pkcs11_curve_of_params(ath_slice_of("\x13\x0c"
                                                         "edwards25519",
                                                         14),
                                            &why, &curve),
                     ATH_OK);
    assert_int_equal(curve->algorithm, KEY_EDDSA);
}

/* ---- lengths of everything ---- */

static void
test_no_length_that_a_module_gives_harms(void **state)
{
    static const CK_ATTRIBUTE_TYPE types[] = {
        CKA_ID,    CKA_LABEL, CKA_KEY_TYPE,        CKA_SIGN,     CKA_EC_PARAMS, CKA_EC_POINT,
        CKA_LOCAL, CKA_VALUE, CKA_PUBLIC_KEY_INFO, CKA_SENSITIVE};
    static const size_t lengths[] = {0, 1, 7, 8, 9, 255, 256, 257, 299, SIZE_MAX, SIZE_MAX - 1};
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");

    fixture_fake(fixture)->C_GetAttributeValue = lying_get;
    memset(given, 'x', sizeof(given));
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++)
            (void)!open_with(fixture, key, types[i], NULL, lengths[k]);
    }
    /* neither id nor label: it could not be found again */
    assert_int_equal(open_with(fixture, key, CKA_ID, NULL, 0), ATH_OK);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static CK_RV
too_many_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max,
                 CK_ULONG *count)
{
    (void)session;
    for (CK_ULONG i = 0; i < max; i++)
        objects[i] = 1;
    *count = max + 1;
    return CKR_OK;
}

static CK_RV
objects_without_handle(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max,
                       CK_ULONG *count)
{
    (void)session;
    (void)objects;
    *count = max;
    return CKR_OK;
}

/* One first, then more than there is room for. */
static CK_RV
one_then_too_many(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max,
                  CK_ULONG *count)
{
    static unsigned calls;
    bool is_first = calls++ % 2 == 0;

    (void)session;
    objects[0] = 7;
    *count = is_first ? 1 : max + 1;
    return CKR_OK;
}

static void
test_search_that_lies_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct hsm_fault fault;
    struct hsm_key *key;

    fake->C_FindObjects = too_many_objects;
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=k", &fault, &key), ATH_ERR_HSM_ERROR);
    fixture_must_say(&fault, "more objects than were asked for");
    fake->C_FindObjects = one_then_too_many;
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=k", &fault, &key), ATH_ERR_HSM_ERROR);
    fixture_must_say(&fault, "more objects than were asked for");
    fake->C_FindObjects = objects_without_handle;
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=k", &fault, &key), ATH_ERR_HSM_ERROR);
    fixture_must_say(&fault, "without a handle");
    fake->C_FindObjects = fixture_real->C_FindObjects;
    assert_int_equal(fixture_key_open(fixture, "pkcs11:object=k", &fault, &key),
                     ATH_ERR_KEY_NOT_FOUND);
}

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(fixture_setup_login,
             test_public_half_comes_from_a_certificate_where_there_is_no_public_key),
        WITH(fixture_setup_login, test_broken_certificate_gives_no_key),
        WITH(fixture_setup_login, test_point_is_taken_bare_and_wrapped_and_in_no_other_form),
        WITH(fixture_setup_login, test_curve_must_be_named_and_one_of_ours),
        WITH(fixture_setup_login, test_no_length_that_a_module_gives_harms),
        WITH(fixture_setup_login, test_search_that_lies_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
