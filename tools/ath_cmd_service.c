/* An application's side: services; and the sessions of both sides. */
#include "ath_cmd.h"

static const struct cmd_option put_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "what you call it"},
    {"--key", "NAME", CMD_TEXT, "key", true, NULL, "its server key, used by no other service"},
    {"--scope", "SCOPE", CMD_LIST, "scopes_supported", true, NULL, "a scope it knows"},
    {"--token-max-ttl", "SECONDS", CMD_DURATION, "token_max_ttl", false, "1h",
     "how long access lasts at most (1h)"},
    {"--confirmation", "yes|no", CMD_BOOL, "require_user_confirmation", false, "yes",
     "ask the user each time (yes), or does the user's grant suffice"},
    {"--agent", "DID=SCOPES", CMD_MAP_LIST, "agents", true, NULL,
     "what this agent may have at most (`*`: any agent)"},
    {"--user", "DID=ACCOUNT", CMD_MAP, "users", true, NULL,
     "which account this user is (`*`: anybody who makes a key)"},
    {"--origin", "ORIGIN", CMD_LIST, "origins", false, NULL, "where it is served"},
    {"--bearer", NULL, CMD_TRUE, "bearer", false, NULL,
     "take tokens without proof of their holder"},
    {"--restrictions", "JSON", CMD_JSON, "restrictions", false, NULL, "put into every token"},
    {0},
};

static const struct cmd_option name_options[] = {
    {NULL, "NAME", CMD_TEXT, "name", true, NULL, "which service"},
    {0},
};

static const struct cmd_option no_options[] = {{0}};

const struct cmd cmd_service_group[] = {
    {.noun = "service",
     .verb = "put",
     .method = "service.put",
     .summary = "Configure an application, or change it",
     .options = put_options,
     .show = CMD_SHOW_DONE,
     .member = "configured service",
     .about = "It takes the place of an earlier one of this name: what is not given is not kept.",
     .examples =
         "  ath service put flights --key flights --scope 'flights:search flights:book' \\\n"
         "      --agent '*=flights:search' --user did:ath:user_...=alice\n"
         "  ath call service.put @flights.json   # the same, from a file (docs/api.md)\n"},
    {.noun = "service",
     .verb = "list",
     .method = "service.list",
     .summary = "The applications configured here",
     .options = no_options,
     .show = CMD_SHOW_TABLE,
     .member = "services",
     .fields = "name key scopes_supported require_user_confirmation token_max_ttl origins",
     .examples = "  ath service list\n"},
    {.noun = "service",
     .verb = "delete",
     .method = "service.delete",
     .summary = "Delete an application",
     .options = name_options,
     .show = CMD_SHOW_DONE,
     .member = "deleted service",
     .examples = "  ath service delete flights\n"},
    {0},
};

/* ---- sessions ---- */

static const struct cmd_option seal_options[] = {
    {NULL, "SESSION", CMD_TEXT, "session", true, NULL,
     "the session, as a handshake's result names it"},
    {NULL, "PLAINTEXT", CMD_BYTES, "plaintext", false, "-",
     "what to seal: @FILE; standard input where it is not given"},
    {"--re", "NUMBER", CMD_INT, "re", false, NULL,
     "the number (seq) of the message this one answers"},
    {0},
};

static const struct cmd_option open_options[] = {
    {NULL, "SESSION", CMD_TEXT, "session", true, NULL, "the session"},
    {NULL, "JWE", CMD_CONTENT, "jwe", false, "-",
     "what the other side sealed (@FILE); standard input where it is not given"},
    {0},
};

static const struct cmd_option session_options[] = {
    {NULL, "SESSION", CMD_TEXT, "session", true, NULL, "the session"},
    {0},
};

static const struct cmd_option token_verify_options[] = {
    {NULL, "TOKEN", CMD_SECRET, "token", false, "-",
     "the token: @FILE; standard input where it is not given"},
    {"--service", "NAME", CMD_TEXT, "service", true, NULL, "the service it must be for"},
    {"--scope", "SCOPE", CMD_TEXT, "scope", false, NULL, "a scope it must hold"},
    {"--session", "SESSION", CMD_TEXT, "session", false, NULL, "the session it came through"},
    {"--proof", "@FILE", CMD_SECRET, "proof", false, NULL, "or the DPoP proof that came with it"},
    {0},
};

const struct cmd cmd_session_group[] = {
    {.noun = "session",
     .verb = "seal",
     .method = "session.seal",
     .summary = "Encrypt a message for the session's other side",
     .options = seal_options,
     .show = CMD_SHOW_RAW,
     .member = "jwe",
     .examples = "  printf 'two seats to Oslo' | ath session seal \"$SESSION\"\n"},
    {.noun = "session",
     .verb = "open",
     .method = "session.open",
     .summary = "Decrypt a message of the session's other side",
     .options = open_options,
     .show = CMD_SHOW_BYTES,
     .member = "plaintext",
     .examples = "  ath session open \"$SESSION\" @message.jwe\n"},
    {.noun = "session",
     .verb = "token",
     .method = "session.token",
     .summary = "The access token of a client's session",
     .options = session_options,
     .show = CMD_SHOW_RAW,
     .member = "access_token",
     .examples = "  ath session token \"$SESSION\"\n"},
    {.noun = "session",
     .verb = "list",
     .method = "session.list",
     .summary = "Open sessions",
     .options = no_options,
     .show = CMD_SHOW_TABLE,
     .member = "sessions",
     .fields = "session role service scopes expires_at",
     .examples = "  ath session list\n"},
    {.noun = "session",
     .verb = "close",
     .method = "session.close",
     .summary = "End a session and wipe its keys",
     .options = session_options,
     .show = CMD_SHOW_DONE,
     .member = "closed session",
     .examples = "  ath session close \"$SESSION\"\n"},
    {.noun = "token",
     .verb = "verify",
     .method = "token.verify",
     .summary = "Verify an access token (an application's side)",
     .options = token_verify_options,
     .show = CMD_SHOW_FIELDS,
     .member = "claims",
     .examples = "  ath token verify @token.jwt --service flights --session \"$SESSION\" \\\n"
                 "      --scope flights:search\n"},
    {0},
};
