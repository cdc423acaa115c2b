/* A caller's bytes as athd reads them: lines, JSON, calls, params; and the same lines as a client
 * reads answers. Every call gets an answer that a client can read. */
#include <stdlib.h>

#include "rpc/frame.h"
#include "rpc/jsonrpc.h"
#include "rpc/methods.h"
#include "rpc/rpc_limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
must(bool holds)
{
    if (!holds)
        abort();
}

static struct json *
parse(struct ath_slice line)
{
    struct json_limits limits = RPC_JSON_LIMITS;
    struct json *json = NULL;

    return json_parse(line, &limits, NULL, &json) == ATH_OK ? json : NULL;
}

/* What athd would say is one answer to a client. */
static void
check_answer(const struct rpc_call *call, ath_err err, const struct why *why)
{
    struct ath_buf line = {.max = SIZE_MAX};
    struct rpc_answer answer;

    if (err == ATH_OK)
        rpc_put_result(&line, call->id, call->params);
    else
        rpc_put_error(&line, call->id, err, why, call->params);
    must(line.err == ATH_OK);
    must(rpc_answer_decode(parse(ath_buf_slice(&line)), &answer) == ATH_OK);
    must((answer.err == ATH_OK) == (err == ATH_OK));
    rpc_answer_done(&answer);
    ath_buf_done(&line);
}

static void
check_call(struct json *taken)
{
    struct why why = {""};
    struct rpc_call call;
    ath_err err = rpc_call_decode(taken, &why, &call);
    const struct rpc_method *method = NULL;

    must(err != ATH_OK || (call.method != NULL && json_is_object(call.params)));
    must(!call.is_notification || call.id == NULL);
    if (err == ATH_OK && (method = method_find(call.method)) == NULL)
        err = ATH_ERR_METHOD_NOT_FOUND;
    if (err == ATH_OK)
        err = method_check_params(method, call.params, &why);
    check_answer(&call, err, &why);
    rpc_call_done(&call);
}

static void
check_line(struct ath_slice line)
{
    struct rpc_answer answer;
    struct json *json = parse(line);

    if (json == NULL)
        return;
    if (rpc_answer_decode(json_clone(json), &answer) == ATH_OK) {
        must((answer.err == ATH_OK) == (answer.result != NULL));
        rpc_answer_done(&answer);
    }
    check_call(json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct frame_reader reader = {0};
    struct ath_slice line;
    size_t at, step = len > 0 ? (size_t)data[0] + 1 : 1;

    for (at = 0; at < len; at += step) {
        ath_err err;

        must(frame_reader_feed(
                 &reader, ath_slice_of(data + at, len - at < step ? len - at : step)) == ATH_OK);
        while ((err = frame_reader_next(&reader, &line)) == ATH_OK)
            check_line(line);
        if (err == ATH_ERR_LIMIT_EXCEEDED)
            break;
        must(err == ATH_ERR_NOT_FOUND);
    }
    frame_reader_done(&reader);
    return 0;
}
