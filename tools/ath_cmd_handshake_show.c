/* What `ath handshake run` shows: each step, and what came of it. */
#include "ath_cmd_handshake.h"

#include <stdlib.h>
#include <string.h>

/* The nine messages: who sends, and which key has signed what. */
static const struct message_kind {
    const char *type;
    int step;
    char from, to, signer; /* c, s, u; signer 0: nobody */
    const char *what;
} message_kinds[] = {
    {"handshake_request", 1, 'c', 's', 0, "who I am, whom I want, a nonce"},
    {"handshake_retry", 0, 's', 'c', 0, "busy: come back with this cookie"},
    {"handshake_response", 2, 's', 'c', 's', "who I am, a nonce"},
    {"identity_proof", 3, 'c', 's', 'c', "proof of the agent's key"},
    {"identity_result", 4, 's', 'c', 0, "I know you"},
    {"scope_request", 5, 'c', 's', 'c', "these scopes, with the user's grant and a key share"},
    {"authorization_confirmation_request", 6, 's', 'u', 's', "shall this agent have these scopes?"},
    {"authorization_confirmation_response", 7, 'u', 's', 'u', "the user's answer"},
    {"scope_result", 8, 's', 'c', 0, "what was granted, what was not"},
    {"handshake_complete", 9, 's', 'c', 's', "key share, access token"},
};

static const struct message_kind *
kind_of(const char *type)
{
    size_t i;

    for (i = 0; type != NULL && i < sizeof(message_kinds) / sizeof(message_kinds[0]); i++) {
        if (strcmp(message_kinds[i].type, type) == 0)
            return &message_kinds[i];
    }
    return NULL;
}

static const char *
party_word(char party)
{
    return party == 'c' ? "agent" : party == 's' ? "application" : "user";
}

static const char *
signer_key(const struct run *run, char signer)
{
    const char *name = signer == 'c'   ? run->client_key
                       : signer == 's' ? run->server_key
                                       : run->user_key;
    return name == NULL ? "" : name;
}

static void
print_step(const struct run *run, const struct message_kind *kind, const struct cost *cost)
{
    const char *bold = run->context->colour ? "\033[1m" : "";
    const char *plain = run->context->colour ? "\033[0m" : "";
    char key[160] = "not signed", took[32] = "", number[16] = " ";

    if (run->context->json || run->context->quiet || run->context->field != NULL)
        return;
    if (kind->signer != 0)
        snprintf(key, sizeof(key), "signed with the %s's key %s", party_word(kind->signer),
                 signer_key(run, kind->signer));
    if (kind->signer != 0 && cost->hardware_us > 0)
        snprintf(key + strlen(key), sizeof(key) - strlen(key), ", %.1f ms in its hardware",
                 (double)cost->hardware_us / 1000.0);
    if (cost->us > 0)
        snprintf(took, sizeof(took), "%.1f ms", (double)cost->us / 1000.0);
    if (kind->step > 0)
        snprintf(number, sizeof(number), "%d", kind->step);
    printf("%s%2s  %-11s -> %-11s%s  %-35s %9s  ", bold, number, party_word(kind->from),
           party_word(kind->to), plain, kind->type, took);
    cmd_print_text(stdout, key);
    printf("\n");
    fflush(stdout);
}

static void
record_step(struct run *run, const struct message_kind *kind, const struct cost *cost)
{
    struct json_maker step;

    json_object_begin(&step);
    if (kind->step > 0)
        json_put_int(&step, "step", kind->step);
    json_put_string(&step, "type", kind->type);
    json_put_string(&step, "from", party_word(kind->from));
    json_put_string(&step, "to", party_word(kind->to));
    json_put_int(&step, "us", (int64_t)cost->us);
    if (kind->signer != 0) {
        json_put_string(&step, "signed_by", signer_key(run, kind->signer));
        json_put_int(&step, "hardware_us", (int64_t)cost->hardware_us);
    }
    json_put_maker(&run->steps, NULL, &step);
}

void
run_show_message(struct run *run, const char *message, struct cost *cost)
{
    struct json *tree = cmd_parse(message);
    const struct message_kind *kind = kind_of(json_get_string(tree, "type"));

    if (kind != NULL) {
        print_step(run, kind, cost);
        record_step(run, kind, cost);
        cost->us = 0;
        if (kind->signer != 0)
            cost->hardware_us = 0;
    }
    json_free(tree);
}

/* ---- the end ---- */

static const char *
why_denied(const char *reason)
{
    if (reason != NULL && strcmp(reason, "server_policy") == 0)
        return "the application does not give it to this agent";
    if (reason != NULL && strcmp(reason, "user_grant") == 0)
        return "the user's grant does not hold it";
    if (reason != NULL && strcmp(reason, "user_confirmation") == 0)
        return "the user did not confirm it";
    return "";
}

static void
print_outcome(const struct run *run, const struct json *result)
{
    const struct json *denied;
    struct ath_buf text = {0};

    if (run->context->quiet)
        return;
    cmd_print_value("scopes", json_get(result, "scopes"), &text);
    printf("\ngranted  %s\n", ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "");
    for (denied = json_first(json_get(result, "denied")); denied != NULL;
         denied = json_next(denied)) {
        const char *scope = json_get_string(denied, "scope");
        const char *reason = json_get_string(denied, "reason");

        printf("denied   ");
        cmd_print_text(stdout, scope != NULL ? scope : "?");
        printf("  (");
        cmd_print_text(stdout, reason != NULL ? reason : "?");
        printf(": %s)\n", why_denied(reason));
    }
    ath_buf_clear(&text);
    cmd_print_value("expires_at", json_get(result, "expires_at"), &text);
    printf("until    %s\nsession  ", ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "");
    cmd_print_text(stdout, json_get_string(result, "session") != NULL
                               ? json_get_string(result, "session")
                               : "-");
    printf("\nin all   %.1f ms\n", (double)run->total_us / 1000.0);
    ath_buf_done(&text);
}

/* The client's result, with what the server has and the steps beside it. */
static int
print_json(struct run *run, struct json *result, const struct json *server_result)
{
    struct json_maker maker = {.root = result};
    struct ath_buf text = {.max = 4 * 1024 * 1024};
    int status = EXIT_SUCCESS;

    json_put_maker(&maker, "steps", &run->steps);
    if (server_result != NULL)
        json_put_copy(&maker, "server", server_result);
    json_put_int(&maker, "total_us", (int64_t)run->total_us);
    json_write(result, &text);
    if (run->context->field != NULL)
        status = cmd_print_field(run->context->field, result);
    else
        cmd_print_json(ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "null");
    ath_buf_done(&text);
    return status;
}

int
run_finish(struct run *run)
{
    struct json *result = cmd_parse(run->client.step.result);
    struct json *server_result = cmd_parse(run->server.step.result);
    int status = result == NULL ? EXIT_FAILURE : EXIT_SUCCESS;

    if (result != NULL && (run->context->json || run->context->field != NULL))
        status = print_json(run, result, server_result);
    else if (result != NULL)
        print_outcome(run, result);
    json_free(result);
    json_free(server_result);
    return status;
}
