#include "hsm/pkcs11/pkcs11_token.h"

#include <stdlib.h>
#include <string.h>

#include "hsm/pkcs11/pkcs11_info.h"

static ath_err
open_module(struct pkcs11_token *token, const char *uri, struct hsm_fault *fault)
{
    ath_err err = pkcs11_uri_parse(ath_slice_of_string(uri), &fault->why, &token->wanted);

    if (err != ATH_OK)
        return err;
    return pkcs11_module_open(&token->wanted, fault, &token->module);
}

ath_err
pkcs11_token_open(const char *uri, struct hsm_fault *fault, struct pkcs11_token **ret_token)
{
    struct pkcs11_token *token = calloc(1, sizeof(*token));
    ath_err err;

    if (token == NULL)
        return ATH_ERR_NOMEM;
    if (pthread_mutex_init(&token->lock, NULL) != 0) {
        free(token);
        return ATH_ERR_NOMEM;
    }
    if ((err = open_module(token, uri, fault)) != ATH_OK)
        goto out;
    err = pkcs11_slot_find(token->module, &token->wanted, fault, &token->place);
    if (err != ATH_OK)
        goto out;
    token->now = token->place.info;
    if ((err = pkcs11_info_read(token->module, &token->place, fault, &token->info)) != ATH_OK)
        goto out;
    *ret_token = token;
    token = NULL;
out:
    pkcs11_token_close(token);
    return err;
}

void
pkcs11_token_close(struct pkcs11_token *token)
{
    if (token == NULL)
        return;
    for (size_t i = 0; i < sizeof(token->sessions) / sizeof(token->sessions[0]); i++) {
        if (token->sessions[i] != CK_INVALID_HANDLE)
            (void)token->module->f->C_CloseSession(token->sessions[i]);
    }
    pkcs11_module_close(token->module);
    (void)pthread_mutex_destroy(&token->lock);
    free(token);
}

static ath_err
keep_now(struct pkcs11_token *token, ath_err err, const CK_TOKEN_INFO *now)
{
    if (err != ATH_OK)
        return err;
    (void)pthread_mutex_lock(&token->lock);
    token->now = *now;
    (void)pthread_mutex_unlock(&token->lock);
    return ATH_OK;
}

ath_err
pkcs11_token_check(struct pkcs11_token *token, struct hsm_fault *fault)
{
    CK_TOKEN_INFO now = {.flags = 0};

    return keep_now(token, pkcs11_slot_check(token->module, &token->place, fault, &now), &now);
}

ath_err
pkcs11_token_check_slowly(struct pkcs11_token *token, struct hsm_fault *fault)
{
    CK_TOKEN_INFO now = {.flags = 0};

    return keep_now(token, pkcs11_slot_check_slowly(token->module, &token->place, fault, &now),
                    &now);
}

CK_TOKEN_INFO
pkcs11_token_now(struct pkcs11_token *token)
{
    CK_TOKEN_INFO now;

    (void)pthread_mutex_lock(&token->lock);
    now = token->now;
    (void)pthread_mutex_unlock(&token->lock);
    return now;
}

void
pkcs11_token_new_generation(struct pkcs11_token *token)
{
    (void)pthread_mutex_lock(&token->lock);
    token->generation++;
    (void)pthread_mutex_unlock(&token->lock);
}
