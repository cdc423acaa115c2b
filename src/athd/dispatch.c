#include "athd/dispatch.h"

#include <string.h>

#include "athd/athd.h"
#include "athd/batch.h"
#include "athd/connection.h"
#include "athd/lock.h"
#include "athd/policy_consent.h"
#include "athd/policy_question.h"
#include "athd/policy_record.h"
#include "rpc/rpc_limits.h"

/* Once more behind a question: it may have been locked while a person thought. */
static void
carry_out(struct request *request)
{
    struct why why = {{0}};
    ath_err err = lock_admits(request, &why);

    if (err == ATH_OK)
        method_table[request->method->id](request);
    else
        request_fail(request, err, &why);
}

static bool
is_about_consent(const struct rpc_method *method)
{
    return strncmp(method->name, "consent.", strlen("consent.")) == 0;
}

static void
decide(struct request *request, const struct policy_question *question)
{
    struct policy_answer answer = policy_decide(request->tenant, request->caller, question, false);
    struct json *data = NULL;
    struct why why = {{0}};
    ath_err err;

    request->rule = answer.rule;
    if (answer.is_observed && !question->is_preliminary) /* else when it is put again */
        policy_record_denied(request, question, &answer);
    if (answer.verdict == POLICY_ALLOW || /* nobody is asked what will be refused */
        (answer.verdict == POLICY_ASK && lock_admits(request, &why) != ATH_OK)) {
        carry_out(request);
    } else if (answer.verdict == POLICY_ASK && is_about_consent(request->method)) {
        /* whoever answers questions would be asked whether it may */
        request_fail(request,
                     why_set(&why, ATH_ERR_POLICY_DENIED,
                             "rule \"%s\" wants the user's consent; consent.* needs a rule that "
                             "wants none",
                             answer.rule),
                     &why);
    } else if (answer.verdict == POLICY_ASK) {
        policy_consent_ask(request, question, &answer.memo, carry_out);
    } else {
        err = policy_refusal(request, question, &answer, &why, &data);
        request_fail_data(request, err, &why, data);
    }
}

void
dispatch(struct request *request)
{
    struct policy_asked asked;
    struct json *data = NULL;
    struct why why = {{0}};
    ath_err err;

    clock_watch_look(&request->athd->clock);
    if ((err = audit_budget_admits(request, &why, &data)) != ATH_OK) {
        request_fail_data(request, err, &why, data);
        return;
    }
    err = policy_question_of_call(request->tenant, request->caller, request->method,
                                  request->params, &asked);
    if (err == ATH_OK)
        decide(request, &asked.question);
    else
        request_fail(request, err, NULL);
    policy_asked_done(&asked);
}

/* ---- calls ---- */

static ath_err
check_call(const struct connection *connection, const struct rpc_call *call, struct why *why,
           const struct rpc_method **ret_method)
{
    const struct rpc_method *method = method_find(call->method);

    if (connection->in_flight >= RPC_IN_FLIGHT_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "%u requests of this connection are under way; wait for an answer",
                       connection->in_flight);
    if (connection->athd->config->is_system && connection->tenant->requests >= RPC_REQUESTS_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "%u requests of uid %lu are under way; wait for an answer",
                       RPC_REQUESTS_MAX, (unsigned long)connection->tenant->uid);
    if (method == NULL || method_table[method->id] == NULL)
        return why_set(why, ATH_ERR_METHOD_NOT_FOUND, "athd has no method \"%s\"", call->method);
    *ret_method = method;
    return method_check_params(method, call->params, why);
}

/* Takes one call, alone on its line or of a batch. */
static void
dispatch_call(struct connection *connection, struct batch *batch, struct json *taken)
{
    const struct rpc_method *method = NULL;
    struct request *request = NULL;
    struct rpc_call call;
    struct why why = {{0}};
    ath_err err;

    if ((err = rpc_call_decode(taken, &why, &call)) == ATH_OK &&
        (err = check_call(connection, &call, &why, &method)) == ATH_OK)
        err = request_new(connection, batch, &call, method, &request);
    if (err != ATH_OK && !call.is_notification)
        connection_answer_error(connection, batch, call.id, err, &why);
    rpc_call_done(&call);
    if (request != NULL)
        dispatch(request);
}

static size_t
dispatch_batch(struct connection *connection, struct json *array)
{
    size_t count = json_count(array);
    struct batch *batch;
    struct json *entry;
    struct why why;

    if (count == 0 || count > RPC_BATCH_MAX) {
        ath_err err = count == 0 ? ATH_ERR_INVALID_REQUEST : ATH_ERR_LIMIT_EXCEEDED;

        why_set(&why, err, "a batch has 1 to %u entries", RPC_BATCH_MAX);
        connection_answer_error(connection, NULL, NULL, err, &why);
        return 1;
    }
    if ((batch = batch_new()) == NULL) {
        connection_answer_error(connection, NULL, NULL, ATH_ERR_NOMEM, NULL);
        return 1;
    }
    while (!connection->is_closing && (entry = json_detach_first(array)) != NULL)
        dispatch_call(connection, batch, entry);
    batch_release(batch, connection->is_closing ? NULL : connection);
    return count;
}

/* A line that is not taken. Where only a number is none of ours (a fraction, 1e3, 2^53) it still
 * says which call it is, and whoever waits for that one is told. */
static void
answer_unreadable(struct connection *connection, struct ath_slice line, ath_err err,
                  const struct why *why)
{
    struct json_limits limits = RPC_JSON_LIMITS;
    struct json *message = NULL;
    struct rpc_call call = {0};
    struct why ignored;

    limits.numbers = JSON_DOUBLES;
    if (err == ATH_ERR_PARSE && json_parse(line, &limits, NULL, &message) == ATH_OK &&
        rpc_call_decode(message, &ignored, &call) == ATH_OK)
        err = ATH_ERR_INVALID_PARAMS;
    if (!call.is_notification)
        connection_answer_error(connection, NULL, call.id, err, why);
    rpc_call_done(&call);
}

size_t
dispatch_line(struct connection *connection, struct ath_slice line)
{
    struct json *message = NULL;
    size_t count = 1;
    struct why why = {{0}};
    ath_err err = json_parse(line, &RPC_JSON_LIMITS, &why, &message);

    if (err != ATH_OK) {
        answer_unreadable(connection, line, err, &why);
    } else if (json_is_array(message)) {
        count = dispatch_batch(connection, message);
        json_free(message);
    } else {
        dispatch_call(connection, NULL, message);
    }
    return count;
}
