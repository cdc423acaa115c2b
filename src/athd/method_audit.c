/* audit.query, audit.checkpoint, audit.proof, audit.consistency. Files are read in libuv's thread
 * pool. */
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_checkpoint.h"
#include "athd/audit_prove.h"
#include "athd/audit_query.h"
#include "athd/dispatch.h"
#include "athd/method_support.h"
#include "protocol/audit_line.h"

#define LIMIT_DEFAULT 100
#define TRACE_ID_AT 3 /* in a traceparent */
#define TRACE_ID_LEN 32
#define READINGS_MAX 2 /* of libuv's four threads */
#define BEGUN_MAX 8u   /* 130 KiB and an open file each */

/* Reading under way: the request may end before the thread does. */
struct reading {
    TAILQ_ENTRY(reading) entry;
    struct request *request; /* NULL: it was cancelled */
    struct athd *athd;
    struct tenant *tenant; /* borrowed: lives as long as athd */
    uv_work_t work;
    struct audit_settling settling; /* before it lines up */
    bool is_running, is_begun;
    ath_err (*begin)(struct reading *reading);      /* before the first turn; NULL: nothing */
    void (*read)(struct reading *reading);          /* in the thread */
    bool (*is_done)(const struct reading *reading); /* NULL: one step is enough */
    void (*finish)(struct reading *reading, struct json_maker *result); /* puts the result */
    struct audit_span span;
    struct json *params; /* the request's, which may be gone */
    struct audit_filter filter;
    int64_t after, limit;
    struct audit_query query;
    struct audit_inclusion inclusion;
    struct ath_buf path;
    char trace_id[TRACE_ID_LEN + 1];
    uint64_t index, size, from, to;
    ath_err err;
    struct why why;
};

/* ---- a thread's work for a request ---- */

static void
reading_free(struct reading *reading)
{
    if (reading->is_begun) {
        reading->athd->readings.begun--;
        reading->tenant->readings.begun--;
    }
    if (reading->query.cursor.dir != NULL)
        audit_query_done(&reading->query);
    audit_inclusion_done(&reading->inclusion);
    ath_buf_done(&reading->path);
    json_free(reading->params);
    free(reading);
}

static void
on_cancel(struct request *request, ath_err err)
{
    struct reading *reading = request->stage;
    struct why why = {{0}};

    if (reading->is_running) {
        reading->request = NULL; /* the thread ends its step, and then there is nobody */
    } else if (reading->settling.done != NULL) {
        audit_log_settle_end(&reading->settling);
        reading_free(reading);
    } else {
        TAILQ_REMOVE(&reading->athd->readings.waiting, reading, entry);
        reading_free(reading);
    }
    if (err == ATH_ERR_HSM_UNAVAILABLE) /* its time is over */
        err = why_set(&why, ATH_ERR_AUDIT_UNAVAILABLE,
                      "many read the audit log at once; ask again, or read the files");
    request_fail(request, err, &why);
}

/* What the caller asked for is not there, or our files are not as they should be. */
static ath_err
error_of(ath_err err)
{
    if (err == ATH_ERR_NOT_FOUND)
        return ATH_ERR_INVALID_PARAMS;
    return err == ATH_ERR_IO || err == ATH_ERR_PARSE || err == ATH_ERR_INVALID_EVIDENCE
               ? ATH_ERR_AUDIT_UNAVAILABLE
               : err;
}

static void
finish(struct reading *reading)
{
    struct request *request = reading->request;
    struct json_maker result;

    if (request != NULL) {
        request->cancel = NULL;
        if (reading->err != ATH_OK) {
            request_fail(request, error_of(reading->err), &reading->why);
        } else {
            json_object_begin(&result);
            reading->finish(reading, &result);
            request_finish_maker(request, &result);
        }
    }
    reading_free(reading);
}

static void
on_work(uv_work_t *work)
{
    struct reading *reading = work->data;

    reading->read(reading);
}

static void take_turns(struct athd *athd);

/* Whoever has read a step waits again behind the others. */
static void
on_worked(uv_work_t *work, int status)
{
    struct reading *reading = work->data;
    struct athd *athd = reading->athd;

    athd->readings.running--;
    if (status != 0 && reading->err == ATH_OK)
        reading->err = ATH_ERR_IO;
    if (reading->err == ATH_OK && reading->request != NULL && reading->is_done != NULL &&
        !reading->is_done(reading)) {
        reading->is_running = false;
        TAILQ_INSERT_TAIL(&athd->readings.waiting, reading, entry);
    } else {
        finish(reading);
    }
    take_turns(athd);
}

/* Those that hold files and memory are few, and no tenant's are more than others have left. */
static bool
may_go_on(const struct athd *athd, const struct reading *reading)
{
    return reading->is_begun || reading->tenant->readings.begun < BEGUN_MAX - athd->readings.begun;
}

/* Whose turn is next: of the tenant that has waited longest, however many of others' wait. */
static struct reading *
next_of(const struct athd *athd)
{
    struct reading *reading, *next = NULL;

    TAILQ_FOREACH (reading, &athd->readings.waiting, entry)
        if (may_go_on(athd, reading) &&
            (next == NULL || reading->tenant->readings.turn < next->tenant->readings.turn))
            next = reading;
    return next;
}

static ath_err
begin_turn(struct reading *reading)
{
    if (reading->is_begun)
        return ATH_OK;
    reading->is_begun = true;
    reading->athd->readings.begun++;
    reading->tenant->readings.begun++;
    return reading->begin == NULL ? ATH_OK : reading->begin(reading);
}

/* Few threads read at a time: the others are for the records that signatures wait for. */
static void
take_turns(struct athd *athd)
{
    struct reading *reading;

    while (athd->readings.running < READINGS_MAX && (reading = next_of(athd)) != NULL) {
        TAILQ_REMOVE(&athd->readings.waiting, reading, entry);
        reading->tenant->readings.turn = ++athd->readings.turns;
        if ((reading->err = begin_turn(reading)) != ATH_OK) {
            finish(reading);
            continue;
        }
        reading->is_running = true;
        athd->readings.running++;
        reading->work.data = reading;
        uv_queue_work(athd->loop, &reading->work, on_work, on_worked);
    }
}

static struct reading *
reading_new(struct request *request)
{
    struct reading *reading = calloc(1, sizeof(*reading));

    if (reading == NULL || (reading->params = json_clone(request->params)) == NULL) {
        free(reading);
        request_fail(request, ATH_ERR_NOMEM, NULL);
        return NULL;
    }
    reading->request = request;
    reading->athd = request->athd;
    reading->tenant = request->tenant;
    reading->span = audit_log_span(request->athd->audit);
    return reading;
}

static void
start(struct reading *reading)
{
    struct athd *athd = reading->athd;

    reading->request->stage = reading;
    reading->request->cancel = on_cancel;
    TAILQ_INSERT_TAIL(&athd->readings.waiting, reading, entry);
    take_turns(athd);
}

static void
on_settled(void *ctx)
{
    struct reading *reading = ctx;

    reading->span = audit_log_span(reading->athd->audit);
    start(reading);
}

/* All that was answered before it was asked for is in what it reads. */
static void
start_settled(struct reading *reading)
{
    reading->request->stage = reading;
    reading->request->cancel = on_cancel;
    if (!audit_log_settle(reading->athd->audit, &reading->settling, on_settled, reading))
        start(reading);
}

static const char *
dir_of(const struct reading *reading)
{
    return audit_log_dir(reading->athd->audit);
}

/* ---- audit.query ---- */

static void
read_query(struct reading *reading)
{
    reading->err = audit_query_step(&reading->query, &reading->why);
}

static bool
query_is_done(const struct reading *reading)
{
    return reading->query.is_done;
}

static void
put_records(struct reading *reading, struct json_maker *result)
{
    json_put_maker(result, "records", &reading->query.records);
    if (reading->query.is_partial)
        json_put_int(result, "next", (int64_t)reading->query.next);
}

/* What a query holds, it holds from its first turn on: a thousand that wait take little. */
static ath_err
begin_query(struct reading *reading)
{
    return audit_query_init(&reading->query, dir_of(reading), &reading->span, &reading->filter,
                            (uint64_t)(reading->after + 1), reading->limit);
}

void
method_audit_query(struct request *request)
{
    struct reading *reading = reading_new(request);
    struct audit_filter filter = {0};

    if (reading == NULL)
        return;
    reading->after = -1;
    reading->limit = LIMIT_DEFAULT;
    filter.has_owner = request->athd->config->is_system;
    filter.owner = request->tenant->uid;
    filter.event = json_get_string(reading->params, "event");
    filter.key = json_get_string(reading->params, "key");
    filter.handshake = json_get_string(reading->params, "handshake");
    filter.caller = json_get_string(reading->params, "caller");
    filter.has_since = json_get_int(reading->params, "since", &filter.since);
    filter.has_until = json_get_int(reading->params, "until", &filter.until);
    (void)json_get_int(reading->params, "after", &reading->after);
    (void)json_get_int(reading->params, "limit", &reading->limit);
    if (json_get_string(reading->params, "trace") != NULL) {
        memcpy(reading->trace_id, json_get_string(reading->params, "trace") + TRACE_ID_AT,
               TRACE_ID_LEN); /* it was checked */
        filter.trace_id = reading->trace_id;
    }
    reading->filter = filter;
    reading->begin = begin_query;
    reading->read = read_query;
    reading->is_done = query_is_done;
    reading->finish = put_records;
    start_settled(reading);
}

/* ---- audit.proof, audit.consistency ---- */

static void
put_path(struct json_maker *result, struct ath_slice path)
{
    struct json_maker hashes;
    size_t i;

    json_array_begin(&hashes);
    for (i = 0; i + SHA256_LEN <= path.len; i += SHA256_LEN)
        json_put_base64url(&hashes, NULL, ath_slice_of(path.data + i, SHA256_LEN));
    json_put_maker(result, "path", &hashes);
}

static void
read_proof(struct reading *reading)
{
    reading->err = audit_prove_inclusion(dir_of(reading), &reading->span, reading->index,
                                         reading->size, &reading->why, &reading->inclusion);
}

/* The hash of another uid's record proves where it stands, and tells nothing of it. */
static bool
may_see(const struct reading *reading, struct ath_slice line)
{
    struct json *record = NULL;
    bool is_visible;

    if (!reading->athd->config->is_system)
        return true;
    is_visible = json_parse(line, &audit_line_limits, NULL, &record) == ATH_OK &&
                 audit_query_is_visible(record, reading->request->tenant->uid);
    json_free(record);
    return is_visible;
}

static void
put_proof(struct reading *reading, struct json_maker *result)
{
    const struct audit_inclusion *inclusion = &reading->inclusion;

    json_put_int(result, "index", (int64_t)reading->index);
    json_put_int(result, "size", (int64_t)reading->size);
    if (inclusion->record.len > 0 && may_see(reading, ath_buf_slice(&inclusion->record)))
        json_put_slice(result, "record", ath_buf_slice(&inclusion->record));
    json_put_base64url(result, "leaf", ath_slice_of(inclusion->leaf, SHA256_LEN));
    put_path(result, ath_buf_slice(&inclusion->path));
    json_put_slice(result, "checkpoint", ath_buf_slice(&inclusion->note));
}

void
method_audit_proof(struct request *request)
{
    const struct checkpoint *newest = audit_checkpoints_newest(request->athd->checkpoints);
    struct reading *reading = reading_new(request);
    int64_t index = 0, size = newest == NULL ? 0 : (int64_t)newest->size;

    if (reading == NULL)
        return;
    (void)json_get_int(reading->params, "index", &index);
    (void)json_get_int(reading->params, "size", &size);
    reading->index = (uint64_t)index;
    reading->size = (uint64_t)size;
    reading->read = read_proof;
    reading->finish = put_proof;
    start(reading);
}

static void
read_consistency(struct reading *reading)
{
    reading->path.max = AUDIT_PATH_MAX;
    reading->err = audit_prove_consistency(dir_of(reading), reading->from, reading->to,
                                           &reading->why, &reading->path);
}

static void
put_consistency(struct reading *reading, struct json_maker *result)
{
    json_put_int(result, "from", (int64_t)reading->from);
    json_put_int(result, "to", (int64_t)reading->to);
    put_path(result, ath_buf_slice(&reading->path));
}

void
method_audit_consistency(struct request *request)
{
    struct reading *reading = reading_new(request);
    int64_t from = 0, to = 0;

    if (reading == NULL)
        return;
    (void)json_get_int(reading->params, "from", &from);
    (void)json_get_int(reading->params, "to", &to);
    reading->from = (uint64_t)from;
    reading->to = (uint64_t)to;
    reading->read = read_consistency;
    reading->finish = put_consistency;
    start(reading);
}

/* ---- audit.checkpoint ---- */

struct wanting {
    struct request *request;
    struct audit_checkpoint_wait wait;
};

static void
on_checkpoint(void *ctx, ath_err err, struct ath_slice note, const struct why *why)
{
    struct wanting *wanting = ctx;
    struct request *request = wanting->request;
    struct json_maker result;

    request->cancel = NULL;
    free(wanting);
    if (err != ATH_OK) {
        request_fail(request, error_of(err), why);
        return;
    }
    json_object_begin(&result);
    json_put_slice(&result, "checkpoint", note);
    request_finish_maker(request, &result);
}

/* Its time is over: the hardware was not there all the while. */
static void
on_checkpoint_cancel(struct request *request, ath_err err)
{
    struct wanting *wanting = request->stage;
    struct audit_checkpoints *checkpoints = request->athd->checkpoints;
    const char *failure = audit_checkpoints_failure(checkpoints);
    struct why why = {{0}};

    if (failure != NULL)
        why_set(&why, err, "no checkpoint: %s", failure);
    audit_checkpoints_forget(checkpoints, &wanting->wait);
    free(wanting);
    request_fail(request, err, &why);
}

void
method_audit_checkpoint(struct request *request)
{
    struct wanting *wanting = calloc(1, sizeof(*wanting));
    uint64_t size = audit_log_size(request->athd->audit);

    if (wanting == NULL) {
        request_fail(request, ATH_ERR_NOMEM, NULL);
        return;
    }
    wanting->request = request;
    wanting->wait = (struct audit_checkpoint_wait){
        .size = size == 0 ? 1 : size, .done = on_checkpoint, .ctx = wanting};
    request->stage = wanting;
    request->cancel = on_checkpoint_cancel;
    audit_checkpoints_want(request->athd->checkpoints, &wanting->wait);
}
