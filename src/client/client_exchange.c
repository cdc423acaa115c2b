/* Calls out, answers and events in. */
#include "client/client_private.h"

#include "base/clock.h"

#define EVENTS_KEPT_MAX 256u
#define NOT_JSON_RPC "athd sent something that is not JSON-RPC"

/* An answer may be longer than a call may be: a list of everything. */
static const struct json_limits answer_limits = {.max_len = CONNECTION_LINE_MAX,
                                                 .max_depth = 64,
                                                 .max_members = 65536,
                                                 .numbers = JSON_INTEGERS};

void
client_disconnect(struct ath_client *client)
{
    connection_close(&client->connection);
    kept_drop(&client->answers);
}

ath_err
client_fail_transport(struct ath_client *client, ath_err err,
                      const struct connection_failure *failure)
{
    client_disconnect(client);
    if (err == ATH_ERR_UNREACHABLE)
        return client_fail(client, err, failure->cause, failure->text);
    return client_fail(client, err, NULL, NULL);
}

/* ---- out and in ---- */

uint64_t
client_deadline(const struct ath_client *client)
{
    if (client->timeout_ms < 0)
        return CONNECTION_FOREVER;
    return clock_monotonic_ms() + (uint64_t)client->timeout_ms;
}

ath_err
client_send(struct ath_client *client, const char *method, const struct json *params,
            uint64_t deadline_ms)
{
    struct connection_failure failure = {"failed", ""};
    struct ath_buf line = {.max = CONNECTION_LINE_MAX};
    ath_err err;

    rpc_put_request(&line, client->last_id + 1, method, params);
    ath_buf_put_byte(&line, '\n');
    if ((err = line.err) != ATH_OK) {
        err = client_fail(client, err, NULL, NULL);
        goto out;
    }
    client->last_id++;
    err = connection_write(&client->connection, ath_buf_slice(&line), deadline_ms, &failure);
    if (err != ATH_OK)
        err = client_fail_transport(client, err, &failure);
out:
    ath_buf_done(&line);
    return err;
}

static ath_err
parse_line(struct ath_slice line, struct json **ret_message)
{
    ath_err err = json_parse(line, &answer_limits, NULL, ret_message);

    return err == ATH_OK || err == ATH_ERR_NOMEM ? err : ATH_ERR_UNREACHABLE;
}

/* One message: an answer, or an event. */
static ath_err
read_message(struct ath_client *client, uint64_t deadline_ms, struct json **ret_message)
{
    struct connection_failure failure = {"failed", NOT_JSON_RPC};
    struct ath_slice line = {0};
    ath_err err;

    do {
        err = connection_read(&client->connection, deadline_ms, &line, &failure);
    } while (err == ATH_OK && line.len == 0);
    if (err == ATH_OK)
        err = parse_line(line, ret_message);
    return err == ATH_OK ? ATH_OK : client_fail_transport(client, err, &failure);
}

/* An error that belongs to no call (a line that athd could not read) can only be about the last
 * one, so it is taken by whoever waits. */
static bool
is_wanted(const struct json *message, const struct wanted *wanted)
{
    int64_t id;

    if (rpc_is_call(message) || wanted->event)
        return rpc_is_call(message) && wanted->event;
    return wanted->id == 0 || !json_get_int(message, "id", &id) || id == wanted->id;
}

/* Takes message. The oldest event makes room: who does not ask for them must not pay for them. */
static ath_err
keep_for_later(struct ath_client *client, struct json *message)
{
    bool is_event = rpc_is_call(message);

    if (is_event && client->events.count == EVENTS_KEPT_MAX)
        json_free(kept_take(&client->events));
    if (kept_add(is_event ? &client->events : &client->answers, message) != ATH_OK)
        return client_fail(client, ATH_ERR_NOMEM, NULL, NULL);
    return ATH_OK;
}

ath_err
client_next_message(struct ath_client *client, const struct wanted *wanted, uint64_t deadline_ms,
                    struct json **ret_message)
{
    struct json *message = NULL;
    ath_err err;

    if (wanted->event)
        message = kept_take(&client->events);
    else if (wanted->id == 0)
        message = kept_take(&client->answers);
    while (message == NULL) {
        if ((err = read_message(client, deadline_ms, &message)) != ATH_OK)
            return err;
        if (is_wanted(message, wanted))
            break;
        if ((err = keep_for_later(client, message)) != ATH_OK)
            return err;
        message = NULL;
    }
    *ret_message = message;
    return ATH_OK;
}

/* Keeps all that was read. */
static ath_err
keep_what_was_read(struct ath_client *client)
{
    struct connection_failure failure = {"failed", NOT_JSON_RPC};
    struct ath_slice line = {0};
    struct json *message = NULL;
    ath_err err = ATH_OK;

    while (err == ATH_OK && connection_next_line(&client->connection, &line)) {
        if (line.len == 0)
            continue;
        if ((err = parse_line(line, &message)) != ATH_OK)
            return client_fail_transport(client, err, &failure);
        err = keep_for_later(client, message);
    }
    return err;
}

ath_err
client_take_in(struct ath_client *client)
{
    struct connection_failure failure = {"failed", ""};
    ath_err err = keep_what_was_read(client);

    if (err != ATH_OK)
        return err;
    if ((err = connection_fill(&client->connection, &failure)) != ATH_OK)
        return client_fail_transport(client, err, &failure);
    return keep_what_was_read(client);
}

ath_err
client_open_answer(struct ath_client *client, struct json *message, int64_t *ret_id,
                   struct json **ret_result)
{
    struct connection_failure failure = {"failed", NOT_JSON_RPC};
    struct rpc_answer answer = {0};
    ath_err err = rpc_answer_decode(message, &answer);

    if (err != ATH_OK) {
        err = client_fail_transport(client, err == ATH_ERR_NOMEM ? err : ATH_ERR_UNREACHABLE,
                                    &failure);
        goto out;
    }
    *ret_id = answer.has_id ? answer.id : 0;
    if ((err = answer.err) != ATH_OK) {
        client_set_error(client, err, answer.code, answer.message, answer.data);
        goto out;
    }
    *ret_result = answer.result; /* ownership moves to the caller */
    answer.result = NULL;
out:
    rpc_answer_done(&answer);
    return err;
}

ath_err
client_call_tree(struct ath_client *client, const char *method, const struct json *params,
                 struct json **ret_result)
{
    uint64_t deadline_ms = client_deadline(client);
    struct wanted wanted = {.event = false};
    struct json *message = NULL, *result = NULL;
    int64_t id;
    ath_err err;

    client_forget_error(client);
    if ((err = client_send(client, method, params, deadline_ms)) != ATH_OK)
        return err;
    wanted.id = client->last_id;
    if ((err = client_next_message(client, &wanted, deadline_ms, &message)) != ATH_OK)
        return err;
    if ((err = client_open_answer(client, message, &id, &result)) != ATH_OK)
        return err;
    if (ret_result != NULL)
        *ret_result = result;
    else
        json_free(result);
    return ATH_OK;
}

ath_err
client_call(struct ath_client *client, const char *method, struct json_maker *params,
            struct json **ret_result)
{
    struct json *tree = NULL;
    ath_err err = json_maker_end(params, &tree);

    if (err != ATH_OK)
        return client_fail(client, err, NULL, NULL);
    err = client_call_tree(client, method, tree, ret_result);
    json_free(tree);
    return err;
}
