/* Sets of methods. A group is what names of one kind begin with, so that methods which come later
 * are in it by themselves. */
#include <string.h>

#include "policy/policy_rules.h"

static const struct {
    const char *name;
    const char *members; /* patterns, separated by single spaces */
} groups[] = {
    {"group:agent", "agent.hello agent.status events.subscribe"},
    {"group:keys", "key.*"},
    {"group:keys-read", "key.list key.get key.export"},
    {"group:attest", "attestation.*"},
    {"group:handshake",
     "handshake.start handshake.receive handshake.get handshake.list handshake.abort session.*"},
    {"group:application", "handshake.accept handshake.receive handshake.get handshake.list "
                          "handshake.abort session.* token.verify service.list"},
    {"group:use", "agent.hello agent.status key.list key.get key.export attestation.* handshake.* "
                  "session.* token.verify credential.list credential.verify events.subscribe"},
    {"group:services", "service.*"},
    {"group:user", "confirmation.answer credential.*"},
    {"group:peers", "peer.*"},
    {"group:grants", "grant.*"},
    {"group:consent", "consent.*"},
    {"group:audit", "audit.*"},
    {"group:policy", "policy.*"},
};

static bool
add_pattern(const char *pattern, size_t len, uint64_t methods[POLICY_METHOD_WORDS])
{
    size_t literal = len > 0 && pattern[len - 1] == '*' ? len - 1 : len;
    bool is_found = false;

    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        const char *name = method_at((enum rpc_method_id)i)->name;

        if (strncmp(name, pattern, literal) != 0 || (literal == len && name[len] != '\0'))
            continue;
        methods[i / 64] |= UINT64_C(1) << i % 64;
        is_found = true;
    }
    return is_found;
}

static bool
add_group(const char *members, uint64_t methods[POLICY_METHOD_WORDS])
{
    for (const char *at = members; *at != '\0';) {
        size_t len = strcspn(at, " ");

        (void)add_pattern(at, len, methods); /* one that this athd does not have yet adds nothing */
        at += len + (at[len] == ' ');
    }
    return true;
}

bool
policy_methods_add(const char *text, uint64_t methods[POLICY_METHOD_WORDS])
{
    size_t len = strlen(text);

    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        if (strcmp(groups[i].name, text) == 0)
            return add_group(groups[i].members, methods);
    /* a star stands behind a dot or alone: "k*" would be a guess */
    if (len > 1 && text[len - 1] == '*' && text[len - 2] != '.')
        return false;
    return len > 0 && add_pattern(text, len, methods);
}

bool
policy_rule_has_method(const struct policy_rule *rule, enum rpc_method_id method)
{
    return (rule->methods[method / 64] >> method % 64 & 1) != 0;
}

bool
policy_method_signs(enum rpc_method_id method)
{
    return method == RPC_ATTESTATION_CREATE || method == RPC_HANDSHAKE_START ||
           method == RPC_HANDSHAKE_RECEIVE || method == RPC_HANDSHAKE_ACCEPT ||
           method == RPC_CREDENTIAL_ISSUE || method == RPC_CONFIRMATION_ANSWER;
}
