/*
 * Locks that we lend to modules (CK_C_INITIALIZE_ARGS, PKCS #11 2.40, 3.7): recursive ones. OpenSC
 * 0.23 locks a card's mutex a second time in the same thread when the card is taken out in the
 * middle of a signature, and with locks of its own waits for itself for ever. And patient ones:
 * SoftHSM's are held for a microsecond, several times in each signature, and a thread that sleeps
 * for one is woken by an interrupt of its processor, which takes ten times as long.
 */
#ifndef HSM_PKCS11_PKCS11_MUTEX_H
#define HSM_PKCS11_PKCS11_MUTEX_H

#include <stdbool.h>

#include <p11-kit/pkcs11.h>

/* Static, and not to be changed: modules keep the pointer. `may_have_own`: the module may use the
 * system's locks instead, as one must that says CKR_CANT_LOCK to ours. */
CK_C_INITIALIZE_ARGS *pkcs11_mutex_arguments(bool may_have_own);

#endif
