/* C_Login, once for each PIN that somebody gave. */
#ifndef HSM_PKCS11_PKCS11_LOGIN_H
#define HSM_PKCS11_PKCS11_LOGIN_H

#include "hsm/pkcs11/pkcs11_session.h"

/* Logs the user in. An empty PIN is for a reader with a pad, which asks itself. A PIN is tried also
 * when somebody is logged in, who is out then if it is wrong. ATH_ERR_PIN_INCORRECT (a PIN that the
 * token would not take for its length is not tried), ATH_ERR_PIN_LOCKED, ATH_ERR_USER_DENIED
 * (cancelled at the pad), others (fault->pin_in_doubt, unless the token is gone); what is left is
 * in the token's flags, read anew. */
ath_err pkcs11_login(struct pkcs11_token *token, struct ath_slice pin,
                     struct hsm_fault *fault) ATH_MUST_USE;
void pkcs11_logout(struct pkcs11_token *token);

/* A step's part: for the signature that C_SignInit has begun in this session, by a key with
 * CKA_ALWAYS_AUTHENTICATE (PKCS #11 2.40, 4.9). */
ath_err pkcs11_login_for_signature(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                                   struct ath_slice pin, struct hsm_fault *fault) ATH_MUST_USE;

#endif
