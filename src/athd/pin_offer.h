/*
 * Questions for a PIN that wait for a pinentry of the user's own: of a program that attends
 * (consent.attend with pins), as its user, in its place. The program opens a connection for it and
 * says consent.pinentry; from then on that connection is the helper's, which speaks Assuan on it,
 * and athd reads nothing of it. What a program of the same uid could do with a question of its
 * own making it can do here; another uid does not come near it.
 */
#ifndef ATHD_PIN_OFFER_H
#define ATHD_PIN_OFFER_H

#include "athd/consent.h"
#include "athd/pin_dialogue.h"

/* Of one helper's prompters, programs' in all: it has threads for so many (HSM_DIALOGUES_MAX). */
#define PIN_OFFERS_TAKEN_MAX 8u

/* Does a program of the tenant's attend that has a pinentry, other than the process that asks? */
bool pin_offer_is_attended(const struct consent *consent, const struct tenant *tenant,
                           const struct caller *caller);
/* Those who attend have changed. */
void pin_offers_look(struct consent *consent);
/* athd ends: all of it is over, shown or not (ATH_ERR_HSM_UNAVAILABLE). */
void pin_offers_close(struct consent *consent);

/* One of the tenant's that they may see, taken or not; NULL: there is none (any more). */
struct pin_dialogue *pin_offer_find(struct consent *consent, uid_t tenant, const char *id);
/* The member pins of consent.list. id NULL: all. False: the tenant has no such question. */
bool pin_offers_put(struct consent *consent, uid_t tenant, const char *id,
                    struct json_maker *result);

/* May this caller take it, or refuse it? ATH_ERR_CONSENT_NOT_FOUND (another program has taken it),
 * ATH_ERR_POLICY_DENIED, with why; *ret_missing is for the record then. */
ath_err pin_offer_check(const struct pin_dialogue *dialogue, const struct caller *caller,
                        const char **ret_missing, struct why *why) ATH_MUST_USE;
/* The connection at the other end of shown->fd (which is the callee's from now on) is the helper's.
 * ATH_ERR_LIMIT_EXCEEDED with why: its uid has enough prompters; ATH_ERR_NOMEM: nothing changes.
 * ATH_ERR_NO_PROMPTER: the helper did not take it; the question is over. */
ath_err pin_offer_take(struct pin_dialogue *dialogue, const struct request *request,
                       const struct pin_shown *taken, struct why *why) ATH_MUST_USE;
/* The user says no instead. */
void pin_offer_refuse(struct pin_dialogue *dialogue);

#endif
