/* The handshake, message by message; `run` (ath_cmd_handshake_run.c) carries all of them. */
#include "ath_cmd.h"

static const struct cmd_option start_options[] = {
    {"--key", "NAME", CMD_TEXT, "key", true, NULL, "the client key"},
    {"--server", "DID|ORIGIN", CMD_SERVER, "server", true, NULL, "whom to reach"},
    {"--scope", "SCOPE", CMD_LIST, "scopes", true, NULL, "what to ask for"},
    {"--ttl", "SECONDS", CMD_DURATION, "ttl", false, NULL, "for how long (at most 1h)"},
    {"--context", "TEXT", CMD_TEXT, "context", false, NULL, "what for, in words the user is shown"},
    {"--credential", "@FILE", CMD_CONTENT, "credential", false, NULL,
     "the user's grant, instead of a stored one"},
    {"--user-key", "NAME", CMD_TEXT, "user_key", false, NULL,
     "or the user key here that grants it"},
    {0},
};

static const struct cmd_option receive_options[] = {
    {NULL, "HANDSHAKE", CMD_TEXT, "handshake", true, NULL, "which one"},
    {NULL, "MESSAGE", CMD_CONTENT, "message", false, "-",
     "the other side's message (@FILE); standard input where it is not given"},
    {0},
};

static const struct cmd_option accept_options[] = {
    {NULL, "SERVICE", CMD_TEXT, "service", true, NULL, "the service it is for"},
    {NULL, "MESSAGE", CMD_CONTENT, "message", false, "-",
     "the client's first message (@FILE); standard input where it is not given"},
    {"--source", "TEXT", CMD_TEXT, "source", false, NULL, "where it came from, for limits"},
    {0},
};

static const struct cmd_option handshake_options[] = {
    {NULL, "HANDSHAKE", CMD_TEXT, "handshake", true, NULL, "which one"},
    {0},
};

static const struct cmd_option no_options[] = {{0}};

static const struct cmd_option run_options[] = {
    {"--client", "SOCKET", CMD_TEXT, NULL, false, NULL, "athd of the agent (as --socket)"},
    {"--server", "SOCKET", CMD_TEXT, NULL, true, NULL, "athd of the application"},
    {"--user", "SOCKET", CMD_TEXT, NULL, false, NULL, "athd of the user (the agent's)"},
    {"--key", "NAME", CMD_TEXT, "key", true, NULL, "the client key"},
    {"--service", "NAME", CMD_TEXT, NULL, true, NULL, "the application"},
    {"--scope", "SCOPE", CMD_LIST, "scopes", true, NULL, "what to ask for"},
    {"--credential", "@FILE", CMD_CONTENT, "credential", false, NULL,
     "the user's grant, instead of a stored one"},
    {"--user-key", "NAME", CMD_TEXT, NULL, false, NULL, "or the user key that grants it now"},
    {"--context", "TEXT", CMD_TEXT, "context", false, NULL, "what for, in words the user is shown"},
    {"--ttl", "SECONDS", CMD_DURATION, "ttl", false, NULL, "for how long (at most 1h)"},
    {"--origin", "ORIGIN", CMD_TEXT, NULL, false, NULL,
     "reach the application as this origin, not by its DID"},
    {0},
};

static const struct cmd_option confirm_options[] = {
    {"--key", "NAME", CMD_TEXT, "key", true, NULL, "your user key"},
    {NULL, "MESSAGE", CMD_CONTENT, "message", false, "-",
     "the application's question (@FILE); standard input where it is not given"},
    {"--server", "DID", CMD_TEXT, "server", false, NULL, "whom it came from"},
    {0},
};

const struct cmd cmd_handshake_group[] = {
    {.noun = "handshake",
     .verb = "run",
     .method = NULL,
     .summary = "Carry a whole handshake between two or three sockets",
     .options = run_options,
     .run = cmd_run_handshake,
     .about = "Starts it at the client, hands each message to the other side, and the user's "
              "question to\n"
              "the user; prints each step. --json: the client's result, with the server's and the "
              "steps\n"
              "beside it.",
     .examples = "  ath handshake run --client me.sock --server flights.sock --key travel \\\n"
                 "      --service flights --scope 'flights:search flights:book'\n"},
    {.noun = "handshake",
     .verb = "start",
     .method = "handshake.start",
     .summary = "Begin as a client: prints the first message",
     .options = start_options,
     .about = "The result's `send` is what the other side is to be given (--field send prints it "
              "alone);\n"
              "its `handshake` names this handshake, here and only here.",
     .examples =
         "  ath handshake start --key travel --server https://flights.example \\\n"
         "      --scope flights:search --json >started.json\n"
         "  jq -c .send started.json >m1.json; HANDSHAKE=$(jq -r .handshake started.json)\n"},
    {.noun = "handshake",
     .verb = "receive",
     .method = "handshake.receive",
     .summary = "Take the other side's next message",
     .options = receive_options,
     .run = cmd_run_receive,
     .about = "A message that does not belong here ends the handshake. The application's last "
              "answer is two\n"
              "messages in an array: both are taken, in turn. `confirm` is for the user's side "
              "(ath confirm).",
     .examples = "  ath handshake receive \"$HANDSHAKE\" @m2.json --field send >m3.json\n"},
    {.noun = "handshake",
     .verb = "accept",
     .method = "handshake.accept",
     .summary = "Begin as an application, with a client's first message",
     .options = accept_options,
     .about = "The result's `send` goes back to the client; its `handshake` names this handshake "
              "here.",
     .examples = "  ath handshake accept flights @m1.json --json >accepted.json\n"},
    {.noun = "handshake",
     .verb = "get",
     .method = "handshake.get",
     .summary = "Where a handshake stands",
     .options = handshake_options,
     .examples = "  ath handshake get \"$HANDSHAKE\"\n"},
    {.noun = "handshake",
     .verb = "list",
     .method = "handshake.list",
     .summary = "Handshakes under way",
     .options = no_options,
     .show = CMD_SHOW_TABLE,
     .member = "handshakes",
     .fields = "handshake role state service key",
     .examples = "  ath handshake list\n"},
    {.noun = "handshake",
     .verb = "abort",
     .method = "handshake.abort",
     .summary = "Give one up",
     .options = handshake_options,
     .show = CMD_SHOW_DONE,
     .member = "aborted handshake",
     .examples = "  ath handshake abort \"$HANDSHAKE\"\n"},
    {.noun = "confirm",
     .method = "confirmation.answer",
     .summary = "Answer an application's question with your user key",
     .options = confirm_options,
     .show = CMD_SHOW_RAW,
     .member = "send",
     .about = "You are asked by the prompter. What is printed (your no, too) goes back to the "
              "application.",
     .examples = "  ath confirm --key me --server did:ath:server_... @question.json\n"},
    {0},
};
