/* `ath key delete`: whoever sits at a terminal is asked first, for nothing brings a key back. */
#include "ath_cmd.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool
says_yes(void)
{
    char line[16];

    if (fgets(line, sizeof(line), stdin) == NULL)
        return false;
    line[strcspn(line, "\n")] = '\0';
    return strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0;
}

static bool
confirms(const struct json *key)
{
    const char *kind = json_get_string(key, "hsm_kind"), *name = json_get_string(key, "name");
    const char *hsm = json_get_string(key, "hsm"), *did = json_get_string(key, "did");
    bool is_token = kind != NULL && strcmp(kind, "pkcs11") == 0;

    fprintf(stderr, is_token ? "This destroys a key in the token " : "This deletes a key of ");
    cmd_print_text(stderr, hsm == NULL ? "" : hsm);
    fprintf(stderr, ": ");
    cmd_print_text(stderr, name == NULL ? "" : name);
    fprintf(stderr, ", ");
    cmd_print_text(stderr, did == NULL ? "" : did);
    fprintf(stderr,
            is_token ? ".\nNo other program has it then either, and nothing brings it back, also "
                       "if it was imported.\n"
                     : ".\nathd holds its only file: without a copy of yours nothing brings it "
                       "back.\n");
    fprintf(stderr, "Delete it? [y/N] ");
    return says_yes();
}

int
cmd_run_key_delete(struct cmd_context *context)
{
    int status = EXIT_SUCCESS;
    struct ath_client *client;
    struct json *key = NULL;
    bool is_meant;
    ath_err err;

    if (json_is_true(json_get(context->extra, "--yes")) || isatty(STDIN_FILENO) == 0 ||
        isatty(STDERR_FILENO) == 0)
        return cmd_run_method(context);
    if ((client = cmd_connect(context, NULL, &status)) == NULL)
        return status;
    err = cmd_call(context, client, "key.get", context->params, &key);
    ath_client_free(client);
    if (err != ATH_OK)
        return ath_err_exit_status(err);
    is_meant = confirms(key);
    json_free(key);
    if (is_meant)
        return cmd_run_method(context);
    fprintf(stderr, "Nothing was deleted.\n");
    return EXIT_FAILURE;
}
