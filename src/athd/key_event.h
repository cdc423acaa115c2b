/* What happens to a key, for subscribers and for the audit log. */
#ifndef ATHD_KEY_EVENT_H
#define ATHD_KEY_EVENT_H

#include "athd/audit_log.h"
#include "athd/key.h"
#include "athd/request.h"

/* An event of topic "key". action: "created", "imported", "deleted". */
void key_event_publish(struct tenant *tenant, const char *action, const struct key *key);
/* The record of it; done comes when it is on disk. event: "key_created", "key_imported",
 * "key_deleted". */
void key_event_record(struct request *request, const char *event, const struct key *key,
                      audit_done_fn *done, void *ctx);

#endif
