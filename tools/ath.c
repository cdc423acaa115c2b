/* `ath`, the command line of athd: finds the command and hands over (ath_cmd.h). */
#include "ath_cmd.h"
#include "ath_cmd_run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ath/version.h"

/* The command of these words; *ret_words is how many of them its name takes. */
static const struct cmd *
find_command(const char *noun, const char *verb, int *ret_words)
{
    size_t group;
    const struct cmd *command;

    for (group = 0; cmd_groups[group] != NULL; group++) {
        for (command = cmd_groups[group]; command->noun != NULL; command++) {
            if (strcmp(command->noun, noun) != 0)
                continue;
            if (command->verb != NULL && (verb == NULL || strcmp(command->verb, verb) != 0))
                continue;
            *ret_words = command->verb == NULL ? 1 : 2;
            return command;
        }
    }
    return NULL;
}

static bool
has_nouns_command(const char *noun)
{
    size_t group;
    const struct cmd *command;

    for (group = 0; cmd_groups[group] != NULL; group++) {
        for (command = cmd_groups[group]; command->noun != NULL; command++) {
            if (strcmp(command->noun, noun) == 0)
                return true;
        }
    }
    return false;
}

static bool
wants_help(const char *word)
{
    return word != NULL &&
           (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0);
}

static int
run(struct cmd_context *context, int argc, char **argv)
{
    struct json_maker params, extra;
    bool help = false;
    int status;
    ath_err err;

    json_object_begin(&params);
    json_object_begin(&extra);
    context->params = params.root;
    context->extra = extra.root;
    if (context->params == NULL || context->extra == NULL) {
        status = EXIT_FAILURE;
        goto out;
    }
    err = cmd_options_read(context, argc, argv, &help);
    if (help) {
        cmd_help_command(context->command);
        status = EXIT_SUCCESS;
    } else if (err != ATH_OK) {
        status = ath_err_exit_status(err);
    } else {
        status = context->command->run != NULL ? context->command->run(context)
                                               : cmd_run_method(context);
    }
    if (fflush(stdout) != 0 && status == EXIT_SUCCESS)
        status = EXIT_FAILURE;
out:
    json_free(context->params);
    json_free(context->extra);
    return status;
}

/* Flags in front of the command. Returns the index of the command's first word, or of argc. */
static int
read_leading_flags(struct cmd_context *context, int argc, char **argv, ath_err *ret_err)
{
    int i;

    *ret_err = ATH_OK;
    for (i = 1; i < argc && argv[i][0] == '-'; i++) {
        if (!cmd_global_flag(context, argc, argv, &i, ret_err) || *ret_err != ATH_OK)
            break;
    }
    return i;
}

/* `ath help [NOUN [VERB]]` */
static int
help_on(const char *noun, const char *verb)
{
    int words;
    const struct cmd *command;

    if (noun == NULL)
        cmd_help_all();
    else if ((command = find_command(noun, verb, &words)) != NULL)
        cmd_help_command(command);
    else if (verb != NULL || !cmd_help_noun(noun))
        return cmd_error("%s%s%s: no such command; see ath --help", noun, verb == NULL ? "" : " ",
                         verb == NULL ? "" : verb);
    return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
    struct cmd_context context = {.timeout_ms = ATH_CLIENT_TIMEOUT_MS};
    const char *noun, *verb, *no_colour = getenv("NO_COLOR");
    int first, words = 0;
    ath_err err;

    if (argc == 2 && strcmp(argv[1], RUN_STAGE_WORD) == 0)
        return run_stage_main();
    signal(SIGPIPE, SIG_DFL); /* `ath key list | head` ends quietly, whatever started it had set */
    context.colour = isatty(STDOUT_FILENO) != 0 && (no_colour == NULL || no_colour[0] == '\0');
    first = read_leading_flags(&context, argc, argv, &err);
    if (err != ATH_OK)
        return ath_err_exit_status(err);
    noun = first < argc ? argv[first] : NULL;
    verb = first + 1 < argc ? argv[first + 1] : NULL;
    if (noun != NULL && strcmp(noun, "--version") == 0) {
        printf("ath %s\n", ATH_VERSION);
        return EXIT_SUCCESS;
    }
    if (noun == NULL) {
        cmd_help_all();
        return ath_err_exit_status(ATH_ERR_USAGE);
    }
    if (wants_help(noun))
        return help_on(verb, first + 2 < argc ? argv[first + 2] : NULL);
    if ((context.command = find_command(noun, verb, &words)) != NULL)
        return run(&context, argc - first - words, argv + first + words);
    if (has_nouns_command(noun) && (verb == NULL || wants_help(verb))) {
        cmd_help_noun(noun);
        return verb == NULL ? ath_err_exit_status(ATH_ERR_USAGE) : EXIT_SUCCESS;
    }
    return cmd_error("%s%s%s: no such command; see ath --help", noun, verb == NULL ? "" : " ",
                     verb == NULL ? "" : verb);
}
