/* What users allowed for a while: more of what they said yes to, without a question. In memory
 * only, each for one asker, so many times and so long. */
#ifndef ATHD_CONSENT_WINDOW_H
#define ATHD_CONSENT_WINDOW_H

#include <sys/queue.h>

#include "athd/consent_about.h"

#define CONSENT_ID_SIZE 14             /* "w", 12 hexadecimal digits, NUL */
#define CONSENT_WINDOWS_MAX 256u       /* of one tenant */
#define CONSENT_WINDOW_USES_MAX 10000u /* also where only a time is given */
#define CONSENT_WINDOW_SECONDS_MAX 86400u

struct consent_window {
    TAILQ_ENTRY(consent_window) entry;
    char id[CONSENT_ID_SIZE];
    struct consent_asker asker;
    struct consent_about about;
    unsigned uses_left;
    uint64_t until_ms; /* clock_boot_ms: it goes on while the machine sleeps */
    int64_t expires_at;
};

/* Initialise with TAILQ_INIT; the list's end is consent_windows_end. */
TAILQ_HEAD(consent_windows, consent_window);

/* `prefix`, then random digits. ATH_ERR_CRYPTO. */
ath_err consent_id_make(char prefix, char ret_id[CONSENT_ID_SIZE]) ATH_MUST_USE;

/* Opens one; about is taken, also on failure. ATH_ERR_LIMIT_EXCEEDED: this tenant has
 * CONSENT_WINDOWS_MAX; ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err consent_windows_add(struct consent_windows *windows, const struct consent_asker *asker,
                            struct consent_about *taken_about, unsigned uses, unsigned seconds,
                            const struct consent_window **ret_window) ATH_MUST_USE;
/* Uses one that allows this: its id. False: none does. */
bool consent_windows_use(struct consent_windows *windows, const struct consent_asker *asker,
                         const struct consent_about *about, char ret_id[CONSENT_ID_SIZE]);
/* Ends the one of this id. False: the tenant has none. */
bool consent_windows_forget(struct consent_windows *windows, uid_t tenant, const char *id);
/* Ends those of a key by its name. */
void consent_windows_end_key(struct consent_windows *windows, uid_t tenant, const char *key);
/* Ends all of a tenant, or of every one. How many there were. */
size_t consent_windows_end_tenant(struct consent_windows *windows, uid_t tenant);
size_t consent_windows_end(struct consent_windows *windows);
/* An array of the tenant's. */
void consent_windows_put(struct consent_windows *windows, uid_t tenant, struct json_maker *object,
                         const char *name);

#endif
