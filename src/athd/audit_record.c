#include "athd/audit_record.h"

#include "athd/athd.h"
#include "athd/audit_log.h"
#include "athd/handshake_record.h"
#include "base/clock.h"

/* What a caller says goes before what came with a message. */
static void
put_handshake(struct json_maker *record, const struct request *request)
{
    const struct handshake *handshake = request->handshake;

    json_put_string(record, "trace", request->handshake_trace);
    json_put_string(record, "handshake", request->handshake_t5);
    if (handshake != NULL)
        handshake_record_join(record, handshake);
    json_put_string(record, "trace", request->trace);
}

void
audit_record_put_owner(struct json_maker *record, const struct tenant *tenant)
{
    if (tenant->athd->config->is_system)
        json_put_int(record, "owner", tenant->uid);
}

void
audit_record_begin(struct json_maker *record, const char *event, const struct request *request)
{
    json_object_begin(record);
    json_put_string(record, "event", event);
    if (request == NULL)
        return;
    audit_record_put_owner(record, request->tenant);
    caller_put(request->caller, record, "caller");
    put_handshake(record, request);
    json_put_string(record, "rule", request->rule);
    if (request->has_consent)
        json_put_string(record, "consent", "given");
    if (request->arrived_us != 0)
        json_put_int(record, "duration_us", (int64_t)(clock_monotonic_us() - request->arrived_us));
}

void
audit_record_note(struct athd *athd, struct json_maker *record)
{
    if (athd->audit == NULL || athd->is_closing_parts)
        json_maker_done(record);
    else
        audit_append(athd->audit, record, NULL, NULL);
}
