/*
 * What records have in common, whoever writes them. Event names and members are listed in
 * docs/audit-events.md; tests/checks/check_audit_events.sh compares.
 */
#ifndef ATHD_AUDIT_RECORD_H
#define ATHD_AUDIT_RECORD_H

#include "athd/request.h"

/* A record begun: index and timestamp are put by append, event, caller, trace, rule, consent and
 * duration_us (from the call's arrival until now) by this, the rest is the caller's: members of
 * ATH's audit shape where they apply (agent_id, user_id, provider_id, requested_scopes,
 * effective_scopes, denied_scopes, denial_reason), key, jkt, purpose, audience, sha256 (of what is
 * signed), jti or handshake. request may be NULL: nobody called. */
void audit_record_begin(struct json_maker *record, const char *event,
                        const struct request *request);

/* Of a request this is done by begin: whose record it is, `owner`, where athd serves several uids. */
void audit_record_put_owner(struct json_maker *record, const struct tenant *tenant);

/* Ends the record and appends it; nobody waits for it. An athd that has no log (yet, or any more)
 * drops it. */
void audit_record_note(struct athd *athd, struct json_maker *record);

#endif
