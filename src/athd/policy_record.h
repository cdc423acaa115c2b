/* What policy refused, on record; what it allowed is in the record of what was done then (`rule`).
 */
#ifndef ATHD_POLICY_RECORD_H
#define ATHD_POLICY_RECORD_H

#include "athd/policy.h"
#include "athd/request.h"

/* policy_denied, or where nothing is denied yet policy_would_deny. Many of one uid are recorded
 * together (audit_flood.h). */
void policy_record_denied(const struct request *request, const struct policy_question *question,
                          const struct policy_answer *answer);

/* The request's error for a DENY or LIMITED: counts, logs, records and says it. *ret_data is for
 * request_fail_data. ATH_ERR_POLICY_DENIED, ATH_ERR_RATE_LIMITED. */
ath_err policy_refusal(struct request *request, const struct policy_question *question,
                       const struct policy_answer *answer, struct why *why,
                       struct json **ret_data) ATH_MUST_USE;

/* policy_refused: the files are wrong, the old rules stay in force. */
void policy_record_refused(struct athd *athd, ath_err err, const struct why *why);

#endif
