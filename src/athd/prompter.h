/* One run of the prompter for one question: a process of its own group, with the environment
 * that it is given (consent_environment). */
#ifndef ATHD_PROMPTER_H
#define ATHD_PROMPTER_H

#include <uv.h>

#include "pinentry/pinentry.h"

struct prompter;

struct prompter_events {
    /* The answer: ATH_OK is yes; errors as of pinentry_receive. Once, from the loop; not after
     * prompter_end. */
    void (*on_answer)(void *ctx, ath_err err);
    void *ctx;
    /* The process has gone and the prompter has been freed. Once, always. */
    void (*on_gone)(void *gone_ctx);
    void *gone_ctx;
};

/* ATH_ERR_LIMIT_EXCEEDED (too long a question), ATH_ERR_NOMEM, ATH_ERR_NO_PROMPTER: nothing runs
 * and no event comes. */
ath_err prompter_start(uv_loop_t *loop, const char *program, char *const *environment,
                       const struct pinentry_question *question,
                       const struct prompter_events *events,
                       struct prompter **ret_prompter) ATH_MUST_USE;

/* Starts a prompter that somebody else talks to (a helper asks for a PIN): *ret_fd is the other end
 * of its standard input and output, the caller's to pass on and close. Of the events only on_gone
 * comes, also where it ends by itself. ATH_ERR_NOMEM, ATH_ERR_NO_PROMPTER. */
ath_err prompter_start_for_other(uv_loop_t *loop, const char *program, char *const *environment,
                                 const struct prompter_events *events,
                                 struct prompter **ret_prompter, int *ret_fd) ATH_MUST_USE;

/* Inside on_answer with ATH_OK, where the question asks for a PIN: it, now the caller's. It came
 * through locked memory only. ATH_ERR_NOT_FOUND, ATH_ERR_NOMEM. */
ath_err prompter_take_pin(struct prompter *prompter, struct ath_secret *ret_pin) ATH_MUST_USE;

/* Takes the question from the screen: SIGTERM, after a second SIGKILL. After an answer too. */
void prompter_end(struct prompter *prompter);

#endif
