/* Slots come and go and change their numbers: a token is known by what is written on it. */
#ifndef HSM_PKCS11_PKCS11_SLOT_H
#define HSM_PKCS11_PKCS11_SLOT_H

#include "hsm/pkcs11/pkcs11_module.h"

/* A token as it lies in its slot. */
struct pkcs11_place {
    CK_SLOT_ID slot;
    CK_TOKEN_INFO info;
    struct pkcs11_uri name; /* token, manufacturer, model, serial: the padding taken off */
};

/* Finds the one token that agrees with `wanted`. ATH_ERR_HSM_UNAVAILABLE: none, more than one, or
 * one that is not ready for use (not initialised, no user PIN); fault says what is there. */
ath_err pkcs11_slot_find(const struct pkcs11_module *module, const struct pkcs11_uri *wanted,
                         struct hsm_fault *fault, struct pkcs11_place *ret_place) ATH_MUST_USE;

/* Is the token still there, the same one? Its flags as they are now are *ret_info's.
 * ATH_ERR_HSM_UNAVAILABLE. */
ath_err pkcs11_slot_check(const struct pkcs11_module *module, const struct pkcs11_place *place,
                          struct hsm_fault *fault, CK_TOKEN_INFO *ret_info) ATH_MUST_USE;

/* The same, after a failure that may come of a removal which the reader has not noticed yet: where
 * tokens can be taken out it is given a moment. May block for PKCS11_SLOT_NOTICE_MS. */
#define PKCS11_SLOT_NOTICE_MS 800u
ath_err pkcs11_slot_check_slowly(const struct pkcs11_module *module,
                                 const struct pkcs11_place *place, struct hsm_fault *fault,
                                 CK_TOKEN_INFO *ret_info) ATH_MUST_USE;

/* A field of CK_TOKEN_INFO and its like, as text: up to the first NUL, without the blanks at the
 * end. text has room for size + 1. */
void pkcs11_slot_text(const unsigned char *field, size_t size, char *text);

#endif
