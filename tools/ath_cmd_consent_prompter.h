/*
 * One prompter (pinentry protocol) for one question, started from `ath consent --prompter` with its
 * environment: as athd starts its own, in a session of its own, with no descriptor of ours but its
 * pipes, and gone with us. Nothing here blocks.
 */
#ifndef TOOLS_ATH_CMD_CONSENT_PROMPTER_H
#define TOOLS_ATH_CMD_CONSENT_PROMPTER_H

#include "pinentry/pinentry.h"

struct consent_prompter;

/* Can it be run, and does it greet? Blocks, at most 30 s. ATH_ERR_NO_PROMPTER with why. */
ath_err consent_prompter_check(const char *program, struct why *why) ATH_MUST_USE;

/* program is looked for in PATH. ATH_ERR_LIMIT_EXCEEDED: too long a question; ATH_ERR_NOMEM;
 * ATH_ERR_NO_PROMPTER: no more processes. A program that cannot be run ends at once. */
ath_err consent_prompter_start(const char *program, const struct pinentry_question *question,
                               struct consent_prompter **ret_prompter) ATH_MUST_USE;
/* Starts program with this socket, which stays the caller's to close, as its standard input and
 * output: somebody else talks to it, and nothing of it is read here. ATH_ERR_NOMEM,
 * ATH_ERR_NO_PROMPTER. */
ath_err consent_prompter_start_at(const char *program, int socket,
                                  struct consent_prompter **ret_prompter) ATH_MUST_USE;
/* Is it one of these? */
bool consent_prompter_is_others(const struct consent_prompter *prompter);
/* For poll(2), POLLIN; -1: somebody else's. */
int consent_prompter_fd(const struct consent_prompter *prompter);
/* Takes what it has said. False: go on; true: it is over, *ret_answer is ATH_OK (yes) or an error
 * of pinentry_receive. */
bool consent_prompter_read(struct consent_prompter *prompter, ath_err *ret_answer);
/* What was wrong with it; "" where nothing is known. */
const char *consent_prompter_complaint(const struct consent_prompter *prompter);
/* Takes its question from the screen: SIGTERM. To be called after an answer too. */
void consent_prompter_end(struct consent_prompter *prompter);
/* Whether the process has gone; then the prompter has been freed. One that was told to end and does
 * not within a second is killed by this. */
bool consent_prompter_is_gone(struct consent_prompter *prompter);

#endif
