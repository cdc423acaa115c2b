/*
 * JSON-RPC 2.0 messages (https://www.jsonrpc.org/specification) as docs/api.md narrows them: params
 * by name only, ids are strings, integers or null, errors carry data.reason.
 */
#ifndef RPC_JSONRPC_H
#define RPC_JSONRPC_H

#include "base/json.h"
#include "base/why.h"

/* ---- a call: request or notification ---- */

struct rpc_call {
    struct json *id;      /* string, integer or null; NULL: none, or none that can be read */
    bool is_notification; /* a good call without id: not answered, not even with an error */
    char *method;
    struct json *params; /* always an object: {} where the caller sent none */
};

/* Takes one message (an entry of a batch, or a line's only value). On failure too *ret_call holds
 * what could be read of id and is_notification, for the answer, and wants rpc_call_done.
 * ATH_ERR_INVALID_REQUEST, ATH_ERR_INVALID_PARAMS (params is no object), ATH_ERR_NOMEM. */
ath_err rpc_call_decode(struct json *taken, struct why *why,
                        struct rpc_call *ret_call) ATH_MUST_USE;
void rpc_call_done(struct rpc_call *call);

/* ---- writing: one object without line end; the caller checks out->err ---- */

/* id NULL is written as null. */
void rpc_put_result(struct ath_buf *out, const struct json *id, const struct json *result);

/* message is why_text(why, err). data: an object whose members go beside `reason`, or NULL. */
void rpc_put_error(struct ath_buf *out, const struct json *id, ath_err err, const struct why *why,
                   const struct json *data);

/* params NULL is written as {}. */
void rpc_put_request(struct ath_buf *out, int64_t id, const char *method,
                     const struct json *params);
void rpc_put_notification(struct ath_buf *out, const char *method, const struct json *params);

/* ---- an answer, for clients ---- */

struct rpc_answer {
    bool has_id;
    int64_t id;          /* ours are integers */
    struct json *result; /* of any type; NULL for an error */
    ath_err err;         /* by error.code and data.reason; ATH_OK for a result */
    int code;            /* error.code */
    char *message;       /* error.message */
    struct json *data;   /* error.data, NULL: none */
};

/* Is this a call (a notification, to a client) rather than an answer? */
bool rpc_is_call(const struct json *message);

/* Takes the message. ATH_ERR_INVALID_REQUEST: it is no JSON-RPC answer; ATH_ERR_NOMEM. */
ath_err rpc_answer_decode(struct json *taken, struct rpc_answer *ret_answer) ATH_MUST_USE;
void rpc_answer_done(struct rpc_answer *answer);

#endif
