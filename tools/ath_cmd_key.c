/* Keys, and the user's grants. */
#include "ath_cmd.h"

#include <stdlib.h>
#include <string.h>

#define DESCRIPTION_OPTIONS                                                                        \
    {"--agent-id",                                                                                 \
     "URI",                                                                                        \
     CMD_TEXT,                                                                                     \
     "agent_id",                                                                                   \
     false,                                                                                        \
     NULL,                                                                                         \
     "client keys: the https URI of the agent's identity document"},                               \
        {"--display-name",                                                                         \
         "TEXT",                                                                                   \
         CMD_TEXT,                                                                                 \
         "display.name",                                                                           \
         false,                                                                                    \
         NULL,                                                                                     \
         "client keys: the agent's name, as people see it"},                                       \
        {"--developer-name", "TEXT", CMD_TEXT, "display.developer.name", false, NULL,              \
         "who made it"},                                                                           \
        {"--developer-id", "ID", CMD_TEXT, "display.developer.id", false, NULL, "the maker's id"}, \
        {"--developer-contact",   "TEXT", CMD_TEXT, "display.developer.contact", false, NULL,      \
         "how to reach the maker"},                                                                \
        {"--capability", "NAME", CMD_LIST, "display.capabilities", false, NULL, "what it can do"}, \
        {"--confirm",                                                                              \
         "never|always|session",                                                                   \
         CMD_TEXT,                                                                                 \
         "confirm",                                                                                \
         false,                                                                                    \
         NULL,                                                                                     \
         "ask you before it signs (user keys: always, others: never)"},                            \
        {"--expires",                                                                              \
         "WHEN",                                                                                   \
         CMD_TIME,                                                                                 \
         "expires_at",                                                                             \
         false,                                                                                    \
         NULL,                                                                                     \
         "2027-01-31, or +30d: it signs nothing after that"},                                      \
    {                                                                                              \
        "--hsm", "NAME", CMD_TEXT, "hsm", false, NULL,                                             \
            "which TPM or token (the first of `ath status`)"                                       \
    }

static const struct cmd_option create_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "what you call it"},
    {"--role", "user|client|server", CMD_TEXT, "role", true, NULL, "what it may sign"},
    {"--algorithm", "ES256|ES384|EdDSA", CMD_TEXT, "algorithm", false, NULL,
     "ES256 where it is not given"},
    {"--pin", NULL, CMD_TRUE, "pin", false, NULL,
     "TPM: with a PIN of its own; the prompter asks you to choose one"},
    DESCRIPTION_OPTIONS,
    {0},
};

static const struct cmd_option import_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "what you call it"},
    {"--role", "user|client|server", CMD_TEXT, "role", true, NULL, "what it may sign"},
    {"--tss2", "@FILE", CMD_CONTENT, "tss2_pem", false, NULL,
     "a TSS2 PRIVATE KEY file of this machine's TPM"},
    {"--pkcs11-uri", "URI", CMD_TEXT, "pkcs11_uri", false, NULL,
     "a key in a PKCS#11 token, as pkcs11:token=LABEL;id=%01"},
    {"--allow-extractable", NULL, CMD_TRUE, "allow_extractable", false, NULL,
     "adopt it though the token lets it be taken out"},
    DESCRIPTION_OPTIONS,
    {0},
};

static const struct cmd_option list_options[] = {
    {"--role", "user|client|server", CMD_TEXT, "role", false, NULL, "only these"},
    {0},
};

static const struct cmd_option name_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "which key"},
    {0},
};

static const struct cmd_option delete_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "which key"},
    {"--yes", NULL, CMD_TRUE, NULL, false, NULL, "do not ask; only at a terminal you are"},
    {0},
};

static const struct cmd_option export_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "which key"},
    {"--format", "FORMAT", CMD_TEXT, "format", false, "pem",
     "jwk, pem, did, ssh, tss2 or agent.json (pem)"},
    {0},
};

static const char key_fields[] =
    "name role did algorithm kid hsm hsm_kind software pin uri confirm "
    "agent_id display created_at expires_at "
    "hardware note";

static bool
is_pkcs11(const struct json *object, const char *member)
{
    const char *kind = json_get_string(object, member);

    return kind != NULL && strcmp(kind, "pkcs11") == 0;
}

static void
show_key(const struct cmd_context *context, const struct json *result)
{
    cmd_print_fields(result, key_fields);
    if (json_is_true(json_get(result, "software")))
        cmd_note(context, "This key is in a %s: only file permissions protect it.",
                 is_pkcs11(result, "hsm_kind") ? "token in software" : "software TPM");
}

/* The one that params name, or the first; NULL: there is none. */
static const struct json *
wanted_hsm(const struct cmd_context *context, const struct json *status)
{
    const char *wanted = json_get_string(context->params, "hsm");
    const struct json *hsm;

    for (hsm = json_first(json_get(status, "hsms")); hsm != NULL; hsm = json_next(hsm)) {
        const char *name = json_get_string(hsm, "name");

        if (name != NULL && (wanted == NULL || strcmp(wanted, name) == 0))
            return hsm;
    }
    return NULL;
}

/* A TPM that is not there is waited for: half a minute of silence would be taken for a hang. */
static void
say_what_is_waited_for(const struct cmd_context *context, const struct json *hsm)
{
    const char *state = json_get_string(hsm, "state"), *why = json_get_string(hsm, "message");

    if (state == NULL || is_pkcs11(hsm, "kind") ||
        (strcmp(state, "absent") != 0 && strcmp(state, "failed") != 0))
        return;
    cmd_note(context, "Waiting for %s, which is %s%s%s", json_get_string(hsm, "name"), state,
             why == NULL ? "" : ": ", why == NULL ? "" : why);
}

static int
run_with_hardware(struct cmd_context *context)
{
    int status = EXIT_SUCCESS;
    struct ath_client *client = cmd_connect(context, NULL, &status);
    struct json *answer = NULL;
    char *text = NULL;

    if (client == NULL)
        return status;
    /* who may not ask for it waits without being told */
    if (ath_client_call(client, "agent.status", NULL, &text) == ATH_OK)
        answer = cmd_parse(text);
    ath_string_free(text);
    ath_client_free(client);
    say_what_is_waited_for(context, wanted_hsm(context, answer));
    json_free(answer);
    return cmd_run_method(context);
}

const struct cmd cmd_key_group[] = {
    {.noun = "key",
     .verb = "create",
     .method = "key.create",
     .run = run_with_hardware,
     .summary = "Make a key inside the hardware",
     .options = create_options,
     .show_with = show_key,
     .about =
         "A user key signs your grants and confirmations, a client key an AI agent's side of the\n"
         "handshake, a server key an application's. The PIN of a TPM's key has 4 to 32 "
         "characters;\n"
         "the TPM itself does not count wrong ones (athd does), so choose a long one.",
     .examples =
         "  ath key create me --role user --pin\n"
         "  ath key create travel --role client --agent-id https://agents.example/travel \\\n"
         "      --display-name 'Travel agent'\n"
         "  ath key create flights --role server\n"},
    {.noun = "key",
     .verb = "list",
     .method = "key.list",
     .summary = "The keys athd has",
     .options = list_options,
     .show = CMD_SHOW_TABLE,
     .member = "keys",
     .fields = "name role algorithm hsm software did",
     .examples = "  ath key list\n  ath key list --role client --json\n"},
    {.noun = "key",
     .verb = "show",
     .method = "key.get",
     .summary = "All about a key",
     .options = name_options,
     .show_with = show_key,
     .examples = "  ath key show travel\n"},
    {.noun = "key",
     .verb = "delete",
     .method = "key.delete",
     .run = cmd_run_key_delete,
     .summary = "Delete a key",
     .options = delete_options,
     .show = CMD_SHOW_DONE,
     .member = "deleted key",
     .about =
         "A TPM's key: the only blob athd holds is removed; an earlier copy of the file would\n"
         "still work in this TPM. A PKCS#11 token's key is destroyed in the token, also one\n"
         "that was imported: no other program has it then either, and nothing brings it back.",
     .examples = "  ath key delete travel\n"},
    {.noun = "key",
     .verb = "import",
     .method = "key.import",
     .run = run_with_hardware,
     .summary = "Adopt a key that already is in this hardware",
     .options = import_options,
     .either = {"--tss2", "--pkcs11-uri"},
     .show_with = show_key,
     .about =
         "From a TPM by its TSS2 file, from a PKCS#11 token by its URI (RFC 7512;\n"
         "p11tool --list-keys --login shows them); no slot and no PIN stands in it. The PIN of a\n"
         "TPM's key that has one is asked for.",
     .examples = "  ath key import travel --role client --tss2 @travel.tss2.pem\n"
                 "  ath key import me --role user --pkcs11-uri 'pkcs11:token=card;id=%02'\n"},
    {.noun = "key",
     .verb = "export",
     .method = "key.export",
     .summary = "Print a key's public half",
     .options = export_options,
     .show = CMD_SHOW_RAW,
     .member = "data",
     .about = "tss2 is the wrapped blob: of use only to this TPM. agent.json is the identity "
              "document that\n"
              "belongs at the key's agent_id.",
     .examples = "  ath key export travel --format agent.json > agent.json\n"
                 "  ath key export flights --format did\n"},
    {0},
};

/* ---- grants ---- */

static const struct cmd_option issue_options[] = {
    {"--key", "NAME", CMD_TEXT, "key", true, NULL, "your user key"},
    {"--client", "DID", CMD_TEXT, "client", true, NULL, "which agent may act for you"},
    {"--scope", "SCOPE", CMD_LIST, "scopes", true, NULL, "what it may do, as flights:search"},
    {"--audience", "DID", CMD_LIST, "audience", false, NULL, "at which server only"},
    {"--ttl", "SECONDS", CMD_DURATION, "ttl", true, NULL, "for how long: 3600, 2h, 30d"},
    {0},
};

static const struct cmd_option put_options[] = {
    {NULL, "GRANT", CMD_CONTENT, "credential", false, "-",
     "the grant (@FILE); standard input where it is not given"},
    {0},
};

static const struct cmd_option credential_verify_options[] = {
    {NULL, "GRANT", CMD_CONTENT, "credential", false, "-",
     "the grant (@FILE); standard input where it is not given"},
    {"--client", "DID", CMD_TEXT, "client", false, NULL, "whom it must be for"},
    {"--audience", "DID", CMD_TEXT, "audience", false, NULL, "the server it must allow"},
    {0},
};

static const struct cmd_option no_options[] = {{0}};

const struct cmd cmd_credential_group[] = {
    {.noun = "credential",
     .verb = "issue",
     .method = "credential.issue",
     .summary = "Grant an agent scopes, with your user key",
     .options = issue_options,
     .show = CMD_SHOW_RAW,
     .member = "credential",
     .about =
         "You are asked before it is signed. The grant is stored, and printed for another machine.",
     .examples = "  ath credential issue --key me --client did:ath:client_... \\\n"
                 "      --scope 'flights:search flights:book' --ttl 30d\n"},
    {.noun = "credential",
     .verb = "put",
     .method = "credential.put",
     .summary = "Keep a grant that came from another machine",
     .options = put_options,
     .show = CMD_SHOW_DONE,
     .member = "kept the grant",
     .examples = "  ath credential put @grant.jwt\n"},
    {.noun = "credential",
     .verb = "verify",
     .method = "credential.verify",
     .summary = "Check a grant",
     .options = credential_verify_options,
     .show = CMD_SHOW_FIELDS,
     .examples = "  ath credential verify @grant.jwt --client did:ath:client_...\n"},
    {.noun = "credential",
     .verb = "list",
     .method = "credential.list",
     .summary = "The grants athd holds",
     .options = no_options,
     .show = CMD_SHOW_TABLE,
     .member = "credentials",
     .fields = "jti scopes expires_at client_did user_did",
     .examples = "  ath credential list\n"},
    {0},
};
