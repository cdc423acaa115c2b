/* A software TPM of our own: swtpm(8) as our child on a socketpair. No port, no path to connect to,
 * gone when we are. */
#ifndef HSM_TPM_SWTPM_H
#define HSM_TPM_SWTPM_H

#include "hsm/hsm.h"

struct swtpm;

/* Starts it on `<state_dir>/swtpm` (absolute); a state that is not there yet is made (is_slow is
 * told), by swtpm_setup so that it has an EK certificate, or, where that fails (logged), by swtpm
 * itself, without one. *ret_fd is the connection: the caller's. ATH_ERR_HSM_UNAVAILABLE with the
 * reason in why. */
ath_err swtpm_start(const struct hsm_options *options, struct why *why, struct swtpm **ret_swtpm,
                    int *ret_fd) ATH_MUST_USE;

/* Its connection is gone: says in why what can be known of the reason. */
void swtpm_explain(struct swtpm *swtpm, struct why *why);

/* Waits until it has ended by itself (close the connection first), kills it after two seconds.
 * NULL is fine. */
void swtpm_stop(struct swtpm *swtpm);

#endif
