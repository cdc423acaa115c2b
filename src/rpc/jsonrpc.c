#include "rpc/jsonrpc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/rpc_limits.h"

/* ---- calls ---- */

static bool
is_version_2(const struct json *message)
{
    const char *version = json_get_string(message, "jsonrpc");

    return version != NULL && strcmp(version, "2.0") == 0;
}

/* Moves a good id out of the message. */
static ath_err
take_id(struct json *message, struct why *why, struct rpc_call *call)
{
    const struct json *id = json_get(message, "id");
    const char *text = json_string(id);
    int64_t number;

    if (id == NULL)
        return ATH_OK;
    if (text != NULL ? strlen(text) > RPC_ID_MAX_LEN : !json_is_null(id) && !json_int(id, &number))
        return why_set(why, ATH_ERR_INVALID_REQUEST,
                       "id must be a string of at most %u bytes, a whole number or null",
                       RPC_ID_MAX_LEN);
    call->id = json_detach(message, "id");
    return ATH_OK;
}

static ath_err
take_params(struct json *message, struct why *why, struct rpc_call *call)
{
    struct json_maker none;

    if (json_get(message, "params") == NULL) {
        json_object_begin(&none);
        return json_maker_end(&none, &call->params);
    }
    if (!json_is_object(json_get(message, "params")))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "params must be an object: parameters go by their names");
    call->params = json_detach(message, "params");
    return ATH_OK;
}

static ath_err
decode_call(struct json *message, struct why *why, struct rpc_call *call)
{
    const char *method = json_get_string(message, "method");
    bool has_id = json_get(message, "id") != NULL;
    ath_err err;

    if (!json_is_object(message))
        return why_set(why, ATH_ERR_INVALID_REQUEST, "a request is a JSON object");
    if ((err = take_id(message, why, call)) != ATH_OK)
        return err;
    if (!is_version_2(message))
        return why_set(why, ATH_ERR_INVALID_REQUEST, "jsonrpc must be \"2.0\"");
    if (method == NULL)
        return why_set(why, ATH_ERR_INVALID_REQUEST, "method must be a string");
    call->is_notification = !has_id;
    if ((call->method = ath_strdup(method)) == NULL)
        return ATH_ERR_NOMEM;
    return take_params(message, why, call);
}

ath_err
rpc_call_decode(struct json *taken, struct why *why, struct rpc_call *ret_call)
{
    ath_err err;

    *ret_call = (struct rpc_call){0};
    err = decode_call(taken, why, ret_call);
    json_free(taken);
    return err;
}

void
rpc_call_done(struct rpc_call *call)
{
    json_free(call->id);
    free(call->method);
    json_free(call->params);
    *call = (struct rpc_call){0};
}

/* ---- writing ---- */

static void
put_string(struct ath_buf *out, const char *text)
{
    struct json_maker maker;

    json_array_begin(&maker);
    json_put_string(&maker, NULL, text);
    if (maker.err != ATH_OK)
        out->err = out->err == ATH_OK ? maker.err : out->err;
    else
        json_write(json_first(maker.root), out);
    json_maker_done(&maker);
}

static void
put_id(struct ath_buf *out, const struct json *id)
{
    ath_buf_put_string(out, "{\"jsonrpc\":\"2.0\",\"id\":");
    if (id == NULL)
        ath_buf_put_string(out, "null");
    else
        json_write(id, out);
}

void
rpc_put_result(struct ath_buf *out, const struct json *id, const struct json *result)
{
    put_id(out, id);
    ath_buf_put_string(out, ",\"result\":");
    json_write(result, out);
    ath_buf_put_byte(out, '}');
}

static void
put_data(struct ath_buf *out, ath_err err, const struct json *data)
{
    const struct json *member;

    ath_buf_put_string(out, "{\"reason\":");
    put_string(out, ath_err_reason(err));
    for (member = json_first(data); member != NULL; member = json_next(member)) {
        if (json_name(member) == NULL || strcmp(json_name(member), "reason") == 0)
            continue;
        ath_buf_put_byte(out, ',');
        put_string(out, json_name(member));
        ath_buf_put_byte(out, ':');
        json_write(member, out);
    }
    ath_buf_put_byte(out, '}');
}

void
rpc_put_error(struct ath_buf *out, const struct json *id, ath_err err, const struct why *why,
              const struct json *data)
{
    put_id(out, id);
    ath_buf_printf(out, ",\"error\":{\"code\":%d,\"message\":", ath_err_code(err));
    put_string(out, why_text(why, err));
    ath_buf_put_string(out, ",\"data\":");
    put_data(out, err, data);
    ath_buf_put_string(out, "}}");
}

static void
put_call(struct ath_buf *out, const char *method, const struct json *params)
{
    ath_buf_put_string(out, "\"method\":");
    put_string(out, method);
    ath_buf_put_string(out, ",\"params\":");
    if (params == NULL)
        ath_buf_put_string(out, "{}");
    else
        json_write(params, out);
    ath_buf_put_byte(out, '}');
}

void
rpc_put_request(struct ath_buf *out, int64_t id, const char *method, const struct json *params)
{
    ath_buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%" PRId64 ",", id);
    put_call(out, method, params);
}

void
rpc_put_notification(struct ath_buf *out, const char *method, const struct json *params)
{
    ath_buf_put_string(out, "{\"jsonrpc\":\"2.0\",");
    put_call(out, method, params);
}

/* ---- answers ---- */

bool
rpc_is_call(const struct json *message)
{
    return json_get(message, "method") != NULL;
}

static ath_err
decode_error(struct json *error, struct rpc_answer *answer)
{
    const char *message = json_get_string(error, "message");
    int64_t code;

    if (!json_get_int(error, "code", &code) || code < INT32_MIN || code > INT32_MAX ||
        message == NULL)
        return ATH_ERR_INVALID_REQUEST;
    answer->code = (int)code;
    answer->data = json_detach(error, "data");
    answer->err = ath_err_from_wire(answer->code, json_get_string(answer->data, "reason"));
    if ((answer->message = ath_strdup(message)) == NULL)
        return ATH_ERR_NOMEM;
    return ATH_OK;
}

ath_err
rpc_answer_decode(struct json *taken, struct rpc_answer *ret_answer)
{
    struct rpc_answer answer = {0};
    struct json *error = json_get_mutable(taken, "error");
    ath_err err = ATH_ERR_INVALID_REQUEST;

    if (!is_version_2(taken) || rpc_is_call(taken))
        goto out;
    answer.has_id = json_get_int(taken, "id", &answer.id);
    answer.result = json_detach(taken, "result");
    if ((error == NULL) == (answer.result == NULL))
        goto out;
    err = error == NULL ? ATH_OK : decode_error(error, &answer);
    if (err != ATH_OK)
        goto out;
    *ret_answer = answer;
    answer = (struct rpc_answer){0};
out:
    rpc_answer_done(&answer);
    json_free(taken);
    return err;
}

void
rpc_answer_done(struct rpc_answer *answer)
{
    json_free(answer->result);
    free(answer->message);
    json_free(answer->data);
    *answer = (struct rpc_answer){0};
}
