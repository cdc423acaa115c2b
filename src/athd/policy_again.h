/* Deciding again what was allowed before: a person took their time, or the rules have changed. */
#ifndef ATHD_POLICY_AGAIN_H
#define ATHD_POLICY_AGAIN_H

#include "athd/request.h"

/* The user said yes. Do the rules, the hour, the caller and the key still allow what was asked
 * (request->kept; NULL: nothing)? A rule that wants a yes has one, whichever rule it is by now.
 * ATH_ERR_POLICY_DENIED, which is on record then, with request->denied. */
ath_err policy_again_after_yes(struct request *request, struct why *why) ATH_MUST_USE;

/* The same of a signature that is under way. The rules were read again meanwhile (`are_new`): they
 * may want a yes by now that nobody was asked for. */
ath_err policy_again_while_signing(struct request *request, bool are_new,
                                   struct why *why) ATH_MUST_USE;

#endif
