/* Why the last call failed. */
#include "client/client_private.h"

#include <stdlib.h>

void
client_forget_error(struct ath_client *client)
{
    client->err = ATH_OK;
    client->code = 0;
    free(client->reason);
    free(client->message);
    free(client->data);
    client->reason = client->message = client->data = NULL;
}

/* What came with the error; where memory is short the ath_err's own words stand in. */
void
client_set_error(struct ath_client *client, ath_err err, int code, const char *message,
                 const struct json *data)
{
    client_forget_error(client);
    client->err = err;
    client->code = code;
    client->reason = ath_strdup(json_get_string(data, "reason"));
    client->message = ath_strdup(message);
    client->data = data == NULL ? NULL : client_json_text(data);
}

ath_err
client_fail(struct ath_client *client, ath_err err, const char *cause, const char *message)
{
    struct json_maker data = {0};
    struct json *tree = NULL;

    json_object_begin(&data);
    json_put_string(&data, "reason", ath_err_reason(err));
    json_put_string(&data, "cause", cause);
    if (json_maker_end(&data, &tree) != ATH_OK)
        tree = NULL;
    client_set_error(client, err, ath_err_code(err), message, tree);
    json_free(tree);
    return err;
}

const char *
ath_client_error_reason(const struct ath_client *client)
{
    return client->reason != NULL ? client->reason : ath_err_reason(client->err);
}

const char *
ath_client_error_message(const struct ath_client *client)
{
    return client->message != NULL ? client->message : ath_err_sentence(client->err);
}

int
ath_client_error_code(const struct ath_client *client)
{
    return client->code;
}

const char *
ath_client_error_data(const struct ath_client *client)
{
    return client->data;
}
