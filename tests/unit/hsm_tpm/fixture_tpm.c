#include "fixture_tpm.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/digest.h"
#include "hsm/tpm/tpm_transport.h"

#define HEADER_LEN 10u

/* ---- the TCTI that lies ---- */

static struct fault_tcti *
fault_of(TSS2_TCTI_CONTEXT *tcti)
{
    return (struct fault_tcti *)(void *)tcti;
}

static TPM2_CC last_command;

TPM2_CC
fixture_last_command(void)
{
    return last_command;
}

static TPM2_CC
code_of(const uint8_t *command)
{
    return (uint32_t)command[6] << 24 | (uint32_t)command[7] << 16 | (uint32_t)command[8] << 8 |
           command[9];
}

static bool
applies(const struct fault_tcti *fault)
{
    return fault->kind != FAULT_NONE && fault->times > 0 &&
           (fault->command == 0 || fault->command == code_of(fault->last));
}

static TSS2_RC
fault_transmit(TSS2_TCTI_CONTEXT *tcti, size_t len, const uint8_t *command)
{
    struct fault_tcti *fault = fault_of(tcti);

    memcpy(fault->last, command, len);
    if (fault->needle.len > 0 &&
        memmem(command, len, fault->needle.data, fault->needle.len) != NULL)
        fault->needle_seen++;
    fault->last_len = len;
    last_command = code_of(command);
    fault->sent++;
    if (code_of(command) < sizeof(fault->sent_of) / sizeof(fault->sent_of[0]))
        fault->sent_of[code_of(command)]++;
    fault->answering = applies(fault) && fault->kind == FAULT_CODE;
    if (fault->answering)
        return TSS2_RC_SUCCESS;
    return Tss2_Tcti_Transmit(fault->inner, len, command);
}

static void
answer_code(uint32_t code, size_t *len, uint8_t *response)
{
    const uint8_t answer[HEADER_LEN] = {0x80,
                                        1,
                                        0,
                                        0,
                                        0,
                                        HEADER_LEN,
                                        (uint8_t)(code >> 24),
                                        (uint8_t)(code >> 16),
                                        (uint8_t)(code >> 8),
                                        (uint8_t)code};

    memcpy(response, answer, sizeof(answer));
    *len = sizeof(answer);
}

static TSS2_RC
distort(struct fault_tcti *fault, size_t *len, uint8_t *response)
{
    fault->times--;
    switch (fault->kind) {
    case FAULT_FLIP:
        response[*len - 1 - fault->at] ^= 4;
        break;
    case FAULT_SHORT:
        *len -= fault->at;
        break;
    case FAULT_LONG:
        response[(*len)++] = 0;
        break;
    case FAULT_BARE_SUCCESS:
        answer_code(0, len, response);
        break;
    case FAULT_GONE:
        return TSS2_TCTI_RC_IO_ERROR;
    case FAULT_CODE:
    case FAULT_NONE:
        break;
    }
    return TSS2_RC_SUCCESS;
}

static TSS2_RC
fault_receive(TSS2_TCTI_CONTEXT *tcti, size_t *len, uint8_t *response, int32_t timeout)
{
    struct fault_tcti *fault = fault_of(tcti);
    TSS2_RC rc;

    if (fault->answering) {
        fault->times--;
        answer_code(fault->code, len, response);
        return TSS2_RC_SUCCESS;
    }
    rc = Tss2_Tcti_Receive(fault->inner, len, response, timeout);
    if (rc != TSS2_RC_SUCCESS || !applies(fault))
        return rc;
    return distort(fault, len, response);
}

static void
fault_finalize(TSS2_TCTI_CONTEXT *tcti)
{
    (void)tcti; /* inner is the fixture's */
}

static TSS2_TCTI_CONTEXT *
fault_new(TSS2_TCTI_CONTEXT *inner)
{
    struct fault_tcti *fault = calloc(1, sizeof(*fault));

    assert_non_null(fault);
    fault->common.v1.version = 2;
    fault->common.v1.transmit = fault_transmit;
    fault->common.v1.receive = fault_receive;
    fault->common.v1.finalize = fault_finalize;
    fault->inner = inner;
    return (TSS2_TCTI_CONTEXT *)(void *)fault;
}

/* ---- directories ---- */

void
make_temp_dir(char ret_dir[64])
{
    (void)snprintf(ret_dir, 64, "/tmp/ath-test-tpm-XXXXXX");
    assert_non_null(mkdtemp(ret_dir));
}

static int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

void
remove_tree(const char *dir)
{
    (void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- the fixture ---- */

ath_err
fixture_open(struct fixture *fixture, struct hsm_fault *fault)
{
    struct tpm_connection connection = {.software = true, .exclusive = true};
    TSS2_TCTI_CONTEXT *lower = fault_new(fixture->inner);
    ath_err err;

    fixture->fault = fault_of(lower);
    assert_int_equal(tpm_transport_over_tcti(lower, false, &connection.transport), ATH_OK);
    err = tpm_backend_open_connection(&connection, fault, &fixture->hsm);
    if (err == ATH_OK)
        fixture->device = tpm_backend_device(fixture->hsm);
    return err;
}

void
fixture_close(struct fixture *fixture)
{
    tpm_backend_ops.close(fixture->hsm);
    fixture->hsm = NULL;
    fixture->device = NULL;
    fixture->fault = NULL;
}

void
fixture_start_tpm(struct fixture *fixture)
{
    struct hsm_options options = {.uri = "swtpm:", .state_dir = fixture->dir};
    struct tpm_connection connection;
    struct hsm_fault fault = {0};

    assert_int_equal(tpm_connect(&options, &fault, &connection), ATH_OK);
    fixture->swtpm = connection.swtpm;
    fixture->inner = connection.transport;
}

void
fixture_stop_tpm(struct fixture *fixture)
{
    fixture_close(fixture);
    tpm_transport_free(fixture->inner);
    swtpm_stop(fixture->swtpm);
    fixture->inner = NULL;
    fixture->swtpm = NULL;
}

int
fixture_setup_closed(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    char path[80];

    assert_non_null(fixture);
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(crypto_init(), ATH_OK);
    make_temp_dir(fixture->dir);
    (void)snprintf(path, sizeof(path), "%s/swtpm", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_start_tpm(fixture);
    *state = fixture;
    return 0;
}

int
fixture_setup(void **state)
{
    struct hsm_fault fault = {0};

    fixture_setup_closed(state);
    assert_int_equal(fixture_open(*state, &fault), ATH_OK);
    return 0;
}

int
fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    fixture_stop_tpm(fixture);
    remove_tree(fixture->dir);
    free(fixture);
    return 0;
}

struct tpm_context *
fixture_context(struct fixture *fixture)
{
    TSS2_TCTI_CONTEXT *transport = NULL;
    struct tpm_context *context = NULL;
    struct hsm_fault fault = {0};

    assert_int_equal(tpm_transport_over_tcti(fault_new(fixture->inner), false, &transport), ATH_OK);
    assert_int_equal(tpm_context_new(transport, &fault, &context), ATH_OK);
    return context;
}

unsigned
fixture_count_handles(struct fixture *fixture, TPM2_HANDLE first)
{
    struct tpm_context *context = fixture_context(fixture);
    TPMS_CAPABILITY_DATA data = {0};
    struct hsm_fault fault = {0};

    assert_int_equal(tpm_context_capability(context, TPM2_CAP_HANDLES, first, 64, &fault, &data),
                     ATH_OK);
    tpm_context_free(context);
    return data.data.handles.count;
}

static struct hsm_key *
make_key(struct fixture *fixture, enum key_algorithm algorithm, enum hsm_key_usage usage)
{
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;

    assert_int_equal(tpm_key_create(fixture->device, algorithm, usage, &fault, &blob), ATH_OK);
    assert_int_equal(tpm_key_open(fixture->device, ath_buf_slice(&blob), &fault, &key), ATH_OK);
    ath_buf_done(&blob);
    return key;
}

struct hsm_key *
fixture_key(struct fixture *fixture, enum key_algorithm algorithm)
{
    return make_key(fixture, algorithm, HSM_KEY_IDENTITY);
}

struct hsm_key *
fixture_audit_key(struct fixture *fixture)
{
    return make_key(fixture, KEY_ES256, HSM_KEY_AUDIT);
}

static ath_err
sign(struct fixture *fixture, struct hsm_key *key, struct ath_slice message,
     struct hsm_fault *fault, uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    *fault = (struct hsm_fault){0};
    return hsm_sign(&tpm_backend_ops, fixture->hsm, key, message, fault, ret_signature);
}

ath_err
fixture_sign(struct fixture *fixture, struct hsm_key *key, struct hsm_fault *fault)
{
    uint8_t signature[SIGNATURE_MAX_LEN];

    return sign(fixture, key, ath_slice_of_string("a message"), fault, signature);
}

void
fixture_must_sign(struct fixture *fixture, struct hsm_key *key)
{
    const struct ath_slice message = ath_slice_of_string("header.claims");
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct hsm_fault fault;
    size_t len = key_algorithm_signature_len(key->algorithm);
    ath_err err = sign(fixture, key, message, &fault, signature);

    if (err != ATH_OK)
        print_error("%s\n", why_text(&fault.why, err));
    assert_int_equal(err, ATH_OK);
    assert_int_equal(public_key_verify(key->public, message, ath_slice_of(signature, len)), ATH_OK);
}
