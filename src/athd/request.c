#include "athd/request.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/batch.h"
#include "athd/connection.h"
#include "athd/lock.h"
#include "athd/policy_question.h"
#include "base/clock.h"

/* Stages have exact deadlines of their own and give the better errors; the table's timer is the net
 * under them. */
#define NET_MS 1000u
#define TIMER_STEP_MS 100u

/* ---- deadlines ---- */

static void start_timer(struct request_table *table, uint64_t at_ms);

static bool
is_due(const struct request *request, uint64_t now_ms)
{
    return request->cancel != NULL && now_ms >= NET_MS && now_ms - NET_MS >= request->deadline_ms;
}

static void
on_deadline(uv_timer_t *timer)
{
    struct request_table *table = timer->data;
    uint64_t now_ms = clock_monotonic_ms(), next_ms = UINT64_MAX;
    LIST_HEAD(, request) due = LIST_HEAD_INITIALIZER(due);
    struct request *request, *next;

    table->timer_at_ms = 0;
    for (request = LIST_FIRST(&table->all); request != NULL; request = next) {
        next = LIST_NEXT(request, of_athd);
        if (is_due(request, now_ms)) {
            LIST_REMOVE(request, of_athd);
            LIST_INSERT_HEAD(&due, request, of_athd);
        }
        if (request->deadline_ms < next_ms) /* one that is due, too: it may not be over at once */
            next_ms = request->deadline_ms;
    }
    /* a cancel may end others, too, which then leave this list by themselves */
    while ((request = LIST_FIRST(&due)) != NULL) {
        LIST_REMOVE(request, of_athd);
        LIST_INSERT_HEAD(&table->all, request, of_athd);
        request_cancel(request, ATH_ERR_HSM_UNAVAILABLE);
    }
    if (next_ms != UINT64_MAX)
        start_timer(table, next_ms);
}

static void
start_timer(struct request_table *table, uint64_t at_ms)
{
    uint64_t now_ms = clock_monotonic_ms(), wait_ms;

    if (table->timer_at_ms != 0 && table->timer_at_ms <= at_ms)
        return;
    wait_ms = at_ms + NET_MS > now_ms + TIMER_STEP_MS ? at_ms + NET_MS - now_ms : TIMER_STEP_MS;
    table->timer_at_ms = at_ms;
    uv_timer_start(&table->timer, on_deadline, wait_ms, 0);
}

ath_err
request_table_init(struct request_table *table, uv_loop_t *loop)
{
    *table = (struct request_table){0};
    LIST_INIT(&table->all);
    if (uv_timer_init(loop, &table->timer) != 0)
        return ATH_ERR_NOMEM;
    table->timer.data = table;
    return ATH_OK;
}

void
request_table_close(struct request_table *table)
{
    if (!uv_is_closing((uv_handle_t *)&table->timer))
        uv_close((uv_handle_t *)&table->timer, NULL);
}

void
request_table_cancel_all(struct request_table *table, ath_err err)
{
    struct request *request;

    do { /* from the start after each, as above */
        LIST_FOREACH (request, &table->all, of_athd)
            if (request->cancel != NULL)
                break;
        if (request != NULL)
            request_cancel(request, err);
    } while (request != NULL);
}

/* ---- life ---- */

ath_err
request_new(struct connection *connection, struct batch *batch, struct rpc_call *call,
            const struct rpc_method *method, struct request **ret_request)
{
    struct athd *athd = connection->athd;
    struct request *request = calloc(1, sizeof(*request));

    if (request == NULL)
        return ATH_ERR_NOMEM;
    request->athd = athd;
    request->tenant = connection->tenant;
    request->connection = connection;
    request->method = method;
    request->caller = caller_ref(connection->caller);
    request->id = call->id;
    request->params = call->params;
    call->id = call->params = NULL;
    request->is_notification = call->is_notification;
    request->trace = json_get_string(request->params, "trace");
    request->arrived_us = clock_monotonic_us();
    if ((request->batch = batch) != NULL)
        batch_ref(batch);
    LIST_INSERT_HEAD(&connection->requests, request, of_connection);
    request->is_of_connection = true;
    connection->in_flight++;
    request->tenant->requests++;
    LIST_INSERT_HEAD(&athd->requests.all, request, of_athd);
    athd->requests.count++;
    request->tenant->counters.requests++;
    request_set_deadline(request, clock_monotonic_ms() + REQUEST_DEADLINE_MS);
    *ret_request = request;
    return ATH_OK;
}

static void
request_free(struct request *request)
{
    struct connection *connection = request->connection;

    LIST_REMOVE(request, of_athd);
    request->athd->requests.count--;
    request->tenant->requests--;
    if (request->is_of_connection)
        LIST_REMOVE(request, of_connection);
    if (connection != NULL)
        connection->in_flight--;
    if (request->batch != NULL)
        batch_release(request->batch, connection);
    caller_free(request->caller);
    policy_kept_free(request->kept);
    json_free(request->denied);
    json_free(request->params);
    json_free(request->id);
    free(request);
    if (connection != NULL)
        connection_drain(connection);
}

void
request_set_deadline(struct request *request, uint64_t deadline_ms)
{
    request->deadline_ms = deadline_ms;
    start_timer(&request->athd->requests, deadline_ms);
}

void
request_cancel(struct request *request, ath_err err)
{
    void (*cancel)(struct request *, ath_err) = request->cancel;

    if (cancel == NULL)
        return;
    request->cancel = NULL;
    cancel(request, err);
}

/* ---- the answer ---- */

static bool
wants_answer(const struct request *request)
{
    return request->connection != NULL && !request->is_notification;
}

static void
send_answer(struct request *request, struct ath_buf *answer)
{
    if (request->batch != NULL)
        batch_put(request->batch, request->connection, ath_buf_slice(answer));
    else
        connection_send(request->connection, answer);
}

/* What only consent knew when it refused. */
static bool
is_of_limit(const struct request *request, ath_err err)
{
    if (request->limit == NULL)
        return false;
    return err == ATH_ERR_LIMIT_EXCEEDED || err == ATH_ERR_NO_PROMPTER ||
           err == ATH_ERR_POLICY_DENIED ||
           (err == ATH_ERR_RATE_LIMITED && request->retry_after_s > 0);
}

static struct json *
data_of_limit(const struct request *request)
{
    struct json_maker data;
    struct json *object = NULL;

    json_object_begin(&data);
    json_put_int(&data, "retry_after", request->retry_after_s);
    return json_maker_end(&data, &object) == ATH_OK ? object : NULL;
}

static void
fail_with(struct request *request, ath_err err, const struct why *why, const struct json *data)
{
    struct ath_buf answer = {.max = CONNECTION_ANSWER_MAX};
    struct json *made = NULL;
    struct why limit; /* says it better */

    if (is_of_limit(request, err)) {
        why_set(&limit, err, "%s", request->limit);
        why = &limit;
        if (err == ATH_ERR_RATE_LIMITED && data == NULL)
            data = made = data_of_limit(request);
    }
    if (err == ATH_ERR_HSM_UNAVAILABLE && request->athd->ending) {
        why_set(&limit, err, "athd is stopping; ask again when it runs");
        why = &limit;
    }
    request->tenant->counters.errors++;
    log_debug("event=refused method=%s caller=%ld/%lu err=%s", request->method->name,
              (long)request->caller->pid, (unsigned long)request->caller->uid, ath_err_reason(err));
    if (wants_answer(request)) {
        rpc_put_error(&answer, request->id, err, why, data);
        if (answer.err == ATH_OK)
            send_answer(request, &answer);
        else
            connection_close(request->connection); /* no memory even for the error */
    }
    json_free(made);
    ath_buf_done(&answer);
}

void
request_finish(struct request *request, struct json *taken_result)
{
    struct ath_buf answer = {.max = CONNECTION_ANSWER_MAX};
    struct why why = {{0}};
    ath_err err = lock_releases(request, &why);

    if (err != ATH_OK) {
        fail_with(request, err, &why, NULL);
    } else if (taken_result == NULL) {
        fail_with(request, ATH_ERR_NOMEM, NULL, NULL);
    } else if (wants_answer(request)) {
        rpc_put_result(&answer, request->id, taken_result);
        if (answer.err == ATH_OK)
            send_answer(request, &answer);
        else
            fail_with(request, answer.err, NULL, NULL);
    }
    ath_buf_done(&answer);
    json_free(taken_result);
    request_free(request);
}

void
request_finish_maker(struct request *request, struct json_maker *result)
{
    struct json *tree = NULL;

    if (json_maker_end(result, &tree) != ATH_OK)
        tree = NULL;
    request_finish(request, tree);
}

void
request_fail(struct request *request, ath_err err, const struct why *why)
{
    request_fail_data(request, err, why, NULL);
}

void
request_fail_data(struct request *request, ath_err err, const struct why *why,
                  struct json *taken_data)
{
    struct why locked = {{0}};

    if (lock_releases(request, &locked) != ATH_OK)
        fail_with(request, ATH_ERR_AGENT_LOCKED, &locked, NULL);
    else
        fail_with(request, err, why,
                  taken_data == NULL && err == ATH_ERR_POLICY_DENIED ? request->denied
                                                                     : taken_data);
    json_free(taken_data);
    request_free(request);
}
