/* Which file is the module: what the URI says, looked up as p11-kit does (pkcs11.conf(5)). */
#ifndef HSM_PKCS11_PKCS11_MODULE_FIND_H
#define HSM_PKCS11_PKCS11_MODULE_FIND_H

#include "base/why.h"
#include "hsm/wire/pkcs11_uri.h"

#define PKCS11_PATH_MAX 1024u

/* module-path as it is; module-name by the `module:` line of NAME.module in the system's, then the
 * packages' directory of p11-kit, a relative file in p11-kit's module directory; neither: p11-kit's
 * proxy module, behind which are all that p11-kit knows. ATH_ERR_HSM_UNAVAILABLE: no such name, or
 * its file says nothing usable. */
ath_err pkcs11_module_find(const struct pkcs11_uri *uri, struct why *why,
                           char ret_path[PKCS11_PATH_MAX]) ATH_MUST_USE;

/* The value of the line "module:" of a configuration's text, without the white space around it;
 * empty: there is none. */
struct ath_slice pkcs11_module_line(struct ath_slice text);

#endif
