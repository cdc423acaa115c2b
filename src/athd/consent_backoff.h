/* After a refusal the same asker's next question about the same key comes later, and later again:
 * who is told no must not win by asking until somebody is tired. */
#ifndef ATHD_CONSENT_BACKOFF_H
#define ATHD_CONSENT_BACKOFF_H

#include "athd/consent_window.h"

#define CONSENT_BACKOFFS_MAX 256u      /* of a tenant; at more the oldest is forgotten */
#define CONSENT_BACKOFF_SHOWN_LATER 3u /* refusals after which the next still is shown, later */
#define CONSENT_BACKOFF_MAX_S 300u
#define CONSENT_BACKOFF_FORGET_S 3600u /* without a refusal */

struct consent_backoff {
    TAILQ_ENTRY(consent_backoff) entry;
    char id[CONSENT_ID_SIZE];
    struct consent_asker asker;
    char *key; /* owned; NULL: none */
    unsigned refusals;
    uint64_t refused_at_ms, next_at_ms; /* clock_boot_ms */
};

/* Initialise with TAILQ_INIT; in the order of the last refusals. */
TAILQ_HEAD(consent_backoffs, consent_backoff);

/* In how many milliseconds the next question may be shown; 0: now. *ret_is_refused: it is not to
 * wait for that but to be refused. */
uint64_t consent_backoffs_wait(struct consent_backoffs *backoffs, const struct consent_asker *asker,
                               const char *key, bool *ret_is_refused);
/* The user said no. Without memory nothing is counted. */
void consent_backoffs_refused(struct consent_backoffs *backoffs, const struct consent_asker *asker,
                              const char *key);
/* The user did not answer what was shown since shown_at_ms (clock_boot_ms). Those that were shown
 * before the last refusal are no more refusals: nobody was there to see any of them. */
void consent_backoffs_unanswered(struct consent_backoffs *backoffs,
                                 const struct consent_asker *asker, const char *key,
                                 uint64_t shown_at_ms);
/* The user said yes: what was before is forgotten. */
void consent_backoffs_approved(struct consent_backoffs *backoffs, const struct consent_asker *asker,
                               const char *key);
/* False: the tenant has none of this id. */
bool consent_backoffs_forget(struct consent_backoffs *backoffs, uid_t tenant, const char *id);
void consent_backoffs_end(struct consent_backoffs *backoffs);
/* An array of the tenant's. */
void consent_backoffs_put(struct consent_backoffs *backoffs, uid_t tenant,
                          struct json_maker *object, const char *name);

#endif
