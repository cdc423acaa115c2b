/* What becomes of hardware and its helpers, on record. */
#ifndef ATHD_HSM_RECORD_H
#define ATHD_HSM_RECORD_H

#include "ath/err.h"

struct hsm_unit;

/* hsm_state: hardware that is ready (started, plugged in, back), absent, failed or locked, with
 * why. Of hardware that comes and goes without end most are recorded together. */
void hsm_record_state(const struct hsm_unit *unit);
/* helper_started, helper_ended: each life of a helper process; that it ends with athd has no record
 * of its own. */
void hsm_record_helper(const struct hsm_unit *unit, const char *event);

/* login: a PIN was tried, and what came of it; tries_left 0: the token does not say. The PIN was
 * never here. logout: the time it was good for is over, or the token has forgotten it. `key`: the
 * name of the TPM's key whose PIN it is; NULL: it is the token's. */
void hsm_record_login(const struct hsm_unit *unit, const char *key, ath_err err,
                      unsigned tries_left);
void hsm_record_logout(const struct hsm_unit *unit, const char *key);

#endif
