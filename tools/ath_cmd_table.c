/* Commands about athd itself, attestations and peers; and the order of all groups. */
#include "ath_cmd.h"

const struct cmd *const cmd_groups[] = {
    cmd_agent_group,
    cmd_key_group,
    cmd_attest_group,
    cmd_credential_group,
    cmd_service_group,
    cmd_handshake_group,
    cmd_session_group,
    cmd_peer_group,
    cmd_grant_group,
    cmd_consent_group,
    cmd_policy_group,
    cmd_lock_group,
    cmd_audit_group,
    NULL,
};

static const struct cmd_option no_options[] = {{0}};

static const struct cmd_option hello_options[] = {
    {NULL, "CLIENT", CMD_TEXT, "client", false, "ath", "how the caller calls itself"},
    {0},
};

static const struct cmd_option events_options[] = {
    {NULL, "TOPIC", CMD_LIST, "topics", false, "consent hsm key audit lock",
     "consent, hsm, key, audit or lock; all where none is named"},
    {0},
};

static const struct cmd_option call_options[] = {
    {NULL, "METHOD", CMD_TEXT, NULL, true, NULL, "name of a method of docs/api.md"},
    {NULL, "JSON", CMD_JSON, NULL, false, NULL,
     "its params: an object, @FILE, or - for standard input"},
    {0},
};

const struct cmd cmd_agent_group[] = {
    {.noun = "doctor",
     .summary = "Look at everything that can be wrong, and say what to do",
     .options = no_options,
     .run = cmd_run_doctor,
     .about = "It finds the socket, asks athd how its TPMs and tokens are, and looks at "
              "permissions, the\n"
              "prompter and the terminal. Exit status 1 if anything would keep athd from its work.",
     .examples = "  ath doctor\n  ath doctor --json\n"},
    {.noun = "status",
     .method = "agent.status",
     .summary = "What athd is doing, and how its hardware is",
     .options = no_options,
     .run = cmd_run_status,
     .about = "At the socket of a grant it tells first what that may do.",
     .examples = "  ath status\n  ath status --json | jq .hsms\n"},
    {.noun = "hello",
     .method = "agent.hello",
     .summary = "Who athd takes you for, and what it can do",
     .options = hello_options,
     .examples = "  ath hello\n"},
    {.noun = "events",
     .method = "events.subscribe",
     .summary = "Print what happens, a line of JSON an event, until ended",
     .options = events_options,
     .run = cmd_run_events,
     .examples = "  ath events\n  ath events hsm key\n"},
    {.noun = "call",
     .summary = "Call any method",
     .options = call_options,
     .run = cmd_run_call,
     .examples = "  ath call agent.status\n"
                 "  ath call key.get '{\"name\":\"travel\"}'\n"
                 "  ath call handshake.receive @message.json\n"},
    {0},
};

/* ---- attestations ---- */

static const struct cmd_option attest_options[] = {
    {NULL, "KEY", CMD_TEXT, "key", true, NULL, "a client key that has an agent_id"},
    {"--audience", "URI", CMD_LIST, "audience", true, NULL, "who is to accept it"},
    {"--ttl", "SECONDS", CMD_DURATION, "ttl", false, NULL, "how long it is valid (5m; at most 1h)"},
    {"--capability", "NAME", CMD_LIST, "capabilities", false, NULL, "a capability to claim"},
    {"--issuer", "agent_id|origin", CMD_TEXT, "issuer", false, NULL, "what `iss` is"},
    {0},
};

static const struct cmd_option verify_options[] = {
    {NULL, "JWT", CMD_SECRET, "jwt", false, "-",
     "the attestation: @FILE; standard input where it is not given"},
    {"--audience", "URI", CMD_TEXT, "audience", true, NULL, "whom it must be for"},
    {"--public-key", "@FILE", CMD_PUBLIC_KEY, "public_key", false, NULL,
     "PEM or JWK of who must have signed it"},
    {"--identity-document", "@FILE", CMD_JSON, "identity_document", false, NULL,
     "or the agent's identity document"},
    {0},
};

const struct cmd cmd_attest_group[] = {
    {.noun = "attest",
     .method = "attestation.create",
     .summary = "Make an attestation, a JWT signed in the hardware",
     .options = attest_options,
     .show = CMD_SHOW_RAW,
     .member = "jwt",
     .examples = "  ath attest travel --audience https://flights.example\n"
                 "  curl -H \"Authorization: Bearer $(ath attest travel --audience "
                 "https://flights.example)\" ...\n"},
    {.noun = "verify",
     .method = "attestation.verify",
     .summary = "Verify somebody's attestation",
     .options = verify_options,
     .member = "claims",
     .about = "It is taken once: a second time it is REPLAYED.",
     .examples =
         "  ath verify @attestation.jwt --audience https://me.example --public-key @agent.pem\n"},
    {0},
};

/* ---- peers ---- */

static const struct cmd_option peer_pin_options[] = {
    {NULL, "DID", CMD_TEXT, "did", true, NULL, "whom"},
    {"--public-key", "@FILE", CMD_PUBLIC_KEY, "public_key", false, NULL,
     "its key, PEM or JWK, unless the DID proves it by itself"},
    {"--origin", "ORIGIN", CMD_TEXT, "origin", false, NULL, "the https origin that is this DID"},
    {"--name", "NAME", CMD_TEXT, "name", false, NULL, "how questions to you call it"},
    {0},
};

static const struct cmd_option peer_remove_options[] = {
    {NULL, "DID", CMD_TEXT, "did", true, NULL, "whom"},
    {0},
};

const struct cmd cmd_peer_group[] = {
    {.noun = "peer",
     .verb = "pin",
     .method = "peer.pin",
     .summary = "Tie a DID to a key, an origin, a name",
     .options = peer_pin_options,
     .show = CMD_SHOW_DONE,
     .member = "pinned",
     .about = "It takes the place of an earlier pin of this DID: what is not given is not kept.",
     .examples =
         "  ath peer pin did:ath:server_... --origin https://flights.example --name flights\n"
         "  ath peer pin did:web:flights.example --public-key @server.pem\n"},
    {.noun = "peer",
     .verb = "list",
     .method = "peer.list",
     .summary = "Who is pinned",
     .options = no_options,
     .show = CMD_SHOW_TABLE,
     .member = "peers",
     .fields = "name origin did",
     .examples = "  ath peer list\n"},
    {.noun = "peer",
     .verb = "remove",
     .method = "peer.remove",
     .summary = "Forget a pin",
     .options = peer_remove_options,
     .show = CMD_SHOW_DONE,
     .member = "removed",
     .examples = "  ath peer remove did:web:flights.example\n"},
    {0},
};
