/* The public half of a private key that lies in a token. */
#ifndef HSM_PKCS11_PKCS11_PUBLIC_H
#define HSM_PKCS11_PKCS11_PUBLIC_H

#include "hsm/pkcs11/pkcs11_curve.h"
#include "hsm/pkcs11/pkcs11_object.h"

/* A step's part: from the public key object of the same CKA_ID (or label, where there is no id),
 * else from a certificate of the same CKA_ID, else from the private key's CKA_PUBLIC_KEY_INFO. The
 * caller frees it. ATH_ERR_INVALID_PARAMS: there is none of them; ATH_ERR_UNSUPPORTED_ALGORITHM;
 * ATH_ERR_HSM_ERROR: it is no public key. It is the signatures that prove that both halves belong together. */
ath_err pkcs11_public_read(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                           CK_OBJECT_HANDLE private, struct ath_slice id, struct ath_slice label,
                           struct hsm_fault *fault, struct public_key **ret_key) ATH_MUST_USE;

/* The key that an X.509 certificate (DER) is about. ATH_ERR_INVALID_PUBLIC_KEY. */
ath_err pkcs11_public_of_certificate(struct ath_slice certificate, struct why *why,
                                     struct public_key **ret_key) ATH_MUST_USE;

#endif
