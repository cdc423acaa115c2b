/* Keys that lie in a token: opened by URI, judged by their attributes, deleted. */
#ifndef HSM_PKCS11_PKCS11_KEY_H
#define HSM_PKCS11_PKCS11_KEY_H

#include "hsm/pkcs11/pkcs11_curve.h"
#include "hsm/pkcs11/pkcs11_object.h"

struct hsm_key {
    const struct pkcs11_curve *curve;
    struct public_key *public;
    struct hsm_key_facts facts;
    uint8_t id[PKCS11_URI_ID_MAX];
    size_t id_len;
    char label[256];
    struct ath_buf blob;     /* canonical URI */
    CK_OBJECT_HANDLE handle; /* under token->lock, as generation; CK_INVALID_HANDLE: to be found */
    unsigned generation;
};

/* Looks the private key up and reads it. ATH_ERR_KEY_NOT_FOUND: the token has none that fits;
 * ATH_ERR_INVALID_PARAMS: no such URI, one of another token or module, one that fits several keys,
 * a key without public half, one that does not sign;
 * ATH_ERR_UNSUPPORTED_ALGORITHM; ATH_ERR_PIN_REQUIRED: nobody is logged in, and so it is not to be
 * seen. */
ath_err pkcs11_key_open(struct pkcs11_token *token, struct ath_slice blob, struct hsm_fault *fault,
                        struct hsm_key **ret_key) ATH_MUST_USE;
void pkcs11_key_close(struct hsm_key *key); /* NULL is fine */

/* Destroys the private key, and the public one beside it; a certificate stays. Key is closed
 * then. */
ath_err pkcs11_key_delete(struct pkcs11_token *token, struct hsm_key *key,
                          struct hsm_fault *fault) ATH_MUST_USE;

/* A step's part: the private key's handle; looked up where it is not known any more. */
ath_err pkcs11_key_use(struct pkcs11_token *token, CK_SESSION_HANDLE session, struct hsm_key *key,
                       struct hsm_fault *fault, CK_OBJECT_HANDLE *ret_handle) ATH_MUST_USE;
/* The token does not know this handle of the key any more. */
void pkcs11_key_forget(struct pkcs11_token *token, struct hsm_key *key, CK_OBJECT_HANDLE handle);

/* A step's part: appends the canonical URI of the key with this handle. ATH_ERR_INVALID_PARAMS: it
 * has neither id nor label, so that it could not be found again. */
ath_err pkcs11_key_put_uri(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                           CK_OBJECT_HANDLE handle, struct hsm_fault *fault,
                           struct pkcs11_uri *ret_uri, struct ath_buf *out) ATH_MUST_USE;

/* A step's part: what the token says of a private key, with unknown meaning the worst. */
ath_err pkcs11_key_read_facts(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                              CK_OBJECT_HANDLE handle, struct hsm_fault *fault,
                              struct hsm_key_facts *ret_facts) ATH_MUST_USE;

#endif
