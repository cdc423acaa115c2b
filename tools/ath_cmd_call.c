/* Calling athd, and saying what failed. */
#include "ath_cmd.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64url.h"
#include "base/utf8.h"

static const struct json_limits answer_limits = {
    .max_len = 4 * 1024 * 1024, .max_depth = 64, .max_members = 65536, .numbers = JSON_DOUBLES};

int
cmd_error(const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    utf8_make_harmless(text);
    fprintf(stderr, "ath: %s\n", text);
    return ath_err_exit_status(ATH_ERR_USAGE);
}

void
cmd_note(const struct cmd_context *context, const char *fmt, ...)
{
    char text[1024];
    va_list args;

    if (context->quiet || context->json)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    utf8_make_harmless(text);
    fprintf(stderr, "%s\n", text);
}

struct json *
cmd_parse(const char *text)
{
    struct json *tree = NULL;

    if (text == NULL ||
        json_parse(ath_slice_of_string(text), &answer_limits, NULL, &tree) != ATH_OK)
        return NULL;
    return tree;
}

/* ---- what failed ---- */

static void
print_error_json(const struct ath_client *client)
{
    struct ath_buf line = {0};
    struct json_maker maker;
    struct json *error = NULL, *data = cmd_parse(ath_client_error_data(client));

    json_object_begin(&maker);
    json_put_int(&maker, "code", ath_client_error_code(client));
    json_put_string(&maker, "message", ath_client_error_message(client));
    if (data != NULL)
        json_put_take(&maker, "data", data);
    if (json_maker_end(&maker, &error) == ATH_OK)
        json_write(error, &line);
    if (ath_buf_text(&line) != NULL)
        fprintf(stderr, "%s\n", ath_buf_text(&line));
    json_free(error);
    ath_buf_done(&line);
}

/* What else athd says about the error: data without `reason` and without messages to carry. */
static void
print_error_details(const struct json *data)
{
    const struct json *member;
    struct ath_buf text = {0};

    for (member = json_first(data); member != NULL; member = json_next(member)) {
        const char *name = json_name(member);

        if (strcmp(name, "reason") == 0 || strcmp(name, "cause") == 0 || strcmp(name, "send") == 0)
            continue;
        ath_buf_clear(&text);
        cmd_print_value(name, member, &text);
        fprintf(stderr, "  ");
        cmd_print_text(stderr, name);
        fprintf(stderr, ": %s\n", ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "");
    }
    ath_buf_done(&text);
}

/* A record tells which rule decided, and by which of its conditions: how it is looked at. */
static void
print_hint(const struct cmd_context *context, const struct json *data)
{
    int64_t record;

    if (!context->quiet && json_get_int(data, "record", &record))
        fprintf(stderr, "hint: `ath explain %lld` says which rule decided, and why\n",
                (long long)record);
}

int
cmd_fail(const struct cmd_context *context, const struct ath_client *client, ath_err err)
{
    const char *reason = ath_client_error_reason(client);
    struct json *data = cmd_parse(ath_client_error_data(client));

    if (context->json) {
        print_error_json(client);
    } else {
        fprintf(stderr, "ath: ");
        cmd_print_text(stderr, ath_client_error_message(client));
        if (err != ATH_ERR_UNREACHABLE) {
            fprintf(stderr, " (");
            cmd_print_text(stderr, reason);
            fprintf(stderr, ")");
        }
        fprintf(stderr, "\n");
        print_error_details(data);
        print_hint(context, data);
    }
    json_free(data);
    return ath_err_exit_status(err);
}

/* ---- calling ---- */

struct ath_client *
cmd_connect(const struct cmd_context *context, const char *socket, int *ret_status)
{
    struct ath_client *client = ath_client_new();
    ath_err err;

    if (client == NULL) {
        cmd_error("out of memory");
        *ret_status = EXIT_FAILURE;
        return NULL;
    }
    ath_client_set_timeout(client, context->timeout_ms);
    err = ath_client_connect(client, socket != NULL ? socket : context->socket);
    if (err != ATH_OK) {
        *ret_status = cmd_fail(context, client, err);
        ath_client_free(client);
        return NULL;
    }
    return client;
}

/* Calls; *ret_text is the result as it came. */
static ath_err
call_for_text(struct ath_client *client, const char *method, const struct json *params,
              char **ret_text)
{
    struct ath_buf text = {0};
    const char *params_text = NULL;
    ath_err err;

    if (params != NULL) {
        json_write(params, &text);
        params_text = ath_buf_text(&text);
        if (params_text == NULL)
            params_text = "not JSON"; /* the library says so */
    }
    err = ath_client_call(client, method, params_text, ret_text);
    ath_buf_done(&text);
    return err;
}

ath_err
cmd_call(const struct cmd_context *context, struct ath_client *client, const char *method,
         const struct json *params, struct json **ret_result)
{
    char *text = NULL;
    ath_err err = call_for_text(client, method, params, &text);

    if (err != ATH_OK) {
        cmd_fail(context, client, err);
        return err;
    }
    if ((*ret_result = cmd_parse(text)) == NULL) {
        cmd_error("athd's answer is too large for this machine's memory");
        err = ATH_ERR_NOMEM;
    }
    ath_string_free(text);
    return err;
}

/* ---- a method's result ---- */

static void
print_bytes(const char *text)
{
    struct ath_buf bytes = {.max = 1024 * 1024};

    if (text != NULL && base64url_decode(ath_slice_of_string(text), &bytes) == ATH_OK)
        fwrite(bytes.data, 1, bytes.len, stdout);
    ath_buf_done(&bytes);
}

/* The last sentence of "deleted %s": the first argument that has a place and is a name. */
static void
print_done(const struct cmd_context *context, const struct json *result)
{
    const struct cmd_option *option;
    const char *subject = NULL;

    for (option = context->command->options; option->help != NULL && subject == NULL; option++) {
        if (option->flag == NULL && option->param != NULL && option->kind == CMD_TEXT)
            subject = json_get_string(context->params, option->param);
    }
    if (context->quiet)
        return;
    printf("%s%s", context->command->member, subject == NULL ? "" : " ");
    if (subject != NULL)
        cmd_print_text(stdout, subject);
    printf("\n");
    cmd_print_fields(result, NULL);
}

static void
print_tree(const struct cmd_context *context, const struct json *result)
{
    const struct cmd *command = context->command;
    const struct json *member = command->member == NULL ? NULL : json_get(result, command->member);
    struct ath_buf text = {0};

    switch (command->show) {
    case CMD_SHOW_FIELDS:
        cmd_print_fields(member != NULL ? member : result, command->fields);
        break;
    case CMD_SHOW_TABLE:
        cmd_print_table(context, member, command->fields);
        break;
    case CMD_SHOW_RAW:
        if (json_string(member) == NULL && member != NULL)
            json_write(member, &text);
        cmd_print_raw(json_string(member) != NULL ? json_string(member) : ath_buf_text(&text));
        break;
    case CMD_SHOW_BYTES:
        print_bytes(json_string(member));
        break;
    case CMD_SHOW_DONE:
        print_done(context, result);
        break;
    }
    ath_buf_done(&text);
}

/* The member that path ("hsms.0.state") leads to; NULL: there is none. */
static const struct json *
member_at(const struct json *value, const char *path)
{
    while (value != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");
        char name[128];
        unsigned long index;

        snprintf(name, sizeof(name), "%.*s", (int)len, path);
        if (json_is_array(value)) {
            index = strtoul(name, NULL, 10);
            for (value = json_first(value); value != NULL && index > 0; index--)
                value = json_next(value);
        } else {
            value = json_get(value, name);
        }
        path += len + (path[len] == '.' ? 1 : 0);
    }
    return value;
}

int
cmd_print_field(const char *path, const struct json *result)
{
    const struct json *member = member_at(result, path);
    struct ath_buf text = {.max = 4 * 1024 * 1024};

    if (member == NULL) {
        cmd_error("the result has no member \"%s\"", path);
        return EXIT_FAILURE;
    }
    if (json_string(member) == NULL)
        json_write(member, &text);
    cmd_print_raw(json_string(member) != NULL ? json_string(member) : ath_buf_text(&text));
    ath_buf_done(&text);
    return EXIT_SUCCESS;
}

int
cmd_print_result(const struct cmd_context *context, const char *result)
{
    struct json *tree = cmd_parse(result);
    int status = EXIT_SUCCESS;

    if (tree == NULL && !context->json)
        status = EXIT_FAILURE;
    else if (context->field != NULL)
        status = cmd_print_field(context->field, tree);
    else if (context->json)
        cmd_print_json(result);
    else if (context->command->show_with != NULL)
        context->command->show_with(context, tree);
    else
        print_tree(context, tree);
    json_free(tree);
    return status;
}

int
cmd_run_method(struct cmd_context *context)
{
    int status = EXIT_SUCCESS;
    struct ath_client *client = cmd_connect(context, NULL, &status);
    char *result = NULL;
    ath_err err;

    if (client == NULL)
        return status;
    err = call_for_text(client, context->command->method, context->params, &result);
    if (err != ATH_OK)
        status = cmd_fail(context, client, err);
    else
        status = cmd_print_result(context, result);
    ath_string_free(result);
    ath_client_free(client);
    return status;
}

/* `ath call METHOD [PARAMS]` */
int
cmd_run_call(struct cmd_context *context)
{
    int status = EXIT_SUCCESS;
    struct ath_client *client = cmd_connect(context, NULL, &status);
    char *result = NULL;
    struct json *tree = NULL;
    struct ath_buf text = {.max = 4 * 1024 * 1024};
    ath_err err;

    if (client == NULL)
        return status;
    err = call_for_text(client, json_get_string(context->extra, "METHOD"),
                        json_get(context->extra, "JSON"), &result);
    if (err != ATH_OK) {
        status = cmd_fail(context, client, err);
    } else if (context->field != NULL) {
        status = cmd_print_result(context, result);
    } else if (context->json || (tree = cmd_parse(result)) == NULL) {
        cmd_print_json(result);
    } else {
        json_write_pretty(tree, &text);
        cmd_print_json(ath_buf_text(&text) != NULL ? ath_buf_text(&text) : result);
    }
    ath_buf_done(&text);
    json_free(tree);
    ath_string_free(result);
    ath_client_free(client);
    return status;
}

/* `ath events [TOPIC ...]`: a line an event, until athd or the person ends it. */
int
cmd_run_events(struct cmd_context *context)
{
    int status = EXIT_SUCCESS;
    struct ath_client *client = cmd_connect(context, NULL, &status);
    struct json *ignored = NULL;
    char *event = NULL;
    ath_err err;

    if (client == NULL)
        return status;
    err = cmd_call(context, client, "events.subscribe", context->params, &ignored);
    json_free(ignored);
    if (err != ATH_OK) {
        status = ath_err_exit_status(err);
        goto out;
    }
    ath_client_set_timeout(client, -1);
    while ((err = ath_client_event(client, &event)) == ATH_OK) {
        cmd_print_json(event);
        fflush(stdout);
        ath_string_free(event);
        event = NULL;
    }
    status = cmd_fail(context, client, err);
out:
    ath_client_free(client);
    return status;
}
