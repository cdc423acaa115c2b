/*
 * Records in systemd's journal export format (systemd.io/JOURNAL_EXPORT_FORMATS): a line a field,
 * NAME=value, or NAME, a little-endian length and the value where that has line ends; an empty line
 * ends an entry. The fields are ATH_*, beside the journal's own MESSAGE, PRIORITY and
 * SYSLOG_IDENTIFIER. ATH_RECORD is the record itself, byte for byte.
 */
#include <string.h>

#include "ath_cmd_audit.h"

#define PRIORITY_NOTICE 5 /* syslog.h: what was refused or failed */
#define PRIORITY_INFO 6

/* Members that have a field of their own; others are in ATH_RECORD. */
static const struct {
    const char *member, *field;
} fields[] = {
    {"event", "ATH_EVENT"},
    {"key", "ATH_KEY"},
    {"jkt", "ATH_JKT"},
    {"purpose", "ATH_PURPOSE"},
    {"audience", "ATH_AUDIENCE"},
    {"agent_id", "ATH_AGENT_ID"},
    {"user_id", "ATH_USER_ID"},
    {"provider_id", "ATH_PROVIDER_ID"},
    {"trace", "ATH_TRACE"},
    {"handshake", "ATH_HANDSHAKE"},
    {"denial_reason", "ATH_DENIAL_REASON"},
};

static void
put_length(struct ath_buf *out, uint64_t len)
{
    for (unsigned i = 0; i < 8; i++)
        ath_buf_put_byte(out, (uint8_t)(len >> (8 * i)));
}

static bool
has_control_characters(struct ath_slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] < 0x20 && value.data[i] != '\t')
            return true;
    return false;
}

static void
put_field(struct ath_buf *out, const char *name, struct ath_slice value)
{
    ath_buf_put_string(out, name);
    if (has_control_characters(value)) {
        ath_buf_put_byte(out, '\n');
        put_length(out, value.len);
    } else {
        ath_buf_put_byte(out, '=');
    }
    ath_buf_put_slice(out, value);
    ath_buf_put_byte(out, '\n');
}

static void
put_message(struct ath_buf *out, uint64_t index, const struct json *record)
{
    static const char *const shown[] = {"key", "purpose", "audience", "denial_reason"};
    const char *event = json_get_string(record, "event");
    struct ath_buf message = {0};

    ath_buf_printf(&message, "record %llu: %s", (unsigned long long)index,
                   event != NULL ? event : "?");
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        const char *value = json_get_string(record, shown[i]);

        if (value != NULL)
            ath_buf_printf(&message, " %s=%s", shown[i], value);
    }
    if (message.err == ATH_OK)
        put_field(out, "MESSAGE", ath_buf_slice(&message));
    else
        out->err = message.err;
    ath_buf_done(&message);
}

static void
put_entry(struct ath_slice line, const struct audit_line *begun, const struct json *record,
          struct ath_buf *out)
{
    bool is_denied = json_get(record, "denial_reason") != NULL;

    ath_buf_printf(out, "__REALTIME_TIMESTAMP=%lld\n",
                   (long long)cmd_audit_microseconds(begun->timestamp));
    put_message(out, begun->index, record);
    ath_buf_printf(out, "PRIORITY=%d\nSYSLOG_IDENTIFIER=athd\nATH_INDEX=%llu\n",
                   is_denied ? PRIORITY_NOTICE : PRIORITY_INFO, (unsigned long long)begun->index);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *value = json_get_string(record, fields[i].member);

        if (value != NULL)
            put_field(out, fields[i].field, ath_slice_of_string(value));
    }
    put_field(out, "ATH_RECORD", line);
    ath_buf_put_byte(out, '\n');
}

ath_err
cmd_audit_put_journal(struct ath_slice line, struct ath_buf *out)
{
    struct json *record = NULL;
    struct audit_line begun;
    ath_err err;

    if ((err = audit_line_begin(line, NULL, &begun)) != ATH_OK ||
        (err = json_parse(line, &audit_line_limits, NULL, &record)) != ATH_OK)
        return err;
    put_entry(line, &begun, record, out);
    json_free(record);
    return out->err;
}
