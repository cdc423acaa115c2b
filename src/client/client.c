#include "client/client_private.h"

#include <stdlib.h>
#include <string.h>

static const struct json_limits params_limits = {
    .max_len = CONNECTION_LINE_MAX, .max_depth = 64, .max_members = 65536, .numbers = JSON_DOUBLES};

char *
client_json_text(const struct json *json)
{
    struct ath_buf text = {.max = CONNECTION_LINE_MAX};
    char *copy = NULL;

    json_write(json, &text);
    if (text.err == ATH_OK)
        copy = ath_slice_dup(ath_buf_slice(&text));
    ath_buf_done(&text);
    return copy;
}

struct ath_client *
ath_client_new(void)
{
    struct ath_client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    connection_init(&client->connection);
    client->timeout_ms = ATH_CLIENT_TIMEOUT_MS;
    return client;
}

void
ath_client_free(struct ath_client *client)
{
    if (client == NULL)
        return;
    client_disconnect(client);
    kept_drop(&client->events);
    client_forget_error(client);
    free(client);
}

ath_err
ath_client_connect(struct ath_client *client, const char *path)
{
    struct connection_failure failure = {"failed", ""};
    char *place = path == NULL ? connection_default_path() : ath_strdup(path);
    ath_err err;

    client_forget_error(client);
    client_disconnect(client);
    kept_drop(&client->events);
    if (place == NULL)
        return client_fail(client, ATH_ERR_NOMEM, NULL, NULL);
    if ((err = connection_open(&client->connection, place, &failure)) != ATH_OK)
        err = client_fail_transport(client, err, &failure);
    free(place);
    return err;
}

char *
ath_client_socket_path(void)
{
    return connection_default_path();
}

void
ath_client_set_timeout(struct ath_client *client, int timeout_ms)
{
    client->timeout_ms = timeout_ms;
}

int
ath_client_fd(const struct ath_client *client)
{
    return client->connection.fd;
}

/* NULL: {}. */
static ath_err
parse_params(struct ath_client *client, const char *text, struct json **ret_params)
{
    struct json *params = NULL;
    struct why why = {""};
    ath_err err;

    if (text == NULL)
        return ATH_OK;
    err = json_parse(ath_slice_of_string(text), &params_limits, &why, &params);
    if (err == ATH_OK && !json_is_object(params))
        err = why_set(&why, ATH_ERR_INVALID_PARAMS, "params must be a JSON object");
    if (err != ATH_OK) {
        json_free(params);
        return client_fail(client, err, NULL, why_text(&why, err));
    }
    *ret_params = params;
    return ATH_OK;
}

/* Takes result. ret_text may be NULL. */
static ath_err
give_result(struct ath_client *client, struct json *result, char **ret_text)
{
    char *text = ret_text == NULL ? NULL : client_json_text(result);

    json_free(result);
    if (ret_text == NULL)
        return ATH_OK;
    if (text == NULL)
        return client_fail(client, ATH_ERR_NOMEM, NULL, NULL);
    *ret_text = text;
    return ATH_OK;
}

ath_err
ath_client_call(struct ath_client *client, const char *method, const char *params,
                char **ret_result)
{
    struct json *tree = NULL, *result = NULL;
    ath_err err;

    client_forget_error(client);
    if ((err = parse_params(client, params, &tree)) != ATH_OK)
        return err;
    err = client_call_tree(client, method, tree, &result);
    json_free(tree);
    return err == ATH_OK ? give_result(client, result, ret_result) : err;
}

ath_err
ath_client_send(struct ath_client *client, const char *method, const char *params, int64_t *ret_id)
{
    struct json *tree = NULL;
    ath_err err;

    client_forget_error(client);
    if ((err = parse_params(client, params, &tree)) != ATH_OK)
        return err;
    err = client_send(client, method, tree, client_deadline(client));
    json_free(tree);
    if (err == ATH_OK)
        *ret_id = client->last_id;
    return err;
}

ath_err
ath_client_receive(struct ath_client *client, int64_t *ret_id, char **ret_result)
{
    static const struct wanted any_answer = {.event = false};
    struct json *message = NULL, *result = NULL;
    ath_err err;

    client_forget_error(client);
    *ret_id = 0;
    if ((err = client_next_message(client, &any_answer, client_deadline(client), &message)) !=
        ATH_OK)
        return err;
    if ((err = client_open_answer(client, message, ret_id, &result)) != ATH_OK)
        return err;
    return give_result(client, result, ret_result);
}

ath_err
ath_client_event(struct ath_client *client, char **ret_event)
{
    static const struct wanted any_event = {.event = true};
    struct json *message = NULL;
    char *text;
    ath_err err;

    client_forget_error(client);
    if ((err = client_next_message(client, &any_event, client_deadline(client), &message)) !=
        ATH_OK)
        return err;
    text = client_json_text(json_get(message, "params"));
    json_free(message);
    if (text == NULL)
        return client_fail(client, ATH_ERR_NOMEM, NULL, NULL);
    *ret_event = text;
    return ATH_OK;
}

ath_err
ath_client_take_in(struct ath_client *client)
{
    client_forget_error(client);
    return client_take_in(client);
}

size_t
ath_client_events_kept(const struct ath_client *client)
{
    return client->events.count;
}

void
ath_bytes_free(void *bytes, size_t len)
{
    if (bytes != NULL)
        explicit_bzero(bytes, len);
    free(bytes);
}

void
ath_string_free(char *text)
{
    ath_bytes_free(text, text == NULL ? 0 : strlen(text));
}

ath_err
client_take_string(struct ath_client *client, const struct json *result, const char *name,
                   char **ret_text)
{
    const char *text = json_get_string(result, name);
    char *copy;

    if (text == NULL)
        return client_fail(client, ATH_ERR_INTERNAL, NULL,
                           "athd's answer lacks a member it must have");
    if ((copy = ath_strdup(text)) == NULL)
        return client_fail(client, ATH_ERR_NOMEM, NULL, NULL);
    *ret_text = copy;
    return ATH_OK;
}
