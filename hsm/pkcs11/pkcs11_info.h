/* What a token says of itself. */
#ifndef HSM_PKCS11_PKCS11_INFO_H
#define HSM_PKCS11_PKCS11_INFO_H

#include "hsm/pkcs11/pkcs11_slot.h"

/* All of hsm_info but what changes (see pkcs11_info_put_now); its texts are harmless. */
ath_err pkcs11_info_read(const struct pkcs11_module *module, const struct pkcs11_place *place,
                         struct hsm_fault *fault, struct hsm_info *ret_info) ATH_MUST_USE;

/* pin_locked and tries_left by the token's flags. */
void pkcs11_info_put_now(const CK_TOKEN_INFO *now, struct hsm_info *info);

#endif
