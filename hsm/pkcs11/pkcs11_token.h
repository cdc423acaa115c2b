/*
 * An open token: its module, its sessions, what is known of it. The counterpart of tpm_device.
 *
 * The first session holds the login and does everything that changes the token; each worker has one
 * of its own, opened when it is first used (where the token gives enough of them). Workers run at
 * the same time; what they share is behind `lock`.
 */
#ifndef HSM_PKCS11_PKCS11_TOKEN_H
#define HSM_PKCS11_PKCS11_TOKEN_H

#include <pthread.h>

#include "hsm/pkcs11/pkcs11_slot.h"

#define PKCS11_WORKERS_MAX 4u
#define PKCS11_MAIN_SESSION 0u

struct pkcs11_token {
    struct pkcs11_module *module;
    struct pkcs11_uri wanted; /* what the hsm's URI says */
    struct pkcs11_place place;
    struct hsm_info info; /* what does not change */
    CK_SESSION_HANDLE sessions[1 + PKCS11_WORKERS_MAX];
    pthread_mutex_t lock; /* of all below, and of the keys' handles */
    CK_TOKEN_INFO now;    /* the token's flags as they were last read */
    bool pin_locked;      /* the token said so to a login */
    unsigned generation;  /* of handles: those of private objects end with the login */
};

/* Loads the module and finds the token. ATH_ERR_INVALID_PARAMS: the URI; ATH_ERR_HSM_UNAVAILABLE:
 * see pkcs11_module_open, pkcs11_slot_find. The caller closes it. */
ath_err pkcs11_token_open(const char *uri, struct hsm_fault *fault,
                          struct pkcs11_token **ret_token) ATH_MUST_USE;
void pkcs11_token_close(struct pkcs11_token *token); /* NULL is fine */

/* Reads the token's flags anew. ATH_ERR_HSM_UNAVAILABLE: it was taken out, or is another one. */
ath_err pkcs11_token_check(struct pkcs11_token *token, struct hsm_fault *fault) ATH_MUST_USE;

/* The same after a failure: see pkcs11_slot_check_slowly. */
ath_err pkcs11_token_check_slowly(struct pkcs11_token *token, struct hsm_fault *fault) ATH_MUST_USE;

/* The flags and PIN lengths as they were last read. */
CK_TOKEN_INFO pkcs11_token_now(struct pkcs11_token *token);

/* From now on no handle of a private object is what it was. */
void pkcs11_token_new_generation(struct pkcs11_token *token);

#endif
