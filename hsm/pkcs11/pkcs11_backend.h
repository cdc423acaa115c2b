/* A token as hsm.h wants it: pkcs11_backend_ops is declared there. */
#ifndef HSM_PKCS11_PKCS11_BACKEND_H
#define HSM_PKCS11_PKCS11_BACKEND_H

#include "hsm/pkcs11/pkcs11_token.h"

/* Borrowed: for tests that look behind the table. */
struct pkcs11_token *pkcs11_backend_token(struct hsm *hsm);

#endif
