/* Asks a person for a PIN over a connection to a prompter that athd has started. Blocks: for a
 * thread of its own. */
#ifndef HSM_HSM_PIN_DIALOGUE_H
#define HSM_HSM_PIN_DIALOGUE_H

#include "base/secret.h"
#include "hsm/hsm.h"

struct pin_question {
    const char *description; /* lines separated by LF */
    bool is_new;             /* HSM_PIN_MIN to HSM_PIN_MAX bytes, entered twice */
    uint32_t timeout_s;
    const char *ttyname, *ttytype, *lc_ctype; /* "" : not told */
};

/* Appends what a person must know who is asked for a PIN, or for a new one: which token it is, or
 * that it is a TPM's key, how many tries are left, and `text` (who asks for what). What tokens and
 * callers wrote is made harmless. */
void pin_question_put_description(struct ath_buf *out, const struct hsm_info *info,
                                  struct ath_slice text, bool is_new);

/*
 * Talks over fd (a stream socket, which stays the caller's) until there is a PIN (*ret_pin, 1 to
 * 255 bytes in locked memory, the caller's) or none: ATH_ERR_USER_DENIED (cancelled, or an empty
 * PIN), ATH_ERR_CONSENT_TIMEOUT, ATH_ERR_NO_PROMPTER (it ended, failed or spoke another protocol;
 * or cancel_fd became readable), ATH_ERR_NOMEM, ATH_ERR_LIMIT_EXCEEDED (the description has too
 * many pages). `why` never holds anything of a PIN.
 */
ath_err pin_dialogue_run(int fd, int cancel_fd, const struct pin_question *question,
                         struct why *why, struct ath_secret *ret_pin) ATH_MUST_USE;

#endif
