/* The raw Cryptoki loop (PKCS #11 2.40) that athd is compared with: the module in this process, a
 * session a thread, nothing else. The only file of the tools that knows Cryptoki. A process that
 * has opened a module may ask it for nothing else afterwards: callers fork for it. */
#include "ath_bench.h"

#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/digest.h"

#define SLOTS_MAX 16
#define THREADS_MAX 8
#define COORDINATE_LEN 32u
#define POINT_LEN (3u + 2u * COORDINATE_LEN) /* DER OCTET STRING of 04 || X || Y */
#define RAW_SIGNATURE_LEN (2u * COORDINATE_LEN)
#define MESSAGE_LEN 400 /* about the signing input of an attestation */

struct bench_module {
    void *library;
    CK_FUNCTION_LIST *functions;
};

static ath_err
refused(struct why *why, const char *call, CK_RV rv)
{
    return why_set(why, ATH_ERR_HSM_ERROR, "the token's module: %s gives 0x%lx", call,
                   (unsigned long)rv);
}

ath_err
bench_module_open(const char *path, struct why *why, struct bench_module **ret_module)
{
    CK_C_INITIALIZE_ARGS threads = {.flags = CKF_OS_LOCKING_OK};
    struct bench_module *module = calloc(1, sizeof(*module));
    CK_C_GetFunctionList get_list = NULL;
    void *symbol;
    CK_RV rv;

    if (!module)
        return ATH_ERR_NOMEM;
    if (!(module->library = dlopen(path, RTLD_NOW | RTLD_LOCAL)) ||
        !(symbol = dlsym(module->library, "C_GetFunctionList"))) {
        free(module);
        return why_set(why, ATH_ERR_HSM_UNAVAILABLE, "%s cannot be loaded", path);
    }
    memcpy(&get_list, &symbol, sizeof(get_list)); /* ISO C has no cast for it */
    if ((rv = get_list(&module->functions)) != CKR_OK ||
        (rv = module->functions->C_Initialize(&threads)) != CKR_OK) {
        free(module);
        return refused(why, "C_Initialize", rv);
    }
    *ret_module = module;
    return ATH_OK;
}

void
bench_module_close(struct bench_module *module)
{
    if (!module)
        return;
    module->functions->C_Finalize(NULL);
    free(module); /* the library stays: it may have threads and exit handlers of its own */
}

/* ---- the token ---- */

/* The first slot whose token has (or has not) been initialised: the directory holds one token. */
static ath_err
find_slot(const struct bench_module *module, bool is_initialised, struct why *why,
          CK_SLOT_ID *ret_slot)
{
    CK_ULONG count = SLOTS_MAX;
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_TOKEN_INFO info;
    CK_RV rv;

    if ((rv = module->functions->C_GetSlotList(CK_TRUE, slots, &count)) != CKR_OK)
        return refused(why, "C_GetSlotList", rv);
    for (CK_ULONG i = 0; i < count; i++) {
        if (module->functions->C_GetTokenInfo(slots[i], &info) != CKR_OK)
            continue;
        if (((info.flags & CKF_TOKEN_INITIALIZED) != 0) == is_initialised) {
            *ret_slot = slots[i];
            return ATH_OK;
        }
    }
    return why_set(why, ATH_ERR_HSM_UNAVAILABLE, "the token's module shows no such token");
}

static ath_err
open_session(const struct bench_module *module, struct why *why, CK_SESSION_HANDLE *ret_session)
{
    CK_SLOT_ID slot;
    CK_RV rv;
    ath_err err;

    if ((err = find_slot(module, true, why, &slot)) != ATH_OK)
        return err;
    rv = module->functions->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                          ret_session);
    return rv == CKR_OK ? ATH_OK : refused(why, "C_OpenSession", rv);
}

/* A PIN or label in storage that Cryptoki, which knows no const, may point at. */
struct text {
    CK_UTF8CHAR bytes[64];
    CK_ULONG len;
};

static struct text
text_of(const char *string)
{
    struct text text = {.len = strlen(string)};

    if (text.len > sizeof(text.bytes))
        text.len = sizeof(text.bytes);
    memcpy(text.bytes, string, text.len);
    return text;
}

static ath_err
log_in(const struct bench_module *module, CK_SESSION_HANDLE session, CK_USER_TYPE user,
       const char *pin, struct why *why)
{
    struct text text = text_of(pin);
    CK_RV rv = module->functions->C_Login(session, user, text.bytes, text.len);

    return rv == CKR_OK ? ATH_OK : refused(why, "C_Login", rv);
}

ath_err
bench_module_make_token(struct bench_module *module, const char *label, const char *pin,
                        struct why *why)
{
    struct text name = text_of(label), user_pin = text_of(pin);
    CK_SESSION_HANDLE session;
    CK_SLOT_ID slot;
    CK_RV rv;
    ath_err err;

    memset(name.bytes + name.len, ' ', sizeof(name.bytes) - name.len); /* padded, 32 are read */
    if ((err = find_slot(module, false, why, &slot)) != ATH_OK)
        return err;
    if ((rv = module->functions->C_InitToken(slot, user_pin.bytes, user_pin.len, name.bytes)) !=
        CKR_OK)
        return refused(why, "C_InitToken", rv);
    if ((err = open_session(module, why, &session)) != ATH_OK ||
        (err = log_in(module, session, CKU_SO, pin, why)) != ATH_OK)
        return err;
    if ((rv = module->functions->C_InitPIN(session, user_pin.bytes, user_pin.len)) != CKR_OK)
        return refused(why, "C_InitPIN", rv);
    module->functions->C_Logout(session);
    module->functions->C_CloseSession(session);
    return ATH_OK;
}

/* ---- the key ---- */

static ath_err
generate(const struct bench_module *module, CK_SESSION_HANDLE session, struct why *why,
         CK_OBJECT_HANDLE *ret_public)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    static CK_BYTE id[] = {1};
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    struct text label = text_of("bench");
    CK_ATTRIBUTE public_half[] = {
        {CKA_EC_PARAMS, p256, sizeof(p256)}, {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VERIFY, &yes, sizeof(yes)},     {CKA_ID, id, sizeof(id)},
        {CKA_LABEL, label.bytes, label.len},
    };
    CK_ATTRIBUTE private_half[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},      {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},  {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_SIGN, &yes, sizeof(yes)},       {CKA_ID, id, sizeof(id)},
        {CKA_LABEL, label.bytes, label.len},
    };
    CK_OBJECT_HANDLE private_key;
    CK_RV rv = module->functions->C_GenerateKeyPair(
        session, &mechanism, public_half, sizeof(public_half) / sizeof(public_half[0]),
        private_half, sizeof(private_half) / sizeof(private_half[0]), ret_public, &private_key);

    return rv == CKR_OK ? ATH_OK : refused(why, "C_GenerateKeyPair", rv);
}

ath_err
bench_module_make_key(struct bench_module *module, const char *pin, struct why *why,
                      struct ath_buf *ret_der)
{
    CK_BYTE point[POINT_LEN + 1];
    CK_ATTRIBUTE value = {CKA_EC_POINT, point, sizeof(point)};
    struct public_key *public_key = NULL;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE object;
    CK_RV rv;
    ath_err err;

    if ((err = open_session(module, why, &session)) != ATH_OK ||
        (err = log_in(module, session, CKU_USER, pin, why)) != ATH_OK ||
        (err = generate(module, session, why, &object)) != ATH_OK)
        return err;
    if ((rv = module->functions->C_GetAttributeValue(session, object, &value, 1)) != CKR_OK)
        return refused(why, "C_GetAttributeValue", rv);
    if (value.ulValueLen != POINT_LEN || point[2] != 0x04)
        return why_set(why, ATH_ERR_HSM_ERROR, "the token's module gives a point of unknown form");
    if ((err = public_key_from_point(KEY_ES256, ath_slice_of(point + 3, COORDINATE_LEN),
                                     ath_slice_of(point + 3 + COORDINATE_LEN, COORDINATE_LEN), why,
                                     &public_key)) != ATH_OK)
        return err;
    ath_buf_put_slice(ret_der, public_key_der(public_key));
    public_key_free(public_key);
    return ret_der->err;
}

/* ---- the loop ---- */

struct signer { /* one thread, one session */
    const struct bench_module *module;
    const struct public_key *verify_with; /* NULL: not verified */
    double seconds;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    uint64_t number, began_us, ended_us;
    struct bench_samples samples;
    struct why why;
    ath_err err;
};

static ath_err
find_key(struct signer *signer)
{
    const CK_FUNCTION_LIST *functions = signer->module->functions;
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    struct text label = text_of("bench");
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof(class)},
                             {CKA_LABEL, label.bytes, label.len}};
    CK_ULONG count = 0;
    CK_RV rv;

    if ((rv = functions->C_FindObjectsInit(signer->session, wanted, 2)) != CKR_OK)
        return refused(&signer->why, "C_FindObjectsInit", rv);
    rv = functions->C_FindObjects(signer->session, &signer->key, 1, &count);
    functions->C_FindObjectsFinal(signer->session);
    return rv == CKR_OK && count == 1 ? ATH_OK : refused(&signer->why, "C_FindObjects", rv);
}

/* What is signed differs each time. Where it is verified it is a message, hashed as athd's is. */
static ath_err
sign_once(struct signer *signer, uint8_t message[MESSAGE_LEN])
{
    const CK_FUNCTION_LIST *functions = signer->module->functions;
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    uint8_t digest[SHA256_LEN] = {0};
    CK_BYTE signature[RAW_SIGNATURE_LEN];
    CK_ULONG len = sizeof(signature);
    CK_RV rv;
    ath_err err;

    signer->number++;
    memcpy(message, &signer->number, sizeof(signer->number));
    memcpy(digest, &signer->number, sizeof(signer->number));
    if (signer->verify_with && (err = sha256(ath_slice_of(message, MESSAGE_LEN), digest)) != ATH_OK)
        return err;
    if ((rv = functions->C_SignInit(signer->session, &mechanism, signer->key)) != CKR_OK)
        return refused(&signer->why, "C_SignInit", rv);
    if ((rv = functions->C_Sign(signer->session, digest, sizeof(digest), signature, &len)) !=
        CKR_OK)
        return refused(&signer->why, "C_Sign", rv);
    return signer->verify_with
               ? public_key_verify(signer->verify_with, ath_slice_of(message, MESSAGE_LEN),
                                   ath_slice_of(signature, len))
               : ATH_OK;
}

static void *
run_signer(void *ctx)
{
    struct signer *signer = ctx;
    uint8_t message[MESSAGE_LEN] = {0};
    uint64_t now = clock_monotonic_us(), ends_us = now + (uint64_t)(signer->seconds * 1e6);

    signer->began_us = now;
    while (now < ends_us && !bench_interrupted) {
        const uint64_t before = now;

        if ((signer->err = sign_once(signer, message)) != ATH_OK)
            return NULL;
        now = clock_monotonic_us();
        bench_samples_add(&signer->samples, now - before);
    }
    signer->ended_us = now;
    return NULL;
}

/* All signatures of all threads, between the first start and the last end. */
static ath_err
gather(struct signer *signers, unsigned count, struct why *why, struct bench_run *ret_run)
{
    uint64_t began_us = signers[0].began_us, ended_us = signers[0].ended_us;
    struct bench_samples all = {0};
    ath_err err = ATH_OK;

    for (unsigned i = 0; i < count; i++) {
        const struct signer *one = &signers[i];

        if (err == ATH_OK && (err = one->err) != ATH_OK)
            *why = one->why;
        began_us = one->began_us < began_us ? one->began_us : began_us;
        ended_us = one->ended_us > ended_us ? one->ended_us : ended_us;
        for (size_t k = 0; k < one->samples.count; k++)
            bench_samples_add(&all, one->samples.us[k]);
        bench_samples_done(&signers[i].samples);
    }
    *ret_run = bench_run_of(&all, ended_us - began_us);
    bench_samples_done(&all);
    return err;
}

ath_err
bench_module_run(struct bench_module *module, const struct bench_raw *raw, const char *pin,
                 struct why *why, struct bench_run *ret_run)
{
    struct signer signers[THREADS_MAX] = {0};
    pthread_t ids[THREADS_MAX];
    unsigned started = 0;
    ath_err err = ATH_OK;

    for (unsigned i = 0; i < raw->threads; i++) {
        signers[i] = (struct signer){
            .module = module, .verify_with = raw->verify_with, .seconds = raw->seconds};
        if ((err = open_session(module, why, &signers[i].session)) != ATH_OK)
            return err;
        /* a login holds for all sessions of a process */
        if (i == 0 && (err = log_in(module, signers[0].session, CKU_USER, pin, why)) != ATH_OK)
            return err;
        if ((err = find_key(&signers[i])) != ATH_OK) {
            *why = signers[i].why;
            return err;
        }
    }
    for (; started < raw->threads; started++)
        if (pthread_create(&ids[started], NULL, run_signer, &signers[started]) != 0)
            break;
    for (unsigned i = 0; i < started; i++)
        pthread_join(ids[i], NULL);
    if (started < raw->threads)
        err = ATH_ERR_NOMEM;
    return err == ATH_OK ? gather(signers, started, why, ret_run) : err;
}
