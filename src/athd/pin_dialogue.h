/*
 * A prompter that a helper asks for a PIN: athd starts it, in its turn at the screen and under the
 * rules of every prompter (athd's own environment, a group of its own, killed when nobody waits any
 * more, when its time is up or athd ends), and passes its connection on. athd reads nothing of what
 * is said on it.
 */
#ifndef ATHD_PIN_DIALOGUE_H
#define ATHD_PIN_DIALOGUE_H

#include <stdint.h>

#include "base/why.h"

struct athd;
struct pin_dialogue;

struct pin_dialogue_events {
    /* It runs: fd is its connection, borrowed, to be passed on; timeout_s is what is left of its
     * time. May come from inside pin_dialogue_start. */
    void (*on_shown)(void *ctx, int fd, uint32_t timeout_s);
    /* ATH_ERR_NO_PROMPTER, ATH_ERR_NOMEM: it cannot be started. ATH_ERR_CONSENT_TIMEOUT: its time
     * is up, shown or not. Once, from the loop; pin_dialogue_end is still to be called. */
    void (*on_failed)(void *ctx, ath_err err);
    void *ctx;
};

/* Can a person be asked at all? ATH_ERR_NO_PROMPTER with why: an athd of the system (--system) has
 * nobody's screen. */
ath_err pin_dialogue_check(const struct athd *athd, struct why *why) ATH_MUST_USE;
/* Its time counts from now. ATH_ERR_NOMEM: no event comes. */
ath_err pin_dialogue_start(struct athd *athd, const struct pin_dialogue_events *events,
                           struct pin_dialogue **ret_dialogue) ATH_MUST_USE;
/* Nobody waits any more, or the helper has answered: ends the prompter. No event comes after this.
 * NULL is fine. */
void pin_dialogue_end(struct pin_dialogue *dialogue);

#endif
