/* A PKCS#11 module: a shared library, loaded and initialised. */
#ifndef HSM_PKCS11_PKCS11_MODULE_H
#define HSM_PKCS11_PKCS11_MODULE_H

#include "hsm/pkcs11/pkcs11_error.h"
#include "hsm/pkcs11/pkcs11_module_find.h"

struct pkcs11_module {
    void *library;
    CK_FUNCTION_LIST *f;    /* every function that we call is there */
    bool initialised;       /* by us: to be finalised by us */
    bool one_at_a_time;     /* it cannot be called by several threads, or makes nothing of it */
    bool verify_is_decrypt; /* one use to it: CKA_VERIFY without CKA_DECRYPT is a contradiction */
    char path[PKCS11_PATH_MAX];
};

/* Loads the module that the URI names and calls C_Initialize. The caller closes it.
 * ATH_ERR_HSM_UNAVAILABLE: no such file, no module, or it does not start (fault says which file).
 */
ath_err pkcs11_module_open(const struct pkcs11_uri *uri, struct hsm_fault *fault,
                           struct pkcs11_module **ret_module) ATH_MUST_USE;

/* C_Finalize: all sessions end, and what the module believed of its tokens is forgotten. The code
 * stays where it is, for modules leave threads and exit handlers behind. NULL is fine. */
void pkcs11_module_close(struct pkcs11_module *module);

/* Which module it is, at debug. */
void pkcs11_module_log(const struct pkcs11_module *module);

#endif
