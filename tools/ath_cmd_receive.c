/* `ath handshake receive`: a message, or an array of them, as `send` is where there are two. */
#include "ath_cmd.h"

#include <stdlib.h>

static ath_err
receive(const struct cmd_context *context, struct ath_client *client, const struct json *message,
        struct json **ret_result)
{
    struct json_maker maker;
    struct json *params = NULL;
    ath_err err;

    json_object_begin(&maker);
    json_put_string(&maker, "handshake", json_get_string(context->params, "handshake"));
    json_put_string(&maker, "trace", context->trace);
    json_put_copy(&maker, "message", message);
    if ((err = json_maker_end(&maker, &params)) != ATH_OK) {
        cmd_error("out of memory");
        return err;
    }
    err = cmd_call(context, client, "handshake.receive", params, ret_result);
    json_free(params);
    return err;
}

/* Each in turn, until one is refused; what came of the last is shown. */
static int
receive_all(const struct cmd_context *context, const struct json *messages)
{
    int status = EXIT_SUCCESS;
    struct ath_client *client = cmd_connect(context, NULL, &status);
    const struct json *message;
    struct json *result = NULL;
    struct ath_buf text = {0};
    ath_err err = ATH_OK;

    if (client == NULL)
        return status;
    for (message = json_first(messages); message != NULL && err == ATH_OK;
         message = json_next(message)) {
        json_free(result);
        result = NULL;
        err = receive(context, client, message, &result);
    }
    if (err == ATH_OK) {
        json_write(result, &text);
        status = cmd_print_result(context, ath_buf_text(&text));
    } else {
        status = ath_err_exit_status(err);
    }
    ath_buf_done(&text);
    json_free(result);
    ath_client_free(client);
    return status;
}

int
cmd_run_receive(struct cmd_context *context)
{
    const char *message = json_get_string(context->params, "message");
    struct json *messages;
    int status;

    /* one message goes as the text that it is: athd is as strict with its bytes as the profile */
    messages = message != NULL && message[0] == '[' ? cmd_parse(message) : NULL;
    status =
        json_first(messages) != NULL ? receive_all(context, messages) : cmd_run_method(context);
    json_free(messages);
    return status;
}
