/* PINs, for both forms of `ath consent`: a pinentry is started here, as the user, and talks with
 * the helper of athd's that needs the PIN. Its standard input and output are the connection itself:
 * nothing that is said on it goes through this program. */
#ifndef TOOLS_ATH_CMD_CONSENT_PIN_H
#define TOOLS_ATH_CMD_CONSENT_PIN_H

#include "ath_cmd.h"
#include "ath_cmd_consent_prompter.h"

struct consent_pin_order {
    const char *id;       /* of the question */
    const char *program;  /* the pinentry; looked for in PATH */
    const char *terminal; /* its path; "": none */
};

/* Why it failed, in athd's words or ours. */
#define CONSENT_PIN_WHY_SIZE 512u

/* Opens a connection, makes it over to the helper (consent.pinentry) and starts the program at its
 * end. The prompter is over when its connection is (consent_prompter_is_left). An error of athd's
 * (ATH_ERR_CONSENT_NOT_FOUND: another program was faster), ATH_ERR_UNREACHABLE, ATH_ERR_NOMEM,
 * ATH_ERR_NO_PROMPTER: no more processes. */
ath_err consent_pin_start(const struct cmd_context *context, const struct consent_pin_order *order,
                          char ret_why[CONSENT_PIN_WHY_SIZE],
                          struct consent_prompter **ret_prompter) ATH_MUST_USE;

#endif
