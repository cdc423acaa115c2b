#include "fixture_token.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/digest.h"
#include "hsm/pkcs11/pkcs11_session.h"

#define SOFTHSM_NAME "softhsm2"

unsigned fixture_logins;

/* SoftHSM leaks a string for each Ed25519 signature, tpm2-pkcs11 a slot for each C_Initialize. */
ATH_PUBLIC const char *__lsan_default_suppressions(void);
ATH_PUBLIC const char *__asan_default_options(void);

const char *
__lsan_default_suppressions(void)
{
    return "leak:libsofthsm2.so\nleak:libtpm2_pkcs11.so\n";
}

/* The libraries have no frame pointers by which the module could be seen in a leak's stack. */
const char *
__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

/* ---- directories ---- */

static int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

void
fixture_remove_tree(const char *dir)
{
    (void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void
write_config(const struct fixture *fixture)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/tokens", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/softhsm2.conf", fixture->dir);
    assert_non_null(file = fopen(path, "w"));
    fprintf(file,
            "directories.tokendir = %s/tokens\nobjectstore.backend = file\n"
            "log.level = ERROR\nslots.removable = false\n",
            fixture->dir);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(setenv("SOFTHSM2_CONF", path, 1), 0);
}

static void
rename_tokens(const struct fixture *fixture, const char *from, const char *to)
{
    char old[128], new[128];

    (void)snprintf(old, sizeof(old), "%s/%s", fixture->dir, from);
    (void)snprintf(new, sizeof(new), "%s/%s", fixture->dir, to);
    assert_int_equal(rename(old, new), 0);
}

void
fixture_hide_tokens(struct fixture *fixture)
{
    rename_tokens(fixture, "tokens", "away");
}

void
fixture_show_tokens(struct fixture *fixture)
{
    rename_tokens(fixture, "away", "tokens");
}

/* ---- tokens ---- */

static CK_SLOT_ID
last_slot(const CK_FUNCTION_LIST *f)
{
    CK_SLOT_ID slots[16];
    CK_ULONG count = 16;

    assert_int_equal(f->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK);
    assert_int_equal(f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    assert_true(count > 0);
    return slots[count - 1];
}

static void
set_user_pin(const CK_FUNCTION_LIST *f, CK_SLOT_ID slot)
{
    CK_SESSION_HANDLE session;

    assert_int_equal(
        f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), CKR_OK);
    assert_int_equal(f->C_Login(session, CKU_SO, (CK_UTF8CHAR *)(uintptr_t)FIXTURE_SO_PIN,
                                strlen(FIXTURE_SO_PIN)),
                     CKR_OK);
    assert_int_equal(
        f->C_InitPIN(session, (CK_UTF8CHAR *)(uintptr_t)FIXTURE_PIN, strlen(FIXTURE_PIN)), CKR_OK);
    assert_int_equal(f->C_CloseSession(session), CKR_OK);
}

void
fixture_add_token(struct fixture *fixture, const char *label, bool with_pin)
{
    struct pkcs11_uri uri = {.id_len = 0};
    struct pkcs11_module *module = NULL;
    struct hsm_fault fault = {0};
    CK_UTF8CHAR padded[32];
    CK_SLOT_ID slot;

    (void)snprintf(uri.module_path, sizeof(uri.module_path), "%s", fixture->module);
    assert_int_equal(pkcs11_module_open(&uri, &fault, &module), ATH_OK);
    slot = last_slot(module->f); /* SoftHSM's last slot is the empty one */
    memset(padded, ' ', sizeof(padded));
    memcpy(padded, label, strlen(label));
    assert_int_equal(module->f->C_InitToken(slot, (CK_UTF8CHAR *)(uintptr_t)FIXTURE_SO_PIN,
                                            strlen(FIXTURE_SO_PIN), padded),
                     CKR_OK);
    if (with_pin)
        set_user_pin(module->f, slot);
    pkcs11_module_close(module);
}

/* ---- between us and the module ---- */

const CK_FUNCTION_LIST *fixture_real;
static CK_FUNCTION_LIST fake;

static CK_RV
count_login(CK_SESSION_HANDLE session, CK_USER_TYPE type, CK_UTF8CHAR *pin, CK_ULONG len)
{
    fixture_logins++;
    return fixture_real->C_Login(session, type, pin, len);
}

CK_FUNCTION_LIST *
fixture_fake(struct fixture *fixture)
{
    fixture_real = fixture->token->module->f;
    fake = *fixture_real;
    fake.C_Login = count_login;
    fixture->token->module->f = &fake;
    fixture_logins = 0;
    return &fake;
}

void
fixture_must_say(const struct hsm_fault *fault, const char *part)
{
    if (strstr(fault->why.text, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, fault->why.text);
}

/* ---- the fixture ---- */

ath_err
fixture_open(struct fixture *fixture, const char *uri, struct hsm_fault *fault)
{
    const struct hsm_options options = {.uri = uri, .state_dir = fixture->dir};
    ath_err err;

    *fault = (struct hsm_fault){0};
    err = pkcs11_backend_ops.open(&options, fault, &fixture->hsm);
    if (err == ATH_OK)
        fixture->token = pkcs11_backend_token(fixture->hsm);
    return err;
}

void
fixture_close(struct fixture *fixture)
{
    pkcs11_backend_ops.close(fixture->hsm);
    fixture->hsm = NULL;
    fixture->token = NULL;
}

int
fixture_setup_empty(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const struct pkcs11_uri softhsm = {.module_name = SOFTHSM_NAME};
    char path[PKCS11_PATH_MAX];
    struct why why;

    assert_non_null(fixture);
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(crypto_init(), ATH_OK);
    assert_int_equal(pkcs11_module_find(&softhsm, &why, path), ATH_OK);
    assert_true(strlen(path) < sizeof(fixture->module));
    memcpy(fixture->module, path, strlen(path) + 1);
    (void)snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/ath-test-p11-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    write_config(fixture);
    (void)snprintf(fixture->uri, sizeof(fixture->uri), "pkcs11:token=agent?module-path=%s",
                   fixture->module);
    *state = fixture;
    return 0;
}

int
fixture_setup_closed(void **state)
{
    fixture_setup_empty(state);
    fixture_add_token(*state, "agent", true);
    return 0;
}

int
fixture_setup(void **state)
{
    struct fixture *fixture;
    struct hsm_fault fault;

    fixture_setup_closed(state);
    fixture = *state;
    assert_int_equal(fixture_open(fixture, fixture->uri, &fault), ATH_OK);
    return 0;
}

int
fixture_setup_login(void **state)
{
    struct fixture *fixture;
    struct hsm_fault fault;

    fixture_setup(state);
    fixture = *state;
    fixture->token->info.parallel = 2; /* whatever this machine has */
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    return 0;
}

int
fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    fixture_close(fixture);
    fixture_remove_tree(fixture->dir);
    free(fixture);
    return 0;
}

ath_err
fixture_login(struct fixture *fixture, const char *pin, struct hsm_fault *fault)
{
    *fault = (struct hsm_fault){0};
    return pkcs11_backend_ops.login(fixture->hsm, ath_slice_of_string(pin), fault);
}

struct hsm_key *
fixture_key(struct fixture *fixture, enum key_algorithm algorithm, const char *label)
{
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;
    ath_err err = pkcs11_backend_ops.key_create(fixture->hsm, algorithm, HSM_KEY_IDENTITY, label,
                                                &fault, &blob);

    if (err == ATH_OK)
        err = pkcs11_backend_ops.key_open(fixture->hsm, ath_buf_slice(&blob), &fault, &key);
    if (err != ATH_OK)
        print_error("%s: %s\n", ath_buf_text(&blob), why_text(&fault.why, err));
    assert_int_equal(err, ATH_OK);
    ath_buf_done(&blob);
    return key;
}

ath_err
fixture_sign(struct fixture *fixture, unsigned worker, struct hsm_key *key, const char *pin,
             struct hsm_fault *fault)
{
    const struct ath_slice message = ath_slice_of_string("header.claims");
    uint8_t signature[SIGNATURE_MAX_LEN];
    size_t len = key_algorithm_signature_len(key->curve->algorithm);
    ath_err err;

    *fault = (struct hsm_fault){0};
    err = pkcs11_backend_ops.sign_with(fixture->hsm, worker, key, message, ath_slice_of_string(pin),
                                       fault, signature);
    if (err != ATH_OK)
        return err;
    return public_key_verify(key->public, message, ath_slice_of(signature, len));
}

void
fixture_must_sign(struct fixture *fixture, unsigned worker, struct hsm_key *key)
{
    struct hsm_fault fault;
    ath_err err = fixture_sign(fixture, worker, key, "", &fault);

    if (err != ATH_OK)
        print_error("%s\n", why_text(&fault.why, err));
    assert_int_equal(err, ATH_OK);
}

size_t
fixture_count_objects(struct fixture *fixture, CK_OBJECT_CLASS class)
{
    const struct pkcs11_object_query query = {.class = class};
    CK_OBJECT_HANDLE objects[64];
    struct hsm_fault fault = {0};
    size_t count = 0;

    assert_int_equal(pkcs11_object_find(fixture->token,
                                        fixture->token->sessions[PKCS11_MAIN_SESSION], &query,
                                        objects, 64, &count, &fault),
                     ATH_OK);
    return count;
}

void
fixture_raw_key(struct fixture *fixture, uint8_t id, const char *label, const CK_ATTRIBUTE *more,
                size_t more_count, CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private)
{
    static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_BBOOL yes = CK_TRUE;
    void *params = (void *)(uintptr_t)p256, *text = (void *)(uintptr_t)label;
    CK_ATTRIBUTE public[] = {
        {CKA_TOKEN, &yes, 1},
        {CKA_EC_PARAMS, params, sizeof(p256)},
        {CKA_ID, &id, 1},
        {CKA_LABEL, text, strlen(label)},
    };
    CK_ATTRIBUTE private[7] = {
        {CKA_TOKEN, &yes, 1}, {CKA_ID, &id, 1}, {CKA_LABEL, text, strlen(label)}};

    assert_true(more_count <= 4);
    if (more_count > 0)
        memcpy(private + 3, more, more_count * sizeof(*more));
    assert_int_equal(fixture->token->module->f->C_GenerateKeyPair(
                         fixture->token->sessions[PKCS11_MAIN_SESSION], &mechanism, public, 4,
                         private, 3 + more_count, ret_public, ret_private),
                     CKR_OK);
}

ath_err
fixture_key_open(struct fixture *fixture, const char *uri, struct hsm_fault *fault,
                 struct hsm_key **ret_key)
{
    *fault = (struct hsm_fault){0};
    *ret_key = NULL;
    return pkcs11_backend_ops.key_open(fixture->hsm, ath_slice_of_string(uri), fault, ret_key);
}
