/* Commands of `ath consent` with code of their own; private to tools/ath_cmd_consent*.c. */
#ifndef TOOLS_ATH_CMD_CONSENT_H
#define TOOLS_ATH_CMD_CONSENT_H

#include "ath_cmd.h"

/* How long athd may take to answer a program that attends, unless --timeout says. */
#define CONSENT_TIMEOUT_MS 10000
/* Not more often than this a new list is asked for. */
#define CONSENT_LIST_PAUSE_MS 200u

/* The terminal's dialogue, or with --prompter the agent. */
cmd_run_fn cmd_run_consent, cmd_run_consent_agent;

/* Connects and attends: from here on athd's questions come here. NULL
 * after saying why not, with *ret_status. */
struct ath_client *consent_attend(const struct cmd_context *context, int *ret_status);
/* consent.list, with every text; questions for PINs are among the questions, with `pin` true, those
 * that a program has taken only where with_taken says so. Attends again where athd has given us up.
 * The list is the caller's. An error is the client's, and is not printed. */
ath_err consent_list(struct ath_client *client, bool with_taken,
                     struct json **ret_list) ATH_MUST_USE;
/* The locale of this program's environment, for a prompter; NULL: none is named. */
const char *consent_lc_ctype(void);
/* Calls with params (taken; NULL: none). As consent_list. */
ath_err consent_call(struct ath_client *client, const char *method,
                     struct json *taken_params) ATH_MUST_USE;

#endif
