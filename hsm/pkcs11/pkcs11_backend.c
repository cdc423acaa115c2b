#include "hsm/pkcs11/pkcs11_backend.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "hsm/pkcs11/pkcs11_create.h"
#include "hsm/pkcs11/pkcs11_info.h"
#include "hsm/pkcs11/pkcs11_key.h"
#include "hsm/pkcs11/pkcs11_login.h"
#include "hsm/pkcs11/pkcs11_sign.h"

struct hsm {
    struct pkcs11_token *token;
};

static void
backend_close(struct hsm *hsm)
{
    if (hsm == NULL)
        return;
    pkcs11_token_close(hsm->token);
    free(hsm);
}

static ath_err
backend_open(const struct hsm_options *options, struct hsm_fault *fault, struct hsm **ret_hsm)
{
    struct hsm *hsm;
    ath_err err;

    if ((err = crypto_init()) != ATH_OK)
        return err;
    if ((hsm = calloc(1, sizeof(*hsm))) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = pkcs11_token_open(options->uri, fault, &hsm->token)) != ATH_OK)
        goto out;
    pkcs11_module_log(hsm->token->module);
    *ret_hsm = hsm;
    hsm = NULL;
out:
    backend_close(hsm);
    return err;
}

struct pkcs11_token *
pkcs11_backend_token(struct hsm *hsm)
{
    return hsm->token;
}

static void
backend_info(const struct hsm *hsm, struct hsm_info *ret_info)
{
    struct pkcs11_token *token = hsm->token;
    const CK_TOKEN_INFO now = pkcs11_token_now(token);

    *ret_info = token->info;
    pkcs11_info_put_now(&now, ret_info);
    if (token->pin_locked) {
        ret_info->pin_locked = true;
        ret_info->tries_left = 0;
    }
}

/* Tokens know no restricted keys: an audit key is one like the others. */
static ath_err
backend_key_create(struct hsm *hsm, enum key_algorithm algorithm, enum hsm_key_usage usage,
                   const char *label, struct hsm_fault *fault, struct ath_buf *blob)
{
    (void)usage;
    return pkcs11_key_create(hsm->token, algorithm, label, fault, blob);
}

static ath_err
backend_key_open(struct hsm *hsm, struct ath_slice blob, struct hsm_fault *fault,
                 struct hsm_key **ret_key)
{
    return pkcs11_key_open(hsm->token, blob, fault, ret_key);
}

static void
backend_key_close(struct hsm *hsm, struct hsm_key *key)
{
    (void)hsm;
    pkcs11_key_close(key);
}

static ath_err
backend_key_delete(struct hsm *hsm, struct hsm_key *key, struct hsm_fault *fault)
{
    return pkcs11_key_delete(hsm->token, key, fault);
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

static struct ath_slice
backend_key_blob(const struct hsm_key *key)
{
    return ath_buf_slice(&key->blob);
}

static ath_err
backend_sign_with(struct hsm *hsm, unsigned worker, struct hsm_key *key, struct ath_slice message,
                  struct ath_slice pin, struct hsm_fault *fault,
                  uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    return pkcs11_sign(hsm->token, worker, key, message, pin, fault, ret_signature);
}

static ath_err
backend_random(struct hsm *hsm, uint8_t *ret_bytes, size_t len, struct hsm_fault *fault)
{
    return pkcs11_random(hsm->token, ret_bytes, len, fault);
}

static ath_err
backend_login(struct hsm *hsm, struct ath_slice pin, struct hsm_fault *fault)
{
    return pkcs11_login(hsm->token, pin, fault);
}

static void
backend_logout(struct hsm *hsm)
{
    pkcs11_logout(hsm->token);
}

static ath_err
backend_check(struct hsm *hsm, struct hsm_fault *fault)
{
    return pkcs11_token_check(hsm->token, fault);
}

const struct hsm_ops pkcs11_backend_ops = {
    .schemes = {"pkcs11:"},
    .open = backend_open,
    .close = backend_close,
    .info = backend_info,
    .key_create = backend_key_create,
    .key_open = backend_key_open,
    .key_close = backend_key_close,
    .key_delete = backend_key_delete,
    .key_public = backend_key_public,
    .key_facts = backend_key_facts,
    .key_blob = backend_key_blob,
    .sign_with = backend_sign_with,
    .random = backend_random,
    .login = backend_login,
    .logout = backend_logout,
    .check = backend_check,
};
