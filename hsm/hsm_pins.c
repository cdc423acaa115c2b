#include "hsm/hsm_pins.h"

#include <stdio.h>
#include <string.h>

void
hsm_pins_init(struct hsm_pins *pins)
{
    *pins = (struct hsm_pins){.lock = PTHREAD_MUTEX_INITIALIZER};
}

void
hsm_pins_done(struct hsm_pins *pins)
{
    ath_secret_done(&pins->kept);
    pthread_mutex_destroy(&pins->lock);
}

void
hsm_pins_keep(struct hsm_pins *pins, struct ath_secret *pin)
{
    ath_secret_done(&pins->kept);
    pins->kept = *pin;
    *pin = (struct ath_secret){NULL, 0};
    pins->kept_is_refused = false;
}

void
hsm_pins_forget_refused(struct hsm_pins *pins)
{
    struct ath_secret none = {NULL, 0};

    if (pins->kept_is_refused)
        hsm_pins_keep(pins, &none);
}

ath_err
hsm_pins_check(const struct hsm_pins *pins, enum hsm_pin_from from, const char *stamp,
               struct why *why)
{
    if (from == HSM_PIN_KEPT && pins->kept.data == NULL)
        return why_set(why, ATH_ERR_PIN_REQUIRED,
                       "the key wants its PIN for each signature, and none is kept: log in first");
    if (from == HSM_PIN_KEPT && pins->kept_is_refused)
        return why_set(why, ATH_ERR_PIN_REQUIRED,
                       "the PIN that was kept is wrong now and is not tried again: log in again");
    if (from == HSM_PIN_SOURCE && pins->refused[0] != '\0' && strcmp(pins->refused, stamp) == 0)
        return why_set(why, ATH_ERR_PIN_REQUIRED,
                       "the PIN in the URI's pin-source was refused before; correct it");
    return ATH_OK;
}

void
hsm_pins_note(struct hsm_pins *pins, enum hsm_pin_from from, const char *stamp, ath_err said,
              const struct hsm_fault *fault)
{
    bool is_refused = said == ATH_ERR_PIN_INCORRECT || said == ATH_ERR_PIN_LOCKED;

    if (from == HSM_PIN_KEPT && (is_refused || (said != ATH_OK && fault->pin_in_doubt)))
        pins->kept_is_refused = true;
    else if (from == HSM_PIN_SOURCE && is_refused)
        (void)snprintf(pins->refused, sizeof(pins->refused), "%s", stamp);
}
