/* --help, from the table. */
#include "ath_cmd.h"

#include <string.h>

const char *
cmd_name(const struct cmd *command, char *buffer, size_t size)
{
    snprintf(buffer, size, "%s%s%s", command->noun, command->verb == NULL ? "" : " ",
             command->verb == NULL ? "" : command->verb);
    return buffer;
}

static void
print_summary(const struct cmd *command)
{
    char name[64];

    printf("  %-22s %s\n", cmd_name(command, name, sizeof(name)), command->summary);
}

static const char global_help[] =
    "everywhere:\n"
    "  --socket PATH          athd's socket, instead of $ATH_AUTH_SOCK, "
    "$XDG_RUNTIME_DIR/ath/agent.sock,\n"
    "                         /run/ath/agent.sock\n"
    "  --json                 the method's result as JSON; errors too, on standard error\n"
    "  --field NAME           only this member of the result: did, hsms.0.state\n"
    "  -q, --quiet            say nothing but what was asked for\n"
    "  --timeout SECONDS      wait that long for an answer (180)\n"
    "  --trace TRACEPARENT    W3C Trace Context, for audit records and the handshake\n"
    "  --help                 what the command does, with examples\n"
    "  --version              the version\n"
    "\n"
    "exit status: 0 done, 1 failed, 2 athd cannot be reached, 64 wrong usage, 69 hardware "
    "unavailable,\n"
    "75 try again later, 77 denied by policy, user or PIN\n";

void
cmd_help_all(void)
{
    size_t group;
    const struct cmd *command;

    printf("usage: ath COMMAND [ARGUMENTS]\n\n"
           "Talks to athd, the credential agent whose keys live in a TPM or token.\n\ncommands:\n");
    for (group = 0; cmd_groups[group] != NULL; group++) {
        for (command = cmd_groups[group]; command->noun != NULL; command++)
            print_summary(command);
    }
    printf("\n%s\nexamples:\n"
           "  ath doctor\n"
           "  ath key create me --role user\n"
           "  ath key list --json\n",
           global_help);
}

bool
cmd_help_noun(const char *noun)
{
    size_t group;
    const struct cmd *command;
    bool found = false;

    for (group = 0; cmd_groups[group] != NULL; group++) {
        for (command = cmd_groups[group]; command->noun != NULL; command++) {
            if (strcmp(command->noun, noun) != 0)
                continue;
            if (!found)
                printf("usage: ath %s %s[ARGUMENTS]\n\ncommands:\n", noun,
                       command->verb == NULL ? "" : "COMMAND ");
            found = true;
            print_summary(command);
        }
    }
    if (found)
        printf("\n`ath %s COMMAND --help` says more.\n", noun);
    return found;
}

static void
print_usage(const struct cmd *command)
{
    const struct cmd_option *option, *words = NULL;
    bool others = false;
    char name[64];

    printf("usage: ath %s", cmd_name(command, name, sizeof(name)));
    for (option = command->options; option->help != NULL; option++) {
        if (option->flag != NULL && option->required)
            printf(" %s %s", option->flag, option->value);
        else if (option->flag != NULL)
            others = true;
    }
    for (option = command->options; option->help != NULL; option++) {
        if (option->kind == CMD_WORDS)
            words = option;
        else if (option->flag == NULL)
            printf(option->required ? " %s%s" : " [%s%s]", option->value,
                   option->kind == CMD_LIST ? " ..." : "");
    }
    printf("%s%s%s%s\n\n%s.\n", others ? " [OPTIONS]" : "", words == NULL ? "" : " -- ",
           words == NULL ? "" : words->value, words == NULL ? "" : " ...", command->summary);
}

static void
print_options(const struct cmd *command)
{
    const struct cmd_option *option;
    char left[80];

    if (command->options->help != NULL)
        printf("\n");
    for (option = command->options; option->help != NULL; option++) {
        bool repeats =
            option->kind == CMD_LIST || option->kind == CMD_MAP || option->kind == CMD_MAP_LIST;

        snprintf(left, sizeof(left), "%s%s%s", option->flag == NULL ? "" : option->flag,
                 option->flag == NULL || option->value == NULL ? "" : " ",
                 option->value == NULL ? "" : option->value);
        printf(strlen(left) > 26 ? "  %s\n  %-26s " : "  %-26s%s ", left, "");
        printf("%s%s\n", option->help, repeats && option->flag != NULL ? "; may be repeated" : "");
    }
}

void
cmd_help_command(const struct cmd *command)
{
    print_usage(command);
    if (command->about != NULL)
        printf("%s\n", command->about);
    print_options(command);
    if (command->method != NULL)
        printf(
            "\nIt calls the method %s (docs/api.md). `ath --help` has the flags of all commands.\n",
            command->method);
    if (command->examples != NULL)
        printf("\nexamples:\n%s", command->examples);
}
