/* A checkpoint of now, from an athd that runs: its counter is the TPM's of this moment, so that a
 * log that was put back to an earlier state shows. */
#include "ath_cmd_audit.h"
#include "protocol/checkpoint.h"

static ath_err
take_note(const char *result, struct ath_buf *note)
{
    struct json *tree = cmd_parse(result);
    const char *text = json_get_string(tree, "checkpoint");
    ath_err err = text != NULL ? ATH_OK : ATH_ERR_INTERNAL;

    ath_buf_put_string(note, text != NULL ? text : "");
    json_free(tree);
    return err != ATH_OK ? err : note->err;
}

bool
cmd_audit_fresh_checkpoint(const struct cmd_context *context, struct ath_buf *note)
{
    struct ath_client *client = ath_client_new();
    char *result = NULL;
    ath_err err;

    note->max = CHECKPOINT_MAX_LEN;
    if (client == NULL)
        return false;
    ath_client_set_timeout(client, context->timeout_ms);
    if (ath_client_connect(client, context->socket) != ATH_OK) {
        ath_client_free(client);
        return false; /* it need not run */
    }
    err = ath_client_call(client, "audit.checkpoint", NULL, &result);
    if (err != ATH_OK)
        cmd_note(context,
                 "athd, which runs, made no checkpoint (%s): whether the TPM's counter has "
                 "gone on since the newest one is not known",
                 ath_client_error_message(client));
    else if ((err = take_note(result, note)) != ATH_OK)
        cmd_note(context, "athd's answer to audit.checkpoint is not understood");
    ath_string_free(result);
    ath_client_free(client);
    return err == ATH_OK;
}
