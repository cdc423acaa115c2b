#include "athd/audit_query.h"

#include <stdio.h>
#include <string.h>

#include "athd/audit_line.h"

#define STEP_BYTES (1024u * 1024u)
#define SCAN_BYTES_MAX (256u * 1024u * 1024u) /* of one call: the next one goes on behind it */

static const struct json_limits line_limits = {AUDIT_LINE_MAX, 32, 4096, JSON_INTEGERS};

/* ---- what a line must hold: cheap, and never too strict ---- */

/* The text as json_write puts it, after "name":. */
static ath_err
add_needle(struct audit_query *query, const char *name, const char *text)
{
    struct ath_buf *needle = &query->needles[query->needle_count];
    struct json *string;

    if (text == NULL)
        return ATH_OK;
    if ((string = json_string_new(ath_slice_of_string(text))) == NULL)
        return ATH_ERR_NOMEM;
    needle->max = 8192;
    if (name != NULL)
        ath_buf_printf(needle, "\"%s\":", name);
    json_write(string, needle);
    json_free(string);
    query->needle_count++;
    return needle->err;
}

static ath_err
add_needles(struct audit_query *query)
{
    const struct audit_filter *filter = &query->filter;
    ath_err err;

    if ((err = add_needle(query, "event", filter->event)) != ATH_OK ||
        (err = add_needle(query, NULL, filter->key)) != ATH_OK ||
        (err = add_needle(query, NULL, filter->handshake)) != ATH_OK)
        return err;
    if (filter->trace_id == NULL)
        return ATH_OK;
    query->needles[query->needle_count].max = 64;
    ath_buf_put_string(&query->needles[query->needle_count], filter->trace_id);
    return query->needles[query->needle_count++].err;
}

static bool
may_match(const struct audit_query *query, struct ath_slice line)
{
    size_t i;

    for (i = 0; i < query->needle_count; i++)
        if (memmem(line.data, line.len, query->needles[i].data, query->needles[i].len) == NULL)
            return false;
    return true;
}

/* ---- what a record must have ---- */

static bool
is_same(const struct json *object, const char *name, const char *text)
{
    const char *value = json_get_string(object, name);

    return value != NULL && strcmp(value, text) == 0;
}

/* A program by its path or, as the log is shown to people, by the name at its end. */
static bool
is_program(const struct json *caller, const char *text)
{
    const char *exe = json_get_string(caller, "exe");
    const char *slash = exe == NULL ? NULL : strrchr(exe, '/');

    return exe != NULL &&
           (strcmp(exe, text) == 0 || (slash != NULL && strcmp(slash + 1, text) == 0));
}

static bool
is_of_caller(const struct json *record, const char *text)
{
    const struct json *caller = json_get(record, "caller");
    char uid[24];
    int64_t number;

    if (json_get_int(caller, "uid", &number)) {
        snprintf(uid, sizeof(uid), "%lld", (long long)number);
        if (strcmp(uid, text) == 0)
            return true;
    }
    return is_program(caller, text) || is_same(caller, "unit", text) ||
           is_same(caller, "grant", text);
}

static bool
is_of_trace(const struct json *record, const char *trace_id)
{
    const char *trace = json_get_string(record, "trace");

    return trace != NULL && strlen(trace) > 35 && strncmp(trace + 3, trace_id, 32) == 0;
}

bool
audit_query_is_visible(const struct json *record, uid_t uid)
{
    int64_t owner;

    if (json_get(record, "owner") != NULL)
        return json_get_int(record, "owner", &owner) && owner == (int64_t)uid;
    return json_get(record, "caller") == NULL; /* who was turned away has no owner */
}

static bool
matches(const struct audit_query *query, const struct json *record)
{
    const struct audit_filter *filter = &query->filter;
    const char *time = json_get_string(record, "timestamp");

    return (!filter->has_owner || audit_query_is_visible(record, filter->owner)) &&
           (filter->event == NULL || is_same(record, "event", filter->event)) &&
           (filter->key == NULL || is_same(record, "key", filter->key) ||
            is_same(record, "jkt", filter->key)) &&
           (filter->handshake == NULL || is_same(record, "handshake", filter->handshake) ||
            is_same(record, "handshake_id", filter->handshake)) &&
           (filter->trace_id == NULL || is_of_trace(record, filter->trace_id)) &&
           (filter->caller == NULL || is_of_caller(record, filter->caller)) &&
           (!filter->has_since || (time != NULL && strcmp(time, query->since) >= 0)) &&
           (!filter->has_until || (time != NULL && strcmp(time, query->until) < 0));
}

/* ---- steps ---- */

static ath_err
look_at(struct audit_query *query, struct ath_slice line, struct why *why)
{
    struct json *record = NULL;
    ath_err err;

    if (!may_match(query, line))
        return ATH_OK;
    if ((err = json_parse(line, &line_limits, why, &record)) != ATH_OK)
        return err;
    if (!matches(query, record)) {
        json_free(record);
        return ATH_OK;
    }
    json_put_take(&query->records, NULL, record);
    query->bytes += line.len;
    query->count++;
    return query->records.err;
}

/* Goes to the first record; of those that were pruned the first that is left. */
static ath_err
begin(struct audit_query *query, struct why *why)
{
    uint64_t first = query->cursor.index, oldest;
    ath_err err;

    query->is_begun = true;
    if (first >= query->cursor.span.size)
        return ATH_ERR_NOT_FOUND;
    err = audit_cursor_first_index(query->cursor.dir, query->cursor.span.first, why, &oldest);
    if (err == ATH_OK && oldest > first)
        first = oldest;
    if (err == ATH_OK)
        err = audit_cursor_seek(&query->cursor, first, why);
    /* it is there, so its segment was removed under our hands: no answer is not an empty one */
    return err == ATH_ERR_NOT_FOUND ? ATH_ERR_IO : err;
}

static bool
is_full(const struct audit_query *query)
{
    return query->count >= query->limit || query->bytes >= AUDIT_QUERY_BYTES_MAX - AUDIT_LINE_MAX ||
           query->scanned >= SCAN_BYTES_MAX;
}

ath_err
audit_query_step(struct audit_query *query, struct why *why)
{
    struct ath_slice line;
    size_t done = 0;
    ath_err err = ATH_OK;

    if (!query->is_begun)
        err = begin(query, why);
    while (err == ATH_OK && done < STEP_BYTES && !is_full(query)) {
        if ((err = audit_cursor_next(&query->cursor, why, &line)) != ATH_OK)
            break;
        done += line.len + 1;
        query->scanned += line.len + 1;
        query->next = query->cursor.index - 1;
        err = look_at(query, line, why);
    }
    if (err == ATH_ERR_NOT_FOUND) { /* the end */
        query->is_done = true;
        return ATH_OK;
    }
    if (err == ATH_OK && is_full(query)) {
        query->is_done = true;
        query->is_partial = query->cursor.index < query->cursor.span.size;
    }
    return err;
}

ath_err
audit_query_init(struct audit_query *query, const char *dir, const struct audit_span *span,
                 const struct audit_filter *filter, uint64_t first, int64_t limit)
{
    ath_err err;

    *query = (struct audit_query){.filter = *filter, .limit = limit};
    json_array_begin(&query->records);
    audit_time_text(filter->since, query->since);
    audit_time_text(filter->until, query->until);
    if ((err = audit_cursor_init(&query->cursor, dir, span)) != ATH_OK)
        return err;
    query->cursor.index = first;
    return add_needles(query);
}

void
audit_query_done(struct audit_query *query)
{
    size_t i;

    for (i = 0; i < query->needle_count; i++)
        ath_buf_done(&query->needles[i]);
    json_maker_done(&query->records);
    audit_cursor_done(&query->cursor);
}
