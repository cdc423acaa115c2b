/* The nine steps, as steps. */
#include "client/client_private.h"

#include <stdlib.h>
#include <string.h>

void
ath_handshake_step_done(struct ath_handshake_step *step)
{
    size_t i;

    for (i = 0; i < step->send_count; i++)
        ath_string_free(step->send[i]);
    free(step->send);
    ath_string_free(step->handshake);
    ath_string_free(step->confirm);
    ath_string_free(step->result);
    memset(step, 0, sizeof(*step));
}

static ath_err
fail_nomem(struct ath_client *client)
{
    return client_fail(client, ATH_ERR_NOMEM, NULL, NULL);
}

/* `send` is a message, or an array of messages where there are several. */
static ath_err
take_send(const struct json *send, struct ath_handshake_step *step)
{
    const struct json *message = json_is_array(send) ? json_first(send) : send;
    size_t count = json_is_array(send) ? json_count(send) : 1;

    if (message == NULL)
        return ATH_OK;
    if ((step->send = calloc(count, sizeof(*step->send))) == NULL)
        return ATH_ERR_NOMEM;
    while (message != NULL && step->send_count < count) {
        char *text = client_json_text(message);

        if (text == NULL)
            return ATH_ERR_NOMEM;
        step->send[step->send_count++] = text;
        message = json_is_array(send) ? json_next(message) : NULL;
    }
    return ATH_OK;
}

/* A member as JSON text; absent is fine. */
static ath_err
take_member(struct ath_client *client, const struct json *answer, const char *name, char **ret_text)
{
    const struct json *member = json_get(answer, name);

    if (member == NULL || json_is_null(member))
        return ATH_OK;
    if ((*ret_text = client_json_text(member)) == NULL)
        return fail_nomem(client);
    return ATH_OK;
}

static ath_err
take_state(struct ath_client *client, const struct json *answer,
           enum ath_handshake_state *ret_state)
{
    static const char *const names[] = {"waiting", "confirm", "done", "failed"};
    const char *state = json_get_string(answer, "state");
    unsigned i;

    if (state == NULL)
        return ATH_OK; /* start and accept do not say it: waiting */
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(state, names[i]) == 0) {
            *ret_state = (enum ath_handshake_state)i;
            return ATH_OK;
        }
    }
    return client_fail(client, ATH_ERR_INTERNAL, NULL, "athd's answer has an unknown state");
}

/* Fills an empty step, whose handshake may be set. */
static ath_err
fill_step(struct ath_client *client, const struct json *answer, struct ath_handshake_step *step)
{
    int64_t wait_s;
    ath_err err;

    if ((err = take_state(client, answer, &step->state)) != ATH_OK)
        return err;
    if (json_get_int(answer, "wait", &wait_s) && wait_s > 0 && wait_s <= 3600)
        step->wait_s = (int)wait_s;
    if (step->handshake == NULL && json_get_string(answer, "handshake") != NULL &&
        (err = client_take_string(client, answer, "handshake", &step->handshake)) != ATH_OK)
        return err;
    if (take_send(json_get(answer, "send"), step) != ATH_OK)
        return fail_nomem(client);
    if ((err = take_member(client, answer, "confirm", &step->confirm)) != ATH_OK)
        return err;
    return take_member(client, answer, "result", &step->result);
}

/* What a refusal still wants sent to the other side stands in the error's data. That memory is
 * short leaves the refusal as it is: it matters more than its farewell. */
static void
fill_step_of_refusal(const struct ath_client *client, struct ath_handshake_step *step)
{
    const struct json_limits limits = {
        .max_len = CONNECTION_LINE_MAX, .max_depth = 64, .max_members = 65536};
    struct json *data = NULL;

    step->state = ATH_HANDSHAKE_FAILED;
    if (client->data == NULL ||
        json_parse(ath_slice_of_string(client->data), &limits, NULL, &data) != ATH_OK)
        return;
    (void)!take_send(json_get(data, "send"), step);
    json_free(data);
}

/* Calls with params (which it ends); `handshake` (taken) is the one the step goes on with. */
static ath_err
step_call(struct ath_client *client, const char *method, struct json_maker *params, char *handshake,
          struct ath_handshake_step *step)
{
    struct json *answer = NULL;
    ath_err err = client_call(client, method, params, &answer);

    ath_handshake_step_done(step);
    step->handshake = handshake;
    if (err == ATH_OK)
        err = fill_step(client, answer, step);
    else
        fill_step_of_refusal(client, step);
    json_free(answer);
    return err;
}

/* A message goes to athd as the text it came as: the profile's limits hold for its
 * bytes. */
static void
put_message(struct json_maker *params, const char *message)
{
    json_put_string(params, "message", message);
}

static void
put_scopes(struct json_maker *params, const struct ath_handshake_request *request)
{
    struct json_maker scopes;
    size_t i;

    json_array_begin(&scopes);
    for (i = 0; i < request->scope_count; i++)
        json_put_string(&scopes, NULL, request->scopes[i]);
    json_put_maker(params, "scopes", &scopes);
}

ath_err
ath_handshake_start(struct ath_client *client, const struct ath_handshake_request *request,
                    struct ath_handshake_step *step)
{
    struct json_maker params, server;

    json_object_begin(&server);
    json_put_string(&server, "did", request->server_did);
    json_put_string(&server, "origin", request->server_origin);
    json_object_begin(&params);
    json_put_string(&params, "key", request->key);
    put_scopes(&params, request);
    json_put_maker(&params, "server", &server);
    json_put_string(&params, "credential", request->credential);
    json_put_string(&params, "user_key", request->user_key);
    json_put_string(&params, "context", request->context);
    json_put_string(&params, "trace", request->traceparent);
    if (request->ttl_s != 0)
        json_put_int(&params, "ttl", request->ttl_s);
    return step_call(client, "handshake.start", &params, NULL, step);
}

ath_err
ath_handshake_accept(struct ath_client *client, const char *service, const char *message,
                     const char *source, struct ath_handshake_step *step)
{
    struct json_maker params;

    json_object_begin(&params);
    json_put_string(&params, "service", service);
    put_message(&params, message);
    json_put_string(&params, "source", source);
    return step_call(client, "handshake.accept", &params, NULL, step);
}

ath_err
ath_handshake_receive(struct ath_client *client, const char *message,
                      struct ath_handshake_step *step)
{
    struct json_maker params;
    char *handshake = ath_strdup(step->handshake);

    json_object_begin(&params);
    json_put_string(&params, "handshake", step->handshake);
    put_message(&params, message);
    return step_call(client, "handshake.receive", &params, handshake, step);
}

ath_err
ath_handshake_abort(struct ath_client *client, const char *handshake)
{
    struct json_maker params;

    json_object_begin(&params);
    json_put_string(&params, "handshake", handshake);
    return client_call(client, "handshake.abort", &params, NULL);
}

ath_err
ath_confirmation_answer(struct ath_client *client, const char *key, const char *message,
                        const char *server_did, char **ret_send)
{
    struct json_maker params;
    struct json *answer = NULL;
    ath_err err;

    json_object_begin(&params);
    json_put_string(&params, "key", key);
    put_message(&params, message);
    json_put_string(&params, "server", server_did);
    if ((err = client_call(client, "confirmation.answer", &params, &answer)) != ATH_OK)
        return err;
    if (!json_is_object(json_get(answer, "send")))
        err = client_fail(client, ATH_ERR_INTERNAL, NULL, "athd's answer has no message to send");
    else if ((*ret_send = client_json_text(json_get(answer, "send"))) == NULL)
        err = fail_nomem(client);
    json_free(answer);
    return err;
}
