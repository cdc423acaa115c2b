/* `ath policy`, `ath explain`, `ath freeze`. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ath_cmd.h"
#include "ath_cmd_policy.h"

static const struct cmd_option no_options[] = {{0}};

static const struct cmd_option check_options[] = {
    {NULL, "METHOD", CMD_TEXT, "method", true, NULL, "a method of docs/api.md"},
    {NULL, "JSON", CMD_JSON, "params", false, NULL, "its params"},
    {"--as", "JSON", CMD_JSON, "as", false, NULL,
     "somebody else: {\"uid\": 1000, \"exe\": \"/usr/bin/node\", ...}"},
    {0},
};

static const struct cmd_option diff_options[] = {
    {NULL, "A", CMD_TEXT, NULL, true, NULL, "a policy file, or a configuration directory"},
    {NULL, "B", CMD_TEXT, NULL, true, NULL, "what it is to become"},
    {0},
};

static const struct cmd_option explain_options[] = {
    {NULL, "INDEX|ID", CMD_TEXT, NULL, true, NULL,
     "a record's index, or a trace-id, traceparent or handshake that the call belonged to"},
    {0},
};

static const struct cmd_option freeze_options[] = {
    {NULL, "NAME", CMD_TEXT, "key", false, NULL, "the key"},
    {"--all", NULL, CMD_TRUE, "all", false, NULL, "every key, also those made later"},
    {0},
};

static void
show_policy(const struct cmd_context *context, const struct json *result)
{
    struct ath_buf text = {0};

    (void)context;
    json_write_pretty(json_get(result, "policy"), &text);
    if (text.err == ATH_OK)
        puts(ath_buf_text(&text));
    ath_buf_done(&text);
}

static void
show_frozen(const struct cmd_context *context, const struct json *result)
{
    const struct json *frozen = json_get(result, "frozen"), *key;

    (void)context;
    if (json_is_true(json_get(frozen, "all")))
        puts("frozen: all keys");
    else if (json_count(json_get(frozen, "keys")) == 0)
        puts("frozen: none");
    for (key = json_first(json_get(frozen, "keys")); key != NULL; key = json_next(key)) {
        fputs("frozen: ", stdout);
        cmd_print_text(stdout, json_string(key));
        putchar('\n');
    }
}

const struct cmd cmd_policy_group[] = {
    {.noun = "policy",
     .verb = "show",
     .method = "policy.show",
     .summary = "Print the policy in force, as a policy file",
     .options = no_options,
     .show_with = show_policy,
     .about = "Without policy.json and policy.d it is the built-in one: athd's own user may do "
              "everything.",
     .examples = "  ath policy show > ~/.config/ath/policy.json\n"},
    {.noun = "policy",
     .verb = "check",
     .method = "policy.check",
     .summary = "Ask whether a call would be allowed, and by which rule",
     .options = check_options,
     .examples = "  ath policy check key.create\n"
                 "  ath policy check attestation.create \\\n"
                 "      '{\"key\":\"travel\",\"audience\":\"https://flights.example\"}' \\\n"
                 "      --as '{\"uid\":1000,\"unit\":\"travel.service\"}'\n"},
    {.noun = "policy",
     .verb = "reload",
     .method = "policy.reload",
     .summary = "Read the policy files again",
     .options = no_options,
     .fields = "source rules observe",
     .about = "What is wrong is told with file and line, and the old rules stay in force.",
     .examples = "  ath policy reload\n"},
    {.noun = "policy",
     .verb = "diff",
     .summary = "Tell whether policy B only takes away from policy A",
     .options = diff_options,
     .run = cmd_run_policy_diff,
     .about = "Exit status 0 if so; 1, and what may be gained by whom, if not or if it cannot be "
              "told.\n"
              "athd is not asked. A file's users and groups are those of this machine.",
     .examples = "  ath policy diff ~/.config/ath/policy.json new.json\n"},
    {.noun = "policy",
     .verb = "learn",
     .method = "audit.query",
     .summary = "Print rules for what would have been denied, from the audit log",
     .options = no_options,
     .run = cmd_run_policy_learn,
     .about =
         "Run athd with \"observe\": true in its policy for a while first. Read what it prints "
         "before you use it.",
     .examples = "  ath policy learn > ~/.config/ath/policy.d/learned.json\n"},
    {.noun = "explain",
     .method = "audit.query",
     .summary = "Tell which rule decided about a recorded call, and what was missing",
     .options = explain_options,
     .run = cmd_run_explain,
     .examples = "  ath explain 1742\n  ath explain 4bf92f3577b34da6a3ce929d0e0e4736\n"},
    {.noun = "freeze",
     .method = "policy.freeze",
     .summary = "Let a key, or all keys, sign nothing from now on",
     .options = freeze_options,
     .show_with = show_frozen,
     .about = "It holds across restarts, until `ath unfreeze`.",
     .examples = "  ath freeze travel\n  ath freeze --all\n"},
    {.noun = "unfreeze",
     .method = "policy.unfreeze",
     .summary = "Let a key, or all keys, sign again",
     .options = freeze_options,
     .show_with = show_frozen,
     .examples = "  ath unfreeze travel\n  ath unfreeze --all\n"},
    {0},
};
