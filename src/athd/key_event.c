#include "athd/key_event.h"

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/events.h"

void
key_event_publish(struct tenant *tenant, const char *action, const struct key *key)
{
    struct json_maker event;

    json_object_begin(&event);
    json_put_string(&event, "action", action);
    json_put_string(&event, "key", key->name);
    json_put_string(&event, "did", key->did);
    events_publish_to(tenant, EVENT_KEY, &event);
}

void
key_event_record(struct request *request, const char *event, const struct key *key,
                 audit_done_fn *done, void *ctx)
{
    struct json_maker record;

    audit_record_begin(&record, event, request);
    json_put_string(&record, "key", key->name);
    json_put_string(&record, "role", did_role_name(key->role));
    json_put_string(&record, "did", key->did);
    json_put_string(&record, "jkt", public_key_jkt(key->public_key));
    json_put_string(&record, "hsm", key->hsm);
    audit_append(request->athd->audit, &record, done, ctx);
}
