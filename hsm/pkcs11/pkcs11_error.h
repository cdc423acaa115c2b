/*
 * What a CK_RV means to us and what to do about it: one table. Everything else in this folder
 * switches on the action found here, never on a code (but where a call has a meaning of its own for
 * one, as C_Login has).
 */
#ifndef HSM_PKCS11_PKCS11_ERROR_H
#define HSM_PKCS11_PKCS11_ERROR_H

#include <p11-kit/pkcs11.h>

#include "hsm/hsm.h"

/* Of PKCS #11 3.0 and 3.1, which p11-kit's header does not have. */
#define CKR_COPY_PROHIBITED 0x1aUL
#define CKR_AEAD_DECRYPT_FAILED 0x42UL
#define CKR_TOKEN_RESOURCE_EXCEEDED 0x201UL
#define CKR_OPERATION_CANCEL_FAILED 0x202UL
#define CKR_KEY_EXHAUSTED 0x203UL

enum pkcs11_action {
    PKCS11_ACTION_REPORT,      /* hand it up */
    PKCS11_ACTION_CHECK,       /* perhaps the token was taken out: look, then hand it up */
    PKCS11_ACTION_NEW_SESSION, /* look; open this session anew, again, once */
    PKCS11_ACTION_FIND_AGAIN,  /* look; look the object up anew, again, once */
};

struct pkcs11_error {
    CK_RV code;
    const char *name; /* as PKCS #11 spells it */
    enum pkcs11_action action;
    ath_err err;
    const char *sentence; /* for people */
};

/* Never NULL; rv is anything but CKR_OK. */
const struct pkcs11_error *pkcs11_error_of(CK_RV rv);

/* What to do about the failure that is in fault. */
enum pkcs11_action pkcs11_error_action(const struct hsm_fault *fault);

/* Fills fault (never NULL) with the code and a sentence beginning with `doing` ("create the key"),
 * logs the code at debug, returns the ath_err. CKR_OK gives ATH_OK and leaves fault alone. */
ath_err pkcs11_error_report(CK_RV rv, const char *doing, struct hsm_fault *fault) ATH_MUST_USE;

/* The module broke its contract: ATH_ERR_HSM_ERROR, no code. */
ath_err pkcs11_error_nonsense(const char *doing, const char *what,
                              struct hsm_fault *fault) ATH_MUST_USE;

#endif
