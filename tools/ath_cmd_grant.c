/* `ath grant`: permissions with a socket of their own. `ath run` is in ath_cmd_run.c. */
#include "ath_cmd_run.h"

#include <stdlib.h>
#include <string.h>

static const struct cmd_option no_options[] = {{0}};

static const struct cmd_option create_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "what it is called; its socket's place, too"},
    RUN_LIMITS,
    {"--process", "PID", CMD_INT, "process", false, NULL,
     "a process of yours: the grant ends when it does"},
    {"--unit", "UNIT", CMD_TEXT, "unit", false, NULL,
     "serve only callers in this systemd unit: travel.service"},
    {0},
};

static const struct cmd_option show_options[] = {
    {NULL, "NAME", CMD_TEXT, NULL, false, NULL,
     "which; without it the one whose socket is used here"},
    {0},
};

static const struct cmd_option revoke_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "which"},
    {0},
};

static const struct cmd_option run_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "what the grant is called"},
    RUN_LIMITS,
    {"--keep-children", NULL, CMD_TRUE, NULL, false, NULL,
     "leave what COMMAND started and left behind running (it has no access any more)"},
    {"--dry-run", NULL, CMD_TRUE, NULL, false, NULL,
     "say what would be granted and how it would run, and do nothing"},
    {NULL, "COMMAND", CMD_WORDS, NULL, true, NULL, "what to run, with its arguments"},
    {0},
};

const struct cmd cmd_grant_group[] = {
    {.noun = "run",
     .method = "grant.create",
     .summary = "Run COMMAND with a socket of its own, which can do what is said here and no more",
     .options = run_options,
     .run = cmd_run_run,
     .about =
         "COMMAND finds the socket in ATH_AUTH_SOCK. The grant ends with COMMAND; what COMMAND "
         "started and\n"
         "left behind is ended too. Without a limit it is the grant NAME, made before with `ath "
         "grant create`,\n"
         "that COMMAND gets. The exit status is COMMAND's: 126 it cannot be run, 127 there is no "
         "such command,\n"
         "128+n it was ended by signal n. It does not hide your own socket: see the howto in "
         "docs/sandbox.md.",
     .examples =
         "  ath run travel --key bot --audience https://flights.example --ttl 8h -- claude\n"
         "  ath run nightly --key ci --max-uses 20 --dry-run -- make release\n"
         "  ath grant create travel --key bot && ath run travel -- claude\n"},
    {.noun = "grant",
     .verb = "create",
     .method = "grant.create",
     .summary = "Make a grant: a socket that can do what is said here and no more",
     .options = create_options,
     .fields = "name socket keys methods audiences peers scopes expires_at uses_left process unit",
     .about = "It lives until it is revoked, its time is up, it is used up, its process ends, or "
              "athd does.\n"
              "Give its directory, the one its socket lies in, to a sandbox or a container.",
     .examples =
         "  ath grant create travel --key bot --audience https://flights.example --ttl 8h\n"
         "  ath grant create web --key app --unit web.service --method group:application\n"},
    {.noun = "grant",
     .verb = "list",
     .method = "grant.list",
     .summary = "Which grants there are",
     .options = no_options,
     .show = CMD_SHOW_TABLE,
     .member = "grants",
     .fields = "name keys audiences scopes expires_at uses_left unit parent",
     .examples = "  ath grant list\n  ath grant list --json\n"},
    {.noun = "grant",
     .verb = "show",
     .method = "grant.list",
     .summary = "What a grant may do, and how long",
     .options = show_options,
     .run = cmd_run_grant_show,
     .about = "Without NAME it says what the socket at hand ($ATH_AUTH_SOCK) may do.",
     .examples = "  ath grant show travel\n  ath run travel --key bot -- ath grant show\n"},
    {.noun = "grant",
     .verb = "revoke",
     .method = "grant.revoke",
     .summary = "End a grant at once, with what it has open and what was made of it",
     .options = revoke_options,
     .show = CMD_SHOW_DONE,
     .member = "revoked",
     .examples = "  ath grant revoke travel\n"},
    {0},
};

/* The entry of this name in grant.list's answer; NULL: there is none. */
const struct json *
run_find_grant(const struct json *list, const char *name)
{
    const struct json *grant = json_first(json_get(list, "grants"));

    while (grant != NULL && (json_get_string(grant, "name") == NULL ||
                             strcmp(json_get_string(grant, "name"), name) != 0))
        grant = json_next(grant);
    return grant;
}

static int
show_grant(const struct cmd_context *context, const struct json *grant)
{
    struct ath_buf text = {.max = 4 * 1024 * 1024};
    int status = EXIT_SUCCESS;

    if (context->field != NULL) {
        status = cmd_print_field(context->field, grant);
    } else if (context->json) {
        json_write(grant, &text);
        cmd_print_json(ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "{}");
    } else {
        cmd_print_fields(grant, NULL);
    }
    ath_buf_done(&text);
    return status;
}

/* `ath grant show [NAME]` */
int
cmd_run_grant_show(struct cmd_context *context)
{
    const char *name = json_get_string(context->extra, "NAME");
    int status = EXIT_FAILURE;
    struct ath_client *client = cmd_connect(context, NULL, &status);
    struct json *answer = NULL;
    const struct json *grant;
    ath_err err;

    if (client == NULL)
        return status;
    err = cmd_call(context, client, name == NULL ? "agent.hello" : "grant.list", NULL, &answer);
    if (err != ATH_OK) {
        status = ath_err_exit_status(err);
        goto out;
    }
    grant = name == NULL ? json_get(answer, "grant") : run_find_grant(answer, name);
    if (grant != NULL)
        status = show_grant(context, grant);
    else if (name != NULL)
        cmd_error("there is no grant %s; `ath grant list` shows which there are", name);
    else
        cmd_error("this is not the socket of a grant: it may do what the policy lets you do (ath "
                  "policy show)");
out:
    json_free(answer);
    ath_client_free(client);
    return status;
}
