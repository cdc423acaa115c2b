/*
 * Records as OTLP/JSON (opentelemetry.io, "OTLP/HTTP JSON", ExportLogsServiceRequest): a line a
 * record, as collectors' file receivers read them. Members become attributes, `trace` the traceId
 * and spanId, the record itself the body.
 */
#include <string.h>

#include "ath_cmd_audit.h"
#include "base/traceparent.h"

#define SEVERITY_INFO 9 /* SeverityNumber */
#define SEVERITY_WARN 13
#define MAX_DEPTH 16u

static void put_value(struct json_maker *maker, const char *name, const struct json *value,
                      unsigned depth);

static void
put_values(struct json_maker *value, const char *kind, const struct json *container, unsigned depth)
{
    struct json_maker list, entries, entry;
    const struct json *child;

    json_array_begin(&entries);
    for (child = json_first(container); child != NULL; child = json_next(child)) {
        if (json_name(child) == NULL) {
            put_value(&entries, NULL, child, depth);
            continue;
        }
        json_object_begin(&entry);
        json_put_string(&entry, "key", json_name(child));
        put_value(&entry, "value", child, depth);
        json_put_maker(&entries, NULL, &entry);
    }
    json_object_begin(&list);
    json_put_maker(&list, "values", &entries);
    json_put_maker(value, kind, &list);
}

/* AnyValue; 64-bit integers are strings in OTLP/JSON. What is nested too deep is left empty: the
 * body has it. */
static void
put_value(struct json_maker *maker, const char *name, const struct json *value, unsigned depth)
{
    struct json_maker any;
    char number[24];
    int64_t integer;

    json_object_begin(&any);
    if (json_string(value) != NULL) {
        json_put_string(&any, "stringValue", json_string(value));
    } else if (json_is_bool(value)) {
        json_put_bool(&any, "boolValue", json_is_true(value));
    } else if (json_int(value, &integer)) {
        snprintf(number, sizeof(number), "%lld", (long long)integer);
        json_put_string(&any, "intValue", number);
    } else if (json_is_array(value) && depth < MAX_DEPTH) {
        put_values(&any, "arrayValue", value, depth + 1);
    } else if (json_is_object(value) && depth < MAX_DEPTH) {
        put_values(&any, "kvlistValue", value, depth + 1);
    }
    json_put_maker(maker, name, &any);
}

static void
put_attributes(struct json_maker *log_record, const struct json *record)
{
    struct json_maker attributes, attribute;
    const struct json *member;

    json_array_begin(&attributes);
    for (member = json_first(record); member != NULL; member = json_next(member)) {
        if (strcmp(json_name(member), "timestamp") == 0)
            continue;
        json_object_begin(&attribute);
        json_put_string(&attribute, "key", json_name(member));
        put_value(&attribute, "value", member, 0);
        json_put_maker(&attributes, NULL, &attribute);
    }
    json_put_maker(log_record, "attributes", &attributes);
}

/* traceparent: 2-32-16-2 hexadecimal digits (Trace Context 3.2). */
static void
put_trace(struct json_maker *log_record, const char *trace)
{
    if (trace == NULL || !traceparent_is_valid(trace))
        return;
    json_put_slice(log_record, "traceId", ath_slice_of(trace + 3, 32));
    json_put_slice(log_record, "spanId", ath_slice_of(trace + 36, 16));
    json_put_int(log_record, "flags", strchr("13579bdf", trace[54]) != NULL ? 1 : 0); /* sampled */
}

static void
put_log_record(struct json_maker *array, struct ath_slice line, const struct audit_line *begun,
               const struct json *record)
{
    bool is_denied = json_get(record, "denial_reason") != NULL;
    struct json_maker log_record, body;
    char nanoseconds[32];

    snprintf(nanoseconds, sizeof(nanoseconds), "%lld000",
             (long long)cmd_audit_microseconds(begun->timestamp));
    json_object_begin(&log_record);
    json_put_string(&log_record, "timeUnixNano", nanoseconds);
    json_put_int(&log_record, "severityNumber", is_denied ? SEVERITY_WARN : SEVERITY_INFO);
    json_put_string(&log_record, "severityText", is_denied ? "WARN" : "INFO");
    json_put_string(&log_record, "eventName", json_get_string(record, "event"));
    json_object_begin(&body);
    json_put_slice(&body, "stringValue", line);
    json_put_maker(&log_record, "body", &body);
    put_attributes(&log_record, record);
    put_trace(&log_record, json_get_string(record, "trace"));
    json_put_maker(array, NULL, &log_record);
}

static void
put_resource(struct json_maker *resource_logs)
{
    struct json_maker resource, attributes, attribute, value;

    json_object_begin(&value);
    json_put_string(&value, "stringValue", "athd");
    json_object_begin(&attribute);
    json_put_string(&attribute, "key", "service.name");
    json_put_maker(&attribute, "value", &value);
    json_array_begin(&attributes);
    json_put_maker(&attributes, NULL, &attribute);
    json_object_begin(&resource);
    json_put_maker(&resource, "attributes", &attributes);
    json_put_maker(resource_logs, "resource", &resource);
}

/* {"resourceLogs":[{"resource":…,"scopeLogs":[{"scope":…,"logRecords":[…]}]}]} */
static ath_err
make_request(struct ath_slice line, const struct audit_line *begun, const struct json *record,
             struct json **ret_request)
{
    struct json_maker request, all, one, scopes, scope_logs, scope, log_records;

    json_object_begin(&scope);
    json_put_string(&scope, "name", "athd.audit");
    json_array_begin(&log_records);
    put_log_record(&log_records, line, begun, record);
    json_object_begin(&scope_logs);
    json_put_maker(&scope_logs, "scope", &scope);
    json_put_maker(&scope_logs, "logRecords", &log_records);
    json_array_begin(&scopes);
    json_put_maker(&scopes, NULL, &scope_logs);
    json_object_begin(&one);
    put_resource(&one);
    json_put_maker(&one, "scopeLogs", &scopes);
    json_array_begin(&all);
    json_put_maker(&all, NULL, &one);
    json_object_begin(&request);
    json_put_maker(&request, "resourceLogs", &all);
    return json_maker_end(&request, ret_request);
}

ath_err
cmd_audit_put_otel(struct ath_slice line, struct ath_buf *out)
{
    struct json *record = NULL, *request = NULL;
    struct audit_line begun;
    ath_err err;

    if ((err = audit_line_begin(line, NULL, &begun)) != ATH_OK ||
        (err = json_parse(line, &audit_line_limits, NULL, &record)) != ATH_OK)
        return err;
    if ((err = make_request(line, &begun, record, &request)) == ATH_OK) {
        json_write(request, out);
        ath_buf_put_byte(out, '\n');
        err = out->err;
    }
    json_free(request);
    json_free(record);
    return err;
}
