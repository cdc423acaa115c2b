#include "ath_cmd_consent_pin.h"

#include <stdlib.h>
#include <string.h>

#include "ath_cmd_consent.h"

/* What a program's environment has; NULL: nothing that can be told. */
static const char *
told(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

const char *
consent_lc_ctype(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"}; /* POSIX.1-2017, XBD 8.2 */
    const char *value = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && value == NULL; i++)
        value = told(names[i]);
    return value;
}

static ath_err
make_params(const struct consent_pin_order *order, struct json **ret_params)
{
    struct json_maker params;

    json_object_begin(&params);
    json_put_string(&params, "id", order->id);
    if (strncmp(order->terminal, "/dev/", strlen("/dev/")) == 0)
        json_put_string(&params, "GPG_TTY", order->terminal);
    json_put_string(&params, "TERM", told("TERM"));
    json_put_string(&params, "LC_CTYPE", consent_lc_ctype());
    return json_maker_end(&params, ret_params);
}

static void
say(const char *text, char ret_why[CONSENT_PIN_WHY_SIZE])
{
    (void)snprintf(ret_why, CONSENT_PIN_WHY_SIZE, "%s", text);
}

ath_err
consent_pin_start(const struct cmd_context *context, const struct consent_pin_order *order,
                  char ret_why[CONSENT_PIN_WHY_SIZE], struct consent_prompter **ret_prompter)
{
    struct ath_client *client = ath_client_new();
    struct json *params = NULL;
    ath_err err;

    if (client == NULL || make_params(order, &params) != ATH_OK) {
        say("out of memory", ret_why);
        ath_client_free(client);
        return ATH_ERR_NOMEM;
    }
    ath_client_set_timeout(client, CONSENT_TIMEOUT_MS);
    if ((err = ath_client_connect(client, context->socket)) != ATH_OK)
        json_free(params);
    else
        err = consent_call(client, "consent.pinentry", params);
    if (err != ATH_OK)
        say(ath_client_error_message(client), ret_why);
    else if ((err = consent_prompter_start_at(order->program, ath_client_fd(client),
                                              ret_prompter)) != ATH_OK)
        say("the prompter cannot be started", ret_why);
    ath_client_free(client); /* the prompter has a copy */
    return err;
}
