/* Objects of a token: looked up, and read with distrust of every length. All are parts of a
 * step. */
#ifndef HSM_PKCS11_PKCS11_OBJECT_H
#define HSM_PKCS11_PKCS11_OBJECT_H

#include "hsm/pkcs11/pkcs11_session.h"

/* By what an object is found; an empty id or label is not asked for. */
struct pkcs11_object_query {
    CK_OBJECT_CLASS class;
    struct ath_slice id, label;
};

/* Up to max handles; *ret_count is how many. None is ATH_OK. */
ath_err pkcs11_object_find(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                           const struct pkcs11_object_query *query, CK_OBJECT_HANDLE *ret_objects,
                           size_t max, size_t *ret_count, struct hsm_fault *fault) ATH_MUST_USE;

/* An attribute of at most size bytes. ATH_ERR_NOT_FOUND: the object does not have it, does not give
 * it away, or it is longer. */
ath_err pkcs11_object_bytes(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                            CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, uint8_t *ret_bytes,
                            size_t size, size_t *ret_len, struct hsm_fault *fault) ATH_MUST_USE;

/* A CK_BBOOL; what the object does not say is if_unknown. */
ath_err pkcs11_object_bool(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                           CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, bool if_unknown,
                           struct hsm_fault *fault, bool *ret_value) ATH_MUST_USE;

/* A CK_ULONG; what the object does not say is CK_UNAVAILABLE_INFORMATION. */
ath_err pkcs11_object_number(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                             CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                             struct hsm_fault *fault, CK_ULONG *ret_value) ATH_MUST_USE;

#endif
