#include "athd/session_record.h"

#include "athd/athd.h"
#include "athd/audit_record.h"

void
session_record(struct tenant *tenant, const struct session *session, const char *event,
               const struct request *request)
{
    struct json_maker record;

    audit_record_begin(&record, event, request);
    if (request == NULL)
        audit_record_put_owner(&record, tenant);
    json_put_string(&record, "session", session->id);
    json_put_base64url(&record, "handshake", ath_slice_of(session->t5, sizeof(session->t5)));
    json_put_string(&record, "trace", session->trace);
    json_put_string(&record, "role", session->service == NULL ? "client" : "server");
    json_put_string(&record, "peer", session->peer_did);
    json_put_string(&record, "user_id", session->user_did);
    if (session->service != NULL)
        json_put_string(&record, "service", session->service->rules->name);
    json_put_int(&record, "expires_at", session->expires_at);
    audit_record_note(tenant->athd, &record);
}
