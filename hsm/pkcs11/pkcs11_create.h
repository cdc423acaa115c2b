/* New keys, made by the token. */
#ifndef HSM_PKCS11_PKCS11_CREATE_H
#define HSM_PKCS11_PKCS11_CREATE_H

#include "hsm/pkcs11/pkcs11_key.h"

/* A key pair that stays in the token: private, sensitive, not extractable, for signing. What the
 * token has made is read back, and destroyed where it is anything else (ATH_ERR_HSM_ERROR). Its URI
 * is appended to blob. ATH_ERR_PIN_REQUIRED, ATH_ERR_UNSUPPORTED_ALGORITHM. */
ath_err pkcs11_key_create(struct pkcs11_token *token, enum key_algorithm algorithm,
                          const char *label, struct hsm_fault *fault,
                          struct ath_buf *blob) ATH_MUST_USE;

#endif
