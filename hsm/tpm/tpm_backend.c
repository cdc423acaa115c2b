#include "hsm/tpm/tpm_backend.h"

#include <stdlib.h>

#include "base/log.h"
#include "crypto/digest.h"
#include "hsm/tpm/tpm_counter.h"
#include "hsm/tpm/tpm_info.h"
#include "hsm/tpm/tpm_key.h"
#include "hsm/tpm/tpm_pin.h"
#include "hsm/tpm/tpm_sign.h"
#include "hsm/tpm/tpm_transport.h"

struct hsm {
    struct tpm_device *device;
    struct swtpm *swtpm;
    struct hsm_info info;
    struct tpm_signing signing; /* between sign_begin and sign_finish */
};

static void
backend_close(struct hsm *hsm)
{
    if (hsm == NULL)
        return;
    tpm_device_close(hsm->device);
    swtpm_stop(hsm->swtpm); /* ends by itself: its connection is closed now */
    free(hsm);
}

ath_err
tpm_backend_open_connection(const struct tpm_connection *connection, struct hsm_fault *fault,
                            struct hsm **ret_hsm)
{
    struct hsm *hsm = calloc(1, sizeof(*hsm));
    ath_err err;

    if (hsm == NULL) {
        tpm_transport_free(connection->transport);
        swtpm_stop(connection->swtpm);
        return ATH_ERR_NOMEM;
    }
    hsm->swtpm = connection->swtpm;
    err = tpm_device_open(connection->transport, connection->exclusive, fault, &hsm->device);
    if (err != ATH_OK)
        goto out;
    if ((err = tpm_info_read(hsm->device->context, fault, &hsm->info)) != ATH_OK)
        goto out;
    err = tpm_counter_is_possible(hsm->device->context, fault, &hsm->info.has_counter);
    if (err != ATH_OK)
        goto out;
    hsm->info.software = connection->software;
    *ret_hsm = hsm;
    hsm = NULL;
out:
    if (err == ATH_ERR_HSM_UNAVAILABLE && connection->swtpm != NULL)
        swtpm_explain(connection->swtpm, &fault->why);
    backend_close(hsm);
    return err;
}

/* Whoever reads it knows the TPM by a name only. */
static void
say_which(const char *uri, struct why *why)
{
    struct why what = *why;

    why_set(why, ATH_OK, "%s: %s", uri, what.text);
}

static ath_err
backend_open(const struct hsm_options *options, struct hsm_fault *fault, struct hsm **ret_hsm)
{
    struct tpm_connection connection;
    ath_err err;

    if ((err = crypto_init()) != ATH_OK)
        return err;
    if ((err = tpm_connect(options, fault, &connection)) != ATH_OK)
        return err;
    err = tpm_backend_open_connection(&connection, fault, ret_hsm);
    if (err != ATH_OK && err != ATH_ERR_NOMEM)
        say_which(options->uri, &fault->why);
    return err;
}

struct tpm_device *
tpm_backend_device(struct hsm *hsm)
{
    return hsm->device;
}

static void
backend_info(const struct hsm *hsm, struct hsm_info *ret_info)
{
    *ret_info = hsm->info;
    ret_info->parallel = 1;
}

/* A TPM keeps no labels: a key's name is the caller's affair. */
static ath_err
backend_key_create(struct hsm *hsm, enum key_algorithm algorithm, enum hsm_key_usage usage,
                   const char *label, struct hsm_fault *fault, struct ath_buf *blob)
{
    (void)label;
    return tpm_key_create(hsm->device, algorithm, usage, fault, blob);
}

static ath_err
backend_key_create_with_pin(struct hsm *hsm, enum key_algorithm algorithm, const char *label,
                            struct ath_slice pin, struct hsm_fault *fault, struct ath_buf *blob)
{
    (void)label;
    return tpm_key_create_with_pin(hsm->device, algorithm, pin, fault, blob);
}

static ath_err
backend_key_login(struct hsm *hsm, struct hsm_key *key, struct ath_slice pin,
                  struct hsm_fault *fault)
{
    return tpm_pin_try(hsm->device, key, pin, fault);
}

static void
backend_key_logout(struct hsm *hsm, struct hsm_key *key)
{
    (void)hsm;
    tpm_pin_drop(key);
}

static ath_err
backend_key_open(struct hsm *hsm, struct ath_slice blob, struct hsm_fault *fault,
                 struct hsm_key **ret_key)
{
    return tpm_key_open(hsm->device, blob, fault, ret_key);
}

static void
backend_key_close(struct hsm *hsm, struct hsm_key *key)
{
    tpm_key_close(hsm->device, key);
}

/* The wrapped blob is all there is of it, and that is the caller's to remove. */
static ath_err
backend_key_delete(struct hsm *hsm, struct hsm_key *key, struct hsm_fault *fault)
{
    (void)fault;
    tpm_key_close(hsm->device, key);
    return ATH_OK;
}

static const struct public_key *
backend_key_public(const struct hsm_key *key)
{
    return key->public;
}

static void
backend_key_facts(const struct hsm_key *key, struct hsm_key_facts *ret_facts)
{
    *ret_facts = key->facts;
}

static ath_err
backend_sign_begin(struct hsm *hsm, struct hsm_key *key, struct ath_slice message,
                   struct hsm_fault *fault)
{
    return tpm_sign_begin(hsm->device, key, message, fault, &hsm->signing);
}

static ath_err
backend_sign_finish(struct hsm *hsm, struct hsm_fault *fault,
                    uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    return tpm_sign_finish(hsm->device, &hsm->signing, fault, ret_signature);
}

static ath_err
backend_random(struct hsm *hsm, uint8_t *ret_bytes, size_t len, struct hsm_fault *fault)
{
    return tpm_random(hsm->device, ret_bytes, len, fault);
}

static ath_err
backend_counter(struct hsm *hsm, struct hsm_key *key, struct ath_slice blob, uint32_t steps,
                struct ath_slice nonce, struct hsm_fault *fault, struct ath_buf *ret_blob,
                uint64_t *ret_value, struct ath_buf *ret_evidence)
{
    const struct tpm_counting counting = {
        .key = key, .blob = blob, .step = steps > 0, .nonce = nonce};

    return tpm_counter_run(hsm->device, &counting, fault, ret_blob, ret_value, ret_evidence);
}

const struct hsm_ops tpm_backend_ops = {
    .schemes = {"tpm:", "swtpm:"},
    .open = backend_open,
    .close = backend_close,
    .info = backend_info,
    .key_create = backend_key_create,
    .key_open = backend_key_open,
    .key_close = backend_key_close,
    .key_delete = backend_key_delete,
    .key_public = backend_key_public,
    .key_facts = backend_key_facts,
    .sign_begin = backend_sign_begin,
    .sign_finish = backend_sign_finish,
    .random = backend_random,
    .counter = backend_counter,
    .key_create_with_pin = backend_key_create_with_pin,
    .key_login = backend_key_login,
    .key_logout = backend_key_logout,
};
