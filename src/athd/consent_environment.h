/* The environment prompters are started with: athd's own, in which the variables that say where the
 * user sits (display, terminal, bus, language) may be replaced by those of now. */
#ifndef ATHD_CONSENT_ENVIRONMENT_H
#define ATHD_CONSENT_ENVIRONMENT_H

#include <sys/types.h>

#include "base/json.h"

#define CONSENT_VARIABLES 12u

/* Zero-initialise. */
struct consent_environment {
    bool is_set;
    char *values[CONSENT_VARIABLES]; /* owned; NULL: unset */
    char **vector; /* owned, as execve(2) wants it; entries of athd's are borrowed */
};

/* Is it what GPG_TTY may be, by its form, of somebody whose terminals are not athd's to open; what
 * TERM and the names of languages may be? */
bool consent_environment_is_terminal(const char *value);
bool consent_environment_is_word(const char *value);

/* Sets all of the variables from the members of params; those that are not there are unset.
 * ATH_ERR_INVALID_PARAMS with why: a value that is not what its variable holds (a terminal must be
 * uid's), ATH_ERR_NOMEM: nothing changes. */
ath_err consent_environment_set(struct consent_environment *environment, const struct json *params,
                                uid_t uid, struct why *why) ATH_MUST_USE;
void consent_environment_done(struct consent_environment *environment);

/* A variable of it; NULL: not set. */
const char *consent_environment_get(const struct consent_environment *environment,
                                    const char *name);
/* For execve(2); borrowed, until it is set again. */
char *const *consent_environment_vector(const struct consent_environment *environment);
/* For the record: an object of those that were set. */
void consent_environment_put(const struct consent_environment *environment,
                             struct json_maker *object, const char *name);

#endif
