/* What a helper sees of athd's environment: what its URI needs, and nothing of what callers or
 * users of other programs have put there. */
#ifndef ATHD_HSM_ENVIRONMENT_H
#define ATHD_HSM_ENVIRONMENT_H

#include "ath/err.h"

#define HSM_ENVIRONMENT_MAX 64

struct hsm_environment {
    char *variables[HSM_ENVIRONMENT_MAX + 1]; /* ended by NULL; the strings are borrowed */
};

/* From `environ`-like variables (ended by NULL): PATH, LANG, LC_*; for pkcs11: also SOFTHSM2_CONF,
 * TPM2_PKCS11_* and P11_KIT_*, and CREDENTIALS_DIRECTORY where its
 * pin-source is a credential. TSS2_LOG is set so that tss2 says nothing: the helper does. */
void hsm_environment_make(char *const *variables, const char *uri,
                          struct hsm_environment *ret_environment);

#endif
