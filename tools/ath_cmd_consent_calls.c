/* What `ath consent` asks athd for. */
#include "ath_cmd_consent.h"

#include <stdlib.h>

#define ATTEND "{\"pins\":true}"

ath_err
consent_call(struct ath_client *client, const char *method, struct json *taken_params)
{
    struct ath_buf text = {0};
    ath_err err;

    if (taken_params != NULL)
        json_write(taken_params, &text);
    err = ath_client_call(client, method, taken_params == NULL ? NULL : ath_buf_text(&text), NULL);
    ath_buf_done(&text);
    json_free(taken_params);
    return err;
}

static ath_err
call_for_tree(struct ath_client *client, const char *method, const char *params,
              struct json **ret_result)
{
    char *text = NULL;
    ath_err err = ath_client_call(client, method, params, &text);

    if (err == ATH_OK && (*ret_result = cmd_parse(text)) == NULL)
        err = ATH_ERR_NOMEM;
    ath_string_free(text);
    return err;
}

/* athd leaves texts out where they are very many. */
static ath_err
put_missing_text(struct ath_client *client, struct json *question)
{
    struct json_maker over = {.root = question, .err = ATH_OK}, maker;
    struct json *params = NULL, *alone = NULL;
    struct ath_buf text = {0};
    ath_err err;

    json_object_begin(&maker);
    json_put_string(&maker, "id", json_get_string(question, "id"));
    if ((err = json_maker_end(&maker, &params)) != ATH_OK)
        return err;
    json_write(params, &text);
    json_free(params);
    err = call_for_tree(client, "consent.list", ath_buf_text(&text), &alone);
    ath_buf_done(&text);
    if (err == ATH_OK) {
        json_put_string(&over, "text",
                        json_get_string(json_first(json_get(alone, "questions")), "text"));
        err = over.err;
    } else if (err == ATH_ERR_CONSENT_NOT_FOUND) {
        err = ATH_OK; /* it is gone */
    }
    json_free(alone);
    return err;
}

/* Whoever took no events for long (it was stopped) attends no more, and does again from here on. */
static ath_err
list_attending(struct ath_client *client, struct json **ret_list)
{
    struct json *list = NULL;
    ath_err err = call_for_tree(client, "consent.list", NULL, &list);

    if (err == ATH_OK && !json_is_true(json_get(list, "attending"))) {
        json_free(list);
        list = NULL;
        if ((err = ath_client_call(client, "consent.attend", ATTEND, NULL)) == ATH_OK)
            err = call_for_tree(client, "consent.list", NULL, &list);
    }
    if (err == ATH_OK)
        *ret_list = list;
    return err;
}

/* Those that a program has taken are nobody else's to answer. */
static void
put_pins(struct json_maker *all, struct json *pins, bool with_taken)
{
    struct json *pin;

    while ((pin = json_detach_first(pins)) != NULL) {
        struct json_maker over = {.root = pin, .err = ATH_OK};

        if (!with_taken && json_is_true(json_get(pin, "taken"))) {
            json_free(pin);
            continue;
        }
        json_put_bool(&over, "pin", true);
        if (over.err != ATH_OK)
            all->err = over.err;
        json_put_take(all, NULL, pin);
    }
}

ath_err
consent_list(struct ath_client *client, bool with_taken, struct json **ret_list)
{
    struct json *list = NULL, *question;
    struct json_maker over, all;
    ath_err err = list_attending(client, &list);

    if (err != ATH_OK)
        return err;
    json_array_begin(&all);
    while ((question = json_detach_first(json_get_mutable(list, "questions"))) != NULL) {
        if (json_get(question, "text") == NULL && err == ATH_OK)
            err = put_missing_text(client, question);
        json_put_take(&all, NULL, question);
    }
    put_pins(&all, json_get_mutable(list, "pins"), with_taken);
    over = (struct json_maker){.root = list, .err = ATH_OK};
    json_put_maker(&over, "questions", &all);
    if (err == ATH_OK && (err = over.err) == ATH_OK)
        *ret_list = list;
    else
        json_free(list);
    return err;
}

struct ath_client *
consent_attend(const struct cmd_context *context, int *ret_status)
{
    struct ath_client *client = cmd_connect(context, NULL, ret_status);
    ath_err err;

    if (client == NULL)
        return NULL;
    if (context->timeout_ms == ATH_CLIENT_TIMEOUT_MS)
        ath_client_set_timeout(client, CONSENT_TIMEOUT_MS);
    if ((err = ath_client_call(client, "consent.attend", ATTEND, NULL)) == ATH_OK)
        return client;
    *ret_status = cmd_fail(context, client, err);
    ath_client_free(client);
    return NULL;
}
