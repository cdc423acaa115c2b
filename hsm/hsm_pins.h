/*
 * PINs that the helper has at hand, and those it must not try again. A PIN that a key wants for
 * each signature is tried by one thread at a time: a PIN that has become wrong costs one try,
 * however many signatures wait for it.
 */
#ifndef HSM_HSM_PINS_H
#define HSM_HSM_PINS_H

#include <pthread.h>

#include "base/secret.h"
#include "hsm/hsm.h"

struct hsm_pins {
    pthread_mutex_t lock; /* held while a PIN is tried */
    struct ath_secret kept;
    bool kept_is_refused;
    char refused[HSM_WIRE_MAX_STAMP + 1]; /* stamp of a pin-source; "" : none */
};

void hsm_pins_init(struct hsm_pins *pins);
void hsm_pins_done(struct hsm_pins *pins);

/* The PIN is now ours, in the place of one that was kept before; {NULL, 0}: none is kept. Not while
 * a worker runs. */
void hsm_pins_keep(struct hsm_pins *pins, struct ath_secret *pin);

/* Wipes the kept one if it was refused since. Not while a worker runs. */
void hsm_pins_forget_refused(struct hsm_pins *pins);

/* All below with the lock held. */

/* May this be tried? ATH_ERR_PIN_REQUIRED with why: it was refused before, or there is none. */
ath_err hsm_pins_check(const struct hsm_pins *pins, enum hsm_pin_from from, const char *stamp,
                       struct why *why) ATH_MUST_USE;

/* Notes what the token said to it. One that was kept is not tried again if that leaves any doubt:
 * it was right before. */
void hsm_pins_note(struct hsm_pins *pins, enum hsm_pin_from from, const char *stamp, ath_err said,
                   const struct hsm_fault *fault);

#endif
