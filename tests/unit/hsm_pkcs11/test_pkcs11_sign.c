#include <pthread.h>

#include "hsm/pkcs11/pkcs11_sign.h"

#include "fixture_token.h"

#define THREADS 4u
#define SIGNATURES 100u

static CK_BBOOL yes = CK_TRUE;

/* ---- sessions and handles that are lost ---- */

static void
test_lost_session_is_opened_anew(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    unsigned index = pkcs11_session_of_worker(fixture->token, 1);

    fixture_must_sign(fixture, 1, key);
    assert_int_not_equal(index, PKCS11_MAIN_SESSION);
    assert_int_equal(fixture->token->module->f->C_CloseSession(fixture->token->sessions[index]),
                     CKR_OK);
    fixture_must_sign(fixture, 1, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* With its last session the login ends: nobody logs in again but the user. */
static void
test_loss_of_all_sessions_asks_for_the_pin(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_fault fault;
    uint8_t bytes[32];

    fixture_must_sign(fixture, 0, key);
    fixture_fake(fixture);
    assert_int_equal(fixture_real->C_CloseAllSessions(fixture->token->place.slot), CKR_OK);
    assert_int_equal(fixture_sign(fixture, 0, key, FIXTURE_PIN, &fault), ATH_ERR_PIN_REQUIRED);
    assert_int_equal(pkcs11_backend_ops.random(fixture->hsm, bytes, sizeof(bytes), &fault), ATH_OK);
    assert_int_equal(fixture_logins, 0);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    fixture_must_sign(fixture, 0, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_lost_handle_is_looked_up_anew(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_fault fault = {0};

    key->handle += 1000;
    fixture_must_sign(fixture, 0, key);
    key->handle += 1000;
    assert_int_equal(pkcs11_backend_ops.key_delete(fixture->hsm, key, &fault), ATH_OK);
    assert_int_equal(fixture_count_objects(fixture, CKO_PRIVATE_KEY), 0);
}

static void
test_key_that_was_deleted_by_others_is_missed(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_fault fault;

    assert_int_equal(fixture->token->module->f->C_DestroyObject(
                         fixture->token->sessions[PKCS11_MAIN_SESSION], key->handle),
                     CKR_OK);
    assert_int_equal(fixture_sign(fixture, 0, key, "", &fault), ATH_ERR_KEY_NOT_FOUND);
    fixture_must_say(&fault, "no such private key");
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* ---- answers that are none ---- */

static CK_RV sign_rv, init_rv;
static CK_ULONG sign_len;
static unsigned signs, inits;

static CK_RV
lying_sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature,
           CK_ULONG *len)
{
    CK_RV rv = fixture_real->C_Sign(session, data, data_len, signature, len);

    signs++;
    if (sign_rv != CKR_OK)
        return sign_rv;
    *len = sign_len;
    return rv;
}

static CK_RV
failing_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    inits++;
    return init_rv != CKR_OK ? init_rv : fixture_real->C_SignInit(session, mechanism, key);
}

static void
test_signature_of_another_length_is_refused(void **state)
{
    static const CK_ULONG lengths[] = {0, 1, 63, 65, 70, 72, 96, 256, 257, 4096, (CK_ULONG)-1};
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_fault fault;

    fixture_fake(fixture)->C_Sign = lying_sign;
    sign_rv = CKR_OK;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        sign_len = lengths[i];
        assert_int_equal(fixture_sign(fixture, 0, key, "", &fault), ATH_ERR_HSM_ERROR);
        fixture_must_say(&fault, "length");
    }
    sign_len = 64;
    fixture_must_sign(fixture, 0, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* Only what was lost is done again: a token that failed is not asked once more. */
static unsigned
calls_after(CK_RV rv)
{
    enum pkcs11_action action = pkcs11_error_of(rv)->action;

    return action == PKCS11_ACTION_NEW_SESSION || action == PKCS11_ACTION_FIND_AGAIN ? 2 : 1;
}

/* A module that says that its token is gone is believed, though the token can be seen. */
static ath_err
expected_of(CK_RV rv)
{
    return rv == CKR_DEVICE_REMOVED || rv == CKR_TOKEN_NOT_PRESENT ? ATH_ERR_HSM_UNAVAILABLE
                                                                   : pkcs11_error_of(rv)->err;
}

static void
test_every_code_of_a_signature_ends_in_an_error_and_the_next_works(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct hsm_fault fault;

    fake->C_Sign = lying_sign;
    fake->C_SignInit = failing_init;
    sign_len = 64;
    for (CK_RV rv = 1; rv <= 0x210; rv++) {
        sign_rv = rv;
        init_rv = CKR_OK;
        signs = 0;
        assert_int_equal(fixture_sign(fixture, 0, key, "", &fault), expected_of(rv));
        assert_int_equal(fault.native, rv);
        assert_int_equal(signs, calls_after(rv));
        sign_rv = CKR_OK;
        init_rv = rv;
        inits = 0;
        assert_int_equal(fixture_sign(fixture, 0, key, "", &fault), expected_of(rv));
        assert_int_equal(inits, calls_after(rv));
        init_rv = CKR_OK;
        fixture_must_sign(fixture, 0, key);
    }
    assert_int_equal(fixture_logins, 0);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* A session that cannot be opened, or one without a handle. */
static CK_RV open_rv;
static CK_SESSION_HANDLE open_handle;
static CK_FLAGS open_flags;

static CK_RV
failing_open(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
             CK_SESSION_HANDLE *session)
{
    (void)slot;
    (void)application;
    (void)notify;
    open_flags = flags;
    *session = open_handle;
    return open_rv;
}

static void
test_session_that_does_not_open_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    CK_FUNCTION_LIST *fake = fixture_fake(fixture);
    struct hsm_fault fault;

    fake->C_OpenSession = failing_open;
    open_rv = CKR_SESSION_COUNT;
    open_handle = 77;
    assert_int_equal(fixture_sign(fixture, 1, key, "", &fault), ATH_ERR_HSM_BUSY);
    open_rv = CKR_OK;
    open_handle = CK_INVALID_HANDLE;
    assert_int_equal(fixture_sign(fixture, 1, key, "", &fault), ATH_ERR_HSM_ERROR);
    open_rv = CKR_TOKEN_WRITE_PROTECTED; /* then one that only reads is wanted */
    assert_int_equal(fixture_sign(fixture, 1, key, "", &fault), ATH_ERR_HSM_ERROR);
    assert_int_equal(open_flags, CKF_SERIAL_SESSION);
    fake->C_OpenSession = fixture_real->C_OpenSession;
    fixture_must_sign(fixture, 1, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* ---- tokens with one session ---- */

static void
test_single_worker_signs_in_the_session_that_holds_the_login(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");

    fixture->token->info.parallel = 1;
    fixture_fake(fixture)->C_OpenSession = failing_open;
    open_rv = CKR_SESSION_COUNT;
    fixture_must_sign(fixture, 0, key);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* ---- keys that want their PIN each time ---- */

static struct hsm_key *
careful_key(struct fixture *fixture)
{
    const CK_ATTRIBUTE careful[] = {{CKA_ALWAYS_AUTHENTICATE, &yes, 1}, {CKA_PRIVATE, &yes, 1}};
    CK_OBJECT_HANDLE public, private;
    struct hsm_key_facts facts;
    struct hsm_fault fault;
    struct hsm_key *key;

    fixture_raw_key(fixture, 9, "9c", careful, 2, &public, &private);
    assert_int_equal(fixture_key_open(fixture, "pkcs11:id=%09", &fault, &key), ATH_OK);
    pkcs11_backend_ops.key_facts(key, &facts);
    assert_true(facts.always_authenticate);
    return key;
}

static void
test_key_that_wants_its_pin_each_time_gets_it_once_a_signature(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = careful_key(fixture);
    struct hsm_fault fault;

    fixture_fake(fixture);
    for (unsigned worker = 0; worker < 2; worker++) {
        fixture_logins = 0;
        assert_int_equal(fixture_sign(fixture, worker, key, "", &fault), ATH_ERR_PIN_REQUIRED);
        assert_int_equal(fixture_logins, 0);
        assert_int_equal(fixture_sign(fixture, worker, key, "00000000", &fault),
                         ATH_ERR_PIN_INCORRECT);
        assert_int_equal(fixture_logins, 1);
        assert_int_equal(fixture_sign(fixture, worker, key, "1", &fault), ATH_ERR_PIN_INCORRECT);
        assert_int_equal(fixture_logins, 1);
        assert_int_equal(fixture_sign(fixture, worker, key, FIXTURE_PIN, &fault), ATH_OK);
        assert_int_equal(fixture_sign(fixture, worker, key, FIXTURE_PIN, &fault), ATH_OK);
        assert_int_equal(fixture_logins, 3);
    }
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_wrong_pin_for_one_signature_does_not_spoil_a_single_session(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = careful_key(fixture), *other = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_fault fault;

    fixture->token->info.parallel = 1;
    assert_int_equal(fixture_sign(fixture, 0, key, "00000000", &fault), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(fixture_sign(fixture, 0, key, "1", &fault), ATH_ERR_PIN_INCORRECT);
    fixture_must_sign(fixture, 0, other);
    assert_int_equal(fixture_sign(fixture, 0, key, FIXTURE_PIN, &fault), ATH_OK);
    pkcs11_backend_ops.key_close(fixture->hsm, other);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_pin_is_not_given_a_second_time_when_the_signature_fails(void **state)
{
    static const CK_RV codes[] = {CKR_SESSION_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID,
                                  CKR_DEVICE_REMOVED, CKR_OPERATION_NOT_INITIALIZED};
    struct fixture *fixture = *state;
    struct hsm_key *key = careful_key(fixture);
    struct hsm_fault fault;

    fixture_fake(fixture)->C_Sign = lying_sign;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        sign_rv = codes[i];
        fixture_logins = 0;
        assert_int_equal(fixture_sign(fixture, 0, key, FIXTURE_PIN, &fault), ATH_ERR_HSM_ERROR);
        assert_int_equal(fixture_logins, 1);
    }
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

/* ---- random bytes ---- */

static CK_RV
pad_login(CK_SESSION_HANDLE session, CK_USER_TYPE type, CK_UTF8CHAR *pin, CK_ULONG len)
{
    (void)session;
    fixture_logins++;
    return type == CKU_CONTEXT_SPECIFIC && pin == NULL && len == 0 ? CKR_OK : CKR_PIN_INCORRECT;
}

static void
test_pad_asks_for_the_pin_of_a_signature(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct hsm_fault fault;

    fixture_fake(fixture)->C_Login = pad_login;
    key->facts.always_authenticate = true;
    assert_int_equal(fixture_sign(fixture, 0, key, "", &fault), ATH_ERR_PIN_REQUIRED);
    assert_int_equal(fixture_logins, 0);
    fixture->token->info.login = HSM_LOGIN_PAD;
    assert_int_equal(fixture_sign(fixture, 0, key, "", &fault), ATH_OK);
    assert_int_equal(fixture_logins, 1);
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_random_bytes_differ(void **state)
{
    struct fixture *fixture = *state;
    uint8_t a[HSM_WIRE_MAX_RANDOM] = {0}, b[HSM_WIRE_MAX_RANDOM] = {0};
    struct hsm_fault fault = {0};

    assert_int_equal(pkcs11_backend_ops.random(fixture->hsm, a, sizeof(a), &fault), ATH_OK);
    assert_int_equal(pkcs11_backend_ops.random(fixture->hsm, b, sizeof(b), &fault), ATH_OK);
    assert_memory_not_equal(a, b, sizeof(a));
}

/* ---- several at once ---- */

struct worker {
    struct fixture *fixture;
    struct hsm_key *key;
    unsigned number;
    bool disturbs; /* loses its session and the key's handle now and then */
    ath_err err;
    pthread_t thread;
};

static void
forget(struct pkcs11_token *token, struct hsm_key *key)
{
    CK_OBJECT_HANDLE handle;

    (void)pthread_mutex_lock(&token->lock);
    handle = key->handle;
    (void)pthread_mutex_unlock(&token->lock);
    pkcs11_key_forget(token, key, handle);
}

static void *
sign_many(void *arg)
{
    struct worker *worker = arg;
    struct pkcs11_token *token = worker->fixture->token;
    struct hsm_fault fault;

    for (unsigned i = 0; i < SIGNATURES && worker->err == ATH_OK; i++) {
        if (worker->disturbs && i % 7 == 0)
            pkcs11_session_drop(token, pkcs11_session_of_worker(token, worker->number));
        if (worker->disturbs && i % 5 == 0)
            forget(token, worker->key);
        worker->err = fixture_sign(worker->fixture, worker->number, worker->key, "", &fault);
    }
    return NULL;
}

static void
run_workers(struct fixture *fixture, bool disturb)
{
    struct hsm_key *key = fixture_key(fixture, KEY_ES256, "k");
    struct worker workers[THREADS];

    fixture->token->info.parallel = THREADS;
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){
            .fixture = fixture, .key = key, .number = i, .disturbs = disturb && i == 0};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, sign_many, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].err, ATH_OK);
    }
    pkcs11_backend_ops.key_close(fixture->hsm, key);
}

static void
test_workers_sign_at_once(void **state)
{
    run_workers(*state, false);
}

static void
test_worker_that_loses_its_session_disturbs_no_other(void **state)
{
    run_workers(*state, true);
}

#define WITH_LOGIN(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, fixture_setup_login, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOGIN(test_lost_session_is_opened_anew),
        WITH_LOGIN(test_loss_of_all_sessions_asks_for_the_pin),
        WITH_LOGIN(test_lost_handle_is_looked_up_anew),
        WITH_LOGIN(test_key_that_was_deleted_by_others_is_missed),
        WITH_LOGIN(test_signature_of_another_length_is_refused),
        WITH_LOGIN(test_every_code_of_a_signature_ends_in_an_error_and_the_next_works),
        WITH_LOGIN(test_session_that_does_not_open_is_an_error),
        WITH_LOGIN(test_single_worker_signs_in_the_session_that_holds_the_login),
        WITH_LOGIN(test_key_that_wants_its_pin_each_time_gets_it_once_a_signature),
        WITH_LOGIN(test_wrong_pin_for_one_signature_does_not_spoil_a_single_session),
        WITH_LOGIN(test_pin_is_not_given_a_second_time_when_the_signature_fails),
        WITH_LOGIN(test_pad_asks_for_the_pin_of_a_signature),
        WITH_LOGIN(test_random_bytes_differ),
        WITH_LOGIN(test_workers_sign_at_once),
        WITH_LOGIN(test_worker_that_loses_its_session_disturbs_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
