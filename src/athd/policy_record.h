/* What policy refused, on record; what it allowed is in the record of what was done then (`rule`).
 */
#ifndef ATHD_POLICY_RECORD_H
#define ATHD_POLICY_RECORD_H

#include "athd/policy.h"
#include "athd/request.h"

/* policy_denied. A stranger's are recorded together when there are many (audit_flood.h). */
void policy_record_denied(const struct request *request, const struct policy_question *question,
                          const struct policy_answer *answer);

#endif
