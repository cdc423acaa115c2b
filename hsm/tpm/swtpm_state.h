/* The directory a software TPM keeps its memory in, and its first contents. */
#ifndef HSM_TPM_SWTPM_STATE_H
#define HSM_TPM_SWTPM_STATE_H

#include "hsm/hsm.h"

/* Makes sure of `<state_dir>/swtpm`, and tells is_slow where it has to be made; *ret_path is its
 * path, freed by the caller. Complete or not there: what swtpm_setup makes appears by a rename.
 * ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err swtpm_state_prepare(const struct hsm_options *options, struct why *why,
                            char **ret_path) ATH_MUST_USE;

#endif
