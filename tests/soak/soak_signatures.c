/*
 * Many signatures on one private swtpm beside idle sessions of somebody else, one loaded and one
 * saved: no context gap, no slot and no session lost. Outside ctest:
 *
 *     cmake --build build/release --target soak_signatures
 *     build/release/tests/soak_signatures [COUNT, default 200000]
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "crypto/digest.h"
#include "hsm/tpm/tpm_backend.h"
#include "hsm/tpm/tpm_context.h"
#include "hsm/tpm/tpm_transport.h"

#define KEYS 5 /* two more than there are places */
#define DEFAULT_COUNT 200000ul
#define STRETCH 64ul /* signatures before the next key's turn */

/* A way to the TPM that two contexts may use in turn, and that outlives both. */
struct shared_tcti {
    TSS2_TCTI_CONTEXT_COMMON_V2 common;
    TSS2_TCTI_CONTEXT *inner;
};

static void
die(const char *what, const struct hsm_fault *fault, ath_err err)
{
    fprintf(stderr, "soak_signatures: %s: %s\n", what,
            fault != NULL ? why_text(&fault->why, err) : ath_err_sentence(err));
    exit(1);
}

static TSS2_RC
shared_transmit(TSS2_TCTI_CONTEXT *tcti, size_t len, const uint8_t *command)
{
    return Tss2_Tcti_Transmit(((struct shared_tcti *)(void *)tcti)->inner, len, command);
}

static TSS2_RC
shared_receive(TSS2_TCTI_CONTEXT *tcti, size_t *len, uint8_t *response, int32_t timeout)
{
    return Tss2_Tcti_Receive(((struct shared_tcti *)(void *)tcti)->inner, len, response, timeout);
}

static void
shared_finalize(TSS2_TCTI_CONTEXT *tcti)
{
    (void)tcti;
}

static TSS2_TCTI_CONTEXT *
share(TSS2_TCTI_CONTEXT *inner)
{
    struct shared_tcti *shared = calloc(1, sizeof(*shared));
    TSS2_TCTI_CONTEXT *transport = NULL;

    if (shared == NULL)
        die("memory", NULL, ATH_ERR_NOMEM);
    shared->common.v1.version = 2;
    shared->common.v1.transmit = shared_transmit;
    shared->common.v1.receive = shared_receive;
    shared->common.v1.finalize = shared_finalize;
    shared->inner = inner;
    if (tpm_transport_over_tcti((TSS2_TCTI_CONTEXT *)(void *)shared, false, &transport) != ATH_OK)
        die("memory", NULL, ATH_ERR_NOMEM);
    return transport;
}

static TPM2_HANDLE
start_idle_session(struct tpm_context *context)
{
    const TPMT_SYM_DEF symmetric = {.algorithm = TPM2_ALG_NULL};
    const TPM2B_NONCE caller = {.size = 16};
    TPM2B_NONCE tpm = {.size = sizeof(tpm.buffer)};
    TPM2_HANDLE handle;

    if (Tss2_Sys_StartAuthSession(context->sys, TPM2_RH_NULL, TPM2_RH_NULL, NULL, &caller, NULL,
                                  TPM2_SE_HMAC, &symmetric, TPM2_ALG_SHA256, &handle, &tpm,
                                  NULL) != TSS2_RC_SUCCESS)
        die("idle session", NULL, ATH_ERR_HSM_ERROR);
    return handle;
}

static unsigned
count_handles(struct tpm_context *context, TPM2_HANDLE first)
{
    TPMS_CAPABILITY_DATA data = {0};
    struct hsm_fault fault = {0};
    ath_err err = tpm_context_capability(context, TPM2_CAP_HANDLES, first, 64, &fault, &data);

    if (err != ATH_OK)
        die("count handles", &fault, err);
    return data.data.handles.count;
}

static int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void
make_keys(struct hsm *hsm, struct hsm_key *keys[KEYS])
{
    struct hsm_fault fault = {0};
    ath_err err = ATH_OK;

    for (size_t i = 0; i < KEYS; i++) {
        struct ath_buf blob = {0};

        err = tpm_backend_ops.key_create(hsm, KEY_ES256, HSM_KEY_IDENTITY, "soak", &fault, &blob);
        if (err == ATH_OK)
            err = tpm_backend_ops.key_open(hsm, ath_buf_slice(&blob), &fault, &keys[i]);
        if (err != ATH_OK)
            die("make a key", &fault, err);
        ath_buf_done(&blob);
    }
}

static void
sign_many(struct hsm *hsm, struct hsm_key *keys[KEYS], unsigned long count)
{
    uint64_t since = clock_monotonic_ms();

    for (unsigned long i = 0; i < count; i++) {
        struct hsm_key *key = keys[i / STRETCH % KEYS];
        uint8_t signature[SIGNATURE_MAX_LEN];
        struct hsm_fault fault = {0};
        struct ath_slice message = ath_slice_of(&i, sizeof(i));
        ath_err err = hsm_sign(&tpm_backend_ops, hsm, key, message, &fault, signature);

        if (err == ATH_OK)
            err = public_key_verify(tpm_backend_ops.key_public(key), message,
                                    ath_slice_of(signature, 64));
        if (err != ATH_OK) {
            fprintf(stderr, "signature %lu: ", i);
            die("sign", &fault, err);
        }
        if ((i + 1) % 20000 == 0)
            printf("%lu signatures, %.0f a second\n", i + 1,
                   (double)(i + 1) * 1000.0 / (double)(clock_monotonic_ms() - since));
    }
}

/* What must be true at the end; the idle sessions are as they were. */
static void
check_leftovers(struct tpm_context *context, const TPMS_CONTEXT *saved)
{
    unsigned transient = count_handles(context, TPM_FIRST_TRANSIENT),
             loaded = count_handles(context, TPM_FIRST_LOADED_SESSION);
    TPM2_HANDLE handle;
    TSS2_RC rc = Tss2_Sys_ContextLoad(context->sys, saved, &handle);

    printf("left in the TPM: %u objects, %u sessions besides the idle ones; saved idle session "
           "loads: 0x%x\n",
           transient, loaded - 1, rc);
    if (transient != 0 || loaded != 1 || rc != TSS2_RC_SUCCESS)
        exit(1);
}

int
main(int argc, char **argv)
{
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : DEFAULT_COUNT;
    struct hsm_options options = {.uri = "swtpm:"};
    struct tpm_connection connection, ours = {.software = true, .exclusive = true};
    char dir[] = "/tmp/ath-soak-XXXXXX", state[64];
    struct hsm_key *keys[KEYS];
    struct tpm_context *context = NULL;
    struct hsm_fault fault = {0};
    struct hsm *hsm = NULL;
    TPMS_CONTEXT saved;
    ath_err err;

    if (mkdtemp(dir) == NULL || crypto_init() != ATH_OK)
        die(strerror(errno), NULL, ATH_ERR_IO);
    (void)snprintf(state, sizeof(state), "%s/swtpm", dir);
    if (mkdir(state, 0700) != 0)
        die(strerror(errno), NULL, ATH_ERR_IO);
    options.state_dir = dir;
    if ((err = tpm_connect(&options, &fault, &connection)) != ATH_OK)
        die("start swtpm", &fault, err);
    if ((err = tpm_context_new(share(connection.transport), &fault, &context)) != ATH_OK ||
        (err = tpm_context_startup(context, &fault)) != ATH_OK)
        die("open", &fault, err);
    (void)start_idle_session(context);
    if (Tss2_Sys_ContextSave(context->sys, start_idle_session(context), &saved) != TSS2_RC_SUCCESS)
        die("save the idle session", NULL, ATH_ERR_HSM_ERROR);
    ours.transport = share(connection.transport);
    if ((err = tpm_backend_open_connection(&ours, &fault, &hsm)) != ATH_OK)
        die("open", &fault, err);

    make_keys(hsm, keys);
    sign_many(hsm, keys, count);
    for (size_t i = 0; i < KEYS; i++)
        tpm_backend_ops.key_close(hsm, keys[i]);
    tpm_backend_ops.close(hsm);
    check_leftovers(context, &saved);

    tpm_context_free(context);
    tpm_transport_free(connection.transport);
    swtpm_stop(connection.swtpm);
    (void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
