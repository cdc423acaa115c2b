/*
 * A machine's athd (--system) has one audit log for all: how many bytes of records a uid may cause
 * in it (audit.uid_bytes_per_day). So many at once, then as fast as a day brings them back. Who has
 * had them is refused before anything is done. An athd of one user has no such limit.
 */
#ifndef ATHD_AUDIT_BUDGET_H
#define ATHD_AUDIT_BUDGET_H

#include <sys/types.h>

#include "base/why.h"

struct athd;
struct json;
struct request;

struct audit_budget {
    const struct athd *athd;
    struct audit_budget_uid *uids; /* owned; NULL: no limits */
};

/* ATH_ERR_NOMEM. */
ath_err audit_budget_init(struct audit_budget *budget, const struct athd *athd) ATH_MUST_USE;
/* Accepts one that was never initialised. */
void audit_budget_done(struct audit_budget *budget);

/* A record of this owner was made: what is under way is recorded and may exceed it. */
void audit_budget_charge(struct audit_budget *budget, uid_t owner, size_t len);
/* May the call be carried out? What never has a record may always, and for what takes away
 * (policy.freeze, agent.lock, grant.revoke ...) an eighth is kept. Else ATH_ERR_RATE_LIMITED, which
 * is on record then, with why and *ret_data, for request_fail_data. */
ath_err audit_budget_admits(struct request *request, struct why *why,
                            struct json **ret_data) ATH_MUST_USE;

#endif
