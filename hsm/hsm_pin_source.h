/* The PIN that a URI's pin-source names: a file, or a credential of the service manager. */
#ifndef HSM_HSM_PIN_SOURCE_H
#define HSM_HSM_PIN_SOURCE_H

#include "base/secret.h"
#include "hsm/hsm.h"

/*
 * Reads it (RFC 7512 2.3 pin-source; "credential:" as systemd.exec(5) LoadCredential=): a regular
 * file of ours or root's that nobody else may read, with a PIN of 1 to 255 bytes, no NUL, and at
 * most one line end behind it. *ret_pin is the caller's; ret_stamp (text) names the file as it is
 * now, and is set as soon as it is known, else "".
 * ATH_ERR_PIN_REQUIRED with why: it is not such a file, or it is the one that was refused before
 * (`refused`, a stamp), whose PIN is not read then. ATH_ERR_INVALID_PARAMS: the URI names no
 * pin-source. ATH_ERR_NOMEM.
 */
ath_err pin_source_read(const char *uri, struct ath_slice refused, struct why *why,
                        struct ath_secret *ret_pin,
                        char ret_stamp[HSM_WIRE_MAX_STAMP + 1]) ATH_MUST_USE;

#endif
