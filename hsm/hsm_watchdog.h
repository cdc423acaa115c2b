/* Ends the process when the other end has closed and a module does not let us go: whoever holds a
 * token must not outlive athd. */
#ifndef HSM_HSM_WATCHDOG_H
#define HSM_HSM_WATCHDOG_H

#include "ath/err.h"

struct hsm_watchdog;

/* From when fd (a socket, which stays the caller's) is hung up, or hsm_watchdog_hurry is called,
 * the process has patience_ms until hsm_watchdog_free; then it exits as for
 * ATH_ERR_HSM_UNAVAILABLE. ATH_ERR_NOMEM. */
ath_err hsm_watchdog_new(int fd, unsigned patience_ms,
                         struct hsm_watchdog **ret_watchdog) ATH_MUST_USE;
void hsm_watchdog_hurry(struct hsm_watchdog *watchdog); /* NULL is fine */
void hsm_watchdog_free(struct hsm_watchdog *watchdog);

#endif
