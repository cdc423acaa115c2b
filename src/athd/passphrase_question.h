/*
 * Asks a person for a passphrase at the prompter, in a turn at the screen of its own. athd itself
 * reads what is typed, by locked memory only; it is no PIN of any hardware's.
 */
#ifndef ATHD_PASSPHRASE_QUESTION_H
#define ATHD_PASSPHRASE_QUESTION_H

#include "base/buf.h"
#include "base/secret.h"

struct athd;
struct passphrase_question;

/* err ATH_OK: the passphrase, 1 to 255 bytes, the callee's from now on. Else NULL, and
 * ATH_ERR_USER_DENIED, ATH_ERR_CONSENT_TIMEOUT, ATH_ERR_NO_PROMPTER, ATH_ERR_NOMEM. */
typedef void passphrase_question_fn(void *ctx, ath_err err, struct ath_secret *taken_passphrase);

struct passphrase_words {
    const char *prompt, *ok; /* beside the field; the button */
    /* A new one of new_min to new_max bytes, entered twice; `again` is beside the field then.
     * new_max 0: one that there is. */
    const char *again;
    unsigned new_min, new_max;
}; /* string literals: they are borrowed */

/* Asks; the description is taken. Its time counts from now (consent_timeout). done from the loop,
 * once, never from inside; the question is gone then. ATH_ERR_NO_PROMPTER: this athd can ask
 * nobody (--system). ATH_ERR_NOMEM. done is not called then. */
ath_err passphrase_question_ask(struct athd *athd, struct ath_buf *taken_description,
                                const struct passphrase_words *words, passphrase_question_fn *done,
                                void *ctx, struct passphrase_question **ret_question) ATH_MUST_USE;
/* Nobody wants the answer any more: done is not called. NULL is fine. */
void passphrase_question_end(struct passphrase_question *question);

#endif
