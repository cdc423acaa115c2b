/*
 * A person is asked for a PIN, by the helper that needs it. Where a program of the user's attends
 * that has a pinentry to offer (consent.attend with pins), the question waits for one: the program
 * makes a connection of its own over to it (consent.pinentry, pin_offer.h). Else athd starts a
 * prompter itself, in its turn at the screen and under the rules of every prompter (its own
 * environment, a group of its own, killed when nobody waits any more, when its time is up or athd
 * ends). Either way the connection is passed on, and athd reads nothing of what is said on it.
 */
#ifndef ATHD_PIN_DIALOGUE_H
#define ATHD_PIN_DIALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/why.h"

struct athd;
struct caller;
struct pin_dialogue;
struct tenant;

/* What is asked. All borrowed during the call, and copied, but for what is static or lives as long
 * as athd. */
struct pin_dialogue_order {
    struct tenant *tenant; /* whose person is asked; NULL: nobody's (athd itself asks) */
    struct caller *caller; /* who asked first; NULL: athd itself */
    const char *method;    /* static; NULL: none */
    const char *hsm;       /* its name; lives as long as athd */
    const char *key;       /* NULL: none */
    const char *text;      /* what a person reads, whole and harmless */
    bool is_new;           /* a PIN is chosen */
    unsigned tries_left;   /* 0: not known */
};

/* Where it is asked. Borrowed during the call. */
struct pin_shown {
    int fd;                                   /* the connection to the prompter, to be passed on */
    uint32_t timeout_s;                       /* what is left of its time */
    const char *ttyname, *ttytype, *lc_ctype; /* NULL: not known */
};

struct pin_dialogue_events {
    /* A prompter is there. May come from inside pin_dialogue_start. */
    void (*on_shown)(void *ctx, const struct pin_shown *shown);
    /* ATH_ERR_NO_PROMPTER, ATH_ERR_NOMEM: there is none. ATH_ERR_USER_DENIED: the user said no.
     * ATH_ERR_CONSENT_TIMEOUT: its time is up, ATH_ERR_HSM_UNAVAILABLE: athd ends; shown or not.
     * Once, from the loop; pin_dialogue_end is still to be called. */
    void (*on_failed)(void *ctx, ath_err err);
    void *ctx;
};

/* Can this tenant's person be asked by this caller (NULL: athd itself) at all?
 * ATH_ERR_NO_PROMPTER with why: an athd of the system (--system) has nobody's screen, and no
 * program attends. */
ath_err pin_dialogue_check(struct athd *athd, const struct tenant *tenant,
                           const struct caller *caller, struct why *why) ATH_MUST_USE;
/* Its time counts from now. ATH_ERR_NOMEM, ATH_ERR_CRYPTO: no event comes. */
ath_err pin_dialogue_start(struct athd *athd, const struct pin_dialogue_order *order,
                           const struct pin_dialogue_events *events,
                           struct pin_dialogue **ret_dialogue) ATH_MUST_USE;
/* Nobody wants the answer any more, or the helper has given it: ends the prompter, and breaks the
 * connection to it. how: ATH_OK, ATH_ERR_PIN_INCORRECT, ATH_ERR_PIN_LOCKED (one was entered) or why
 * none was, for the record. No event comes after this. NULL is fine. */
void pin_dialogue_end(struct pin_dialogue *dialogue, ath_err how);

#endif
