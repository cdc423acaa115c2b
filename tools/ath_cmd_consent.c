/* `ath consent`: answering athd's questions. */
#include "ath_cmd_consent.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ath_cmd_consent_tty.h"
#include "ath_cmd_consent_words.h"
#include "base/clock.h"

static const struct cmd_option attend_options[] = {
    {"--prompter", "PROGRAM", CMD_TEXT, NULL, false, NULL,
     "show each question by this program (pinentry), started from here, instead of this terminal"},
    {"--pinentry", "PROGRAM", CMD_TEXT, NULL, false, NULL,
     "enter PINs in this program at this terminal (pinentry, unless named)"},
    {0},
};

static const struct cmd_option list_options[] = {
    {NULL, "ID", CMD_TEXT, "id", false, NULL, "this question alone"},
    {0},
};

static const struct cmd_option answer_options[] = {
    {NULL, "ID", CMD_TEXT, "id", true, NULL, "the question's, as `ath consent list` has it"},
    {"--approve", NULL, CMD_TRUE, "approve", false, NULL, "yes"},
    {"--refuse", NULL, CMD_TRUE, NULL, false, NULL, "no"},
    {"--scope", "SCOPE", CMD_LIST, "scopes", false, NULL, "yes to these scopes only"},
    {"--for", "DURATION", CMD_DURATION, "remember.seconds", false, NULL,
     "and to the same without asking, for so long (at most 24h)"},
    {"--times", "N", CMD_INT, "remember.uses", false, NULL,
     "and to the same without asking, so many times (at most 10000)"},
    {"--freeze", NULL, CMD_TRUE, "freeze", false, NULL,
     "no, and the key signs nothing until `ath unfreeze`"},
    {0},
};

static const struct cmd_option forget_options[] = {
    {NULL, "ID", CMD_TEXT, "id", true, NULL, "as `ath consent list` has it"},
    {0},
};

static const struct cmd_option environment_options[] = {{0}};

/* ---- list ---- */

/* 0: as long as they are, for whatever reads them. */
static size_t
columns_of_output(void)
{
    size_t columns = 0, rows;

    if (isatty(STDOUT_FILENO) != 0)
        consent_tty_size(&columns, &rows);
    return columns;
}

static void
put_question(const struct json *question, size_t columns, struct ath_buf *out)
{
    const char *text = json_get_string(question, "text");

    consent_words_heading(question, 0, clock_now(), out);
    ath_buf_put_byte(out, '\n');
    consent_words_block(text == NULL ? "(`ath consent list` and its id show its words)" : text,
                        columns, out);
    ath_buf_put_byte(out, '\n');
}

static void
put_pin(const struct json *pin, size_t columns, struct ath_buf *out)
{
    put_question(pin, columns, out);
    ath_buf_put_string(out,
                       json_is_true(json_get(pin, "taken"))
                           ? "It is being entered.\n\n"
                           : "`ath consent` enters it; `ath consent answer` can refuse it.\n\n");
}

static void
show_list(const struct cmd_context *context, const struct json *result)
{
    const struct json *question = json_first(json_get(result, "questions"));
    const struct json *pin = json_first(json_get(result, "pins"));
    struct ath_buf out = {.max = 16u * 1024 * 1024};
    size_t columns = columns_of_output();

    if (question == NULL && pin == NULL)
        cmd_note(context, "no question waits");
    for (; question != NULL; question = json_next(question))
        put_question(question, columns, &out);
    for (; pin != NULL; pin = json_next(pin))
        put_pin(pin, columns, &out);
    consent_words_rules(result, false, clock_now(), columns, &out);
    cmd_print_part(ath_buf_text(&out));
    ath_buf_done(&out);
}

/* ---- answer ---- */

static int
run_answer(struct cmd_context *context)
{
    struct json_maker params = {.root = context->params, .err = ATH_OK};

    if (json_get(context->params, "approve") == NULL)
        json_put_bool(&params, "approve", false);
    else if (json_get(context->params, "freeze") != NULL)
        return cmd_error("--freeze goes with --refuse");
    if (json_get(context->extra, "--refuse") != NULL &&
        (json_get(context->params, "scopes") != NULL ||
         json_get(context->params, "remember") != NULL))
        return cmd_error("--scope, --for and --times go with --approve");
    return cmd_run_method(context);
}

/* ---- environment ---- */

static void
put_terminal(struct json_maker *params)
{
    char path[256];

    if (json_get(params->root, "GPG_TTY") == NULL &&
        ttyname_r(STDIN_FILENO, path, sizeof(path)) == 0)
        json_put_string(params, "GPG_TTY", path);
}

static int
run_environment(struct cmd_context *context)
{
    static const char *const names[] = {"DISPLAY",
                                        "WAYLAND_DISPLAY",
                                        "XAUTHORITY",
                                        "DBUS_SESSION_BUS_ADDRESS",
                                        "XDG_RUNTIME_DIR",
                                        "XDG_SESSION_TYPE",
                                        "GPG_TTY",
                                        "TERM",
                                        "LANG",
                                        "LC_ALL",
                                        "LC_CTYPE",
                                        "LC_MESSAGES"};
    struct json_maker params = {.root = context->params, .err = ATH_OK};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && value[0] != '\0')
            json_put_string(&params, names[i], value);
        if (params.err != ATH_OK)
            return cmd_error("%s is not UTF-8 text", names[i]);
    }
    put_terminal(&params);
    return cmd_run_method(context);
}

const struct cmd cmd_consent_group[] = {
    {.noun = "consent",
     .verb = "list",
     .method = "consent.list",
     .summary = "Show what waits for an answer, what is allowed for a while, who was refused",
     .options = list_options,
     .show_with = show_list,
     .examples = "  ath consent list\n  ath consent list --field questions.0.id\n"},
    {.noun = "consent",
     .verb = "answer",
     .method = "consent.answer",
     .summary = "Answer a question",
     .options = answer_options,
     .show = CMD_SHOW_DONE,
     .member = "answered",
     .run = run_answer,
     .about = "--scope where the question's can_narrow is yes; --for and --times where its "
              "can_remember is.",
     .examples = "  ath consent answer 12 --approve --scope mail:read --times 20 --for 2h\n"
                 "  ath consent answer 12 --refuse --freeze\n",
     .either = {"--approve", "--refuse"}},
    {.noun = "consent",
     .verb = "forget",
     .method = "consent.forget",
     .summary = "End what is allowed for a while, or a pause after refusals",
     .options = forget_options,
     .show = CMD_SHOW_DONE,
     .member = "forgot",
     .examples = "  ath consent forget 7\n"},
    {.noun = "consent",
     .verb = "environment",
     .method = "consent.environment",
     .summary = "Have athd's prompter use this terminal or desktop from now on",
     .options = environment_options,
     .show = CMD_SHOW_DONE,
     .member = "athd asks here now",
     .run = run_environment,
     .about = "It sends DISPLAY, WAYLAND_DISPLAY, XAUTHORITY, DBUS_SESSION_BUS_ADDRESS, "
              "XDG_RUNTIME_DIR,\nXDG_SESSION_TYPE, GPG_TTY (else this terminal), TERM, LANG, "
              "LC_ALL, LC_CTYPE and LC_MESSAGES.",
     .examples = "  ath consent environment\n"},
    {.noun = "consent",
     .summary = "Answer athd's questions at this terminal, as they come",
     .options = attend_options,
     .run = cmd_run_consent,
     .about = "While it runs they come here instead of to athd's prompter. A key answers the "
              "question that stands\nthere, if it is pressed after the question was shown: what "
              "was typed before says nothing.\n"
              "With --prompter they are shown on this desktop instead, for an athd that was "
              "started without it.\n"
              "PINs are entered in a pinentry that is started from here and talks with the helper "
              "that needs them:\nneither athd nor this program reads one.\n"
              "`ath consent list`, `answer`, `forget` and `environment` are for programs and "
              "scripts.",
     .examples = "  ath consent\n  ath consent --prompter pinentry\n"},
    {0},
};
