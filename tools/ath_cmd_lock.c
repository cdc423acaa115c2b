/* `ath lock`, `ath unlock`. */
#include "ath_cmd.h"

static const struct cmd_option no_options[] = {{0}};

static void
show_lock(const struct cmd_context *context, const struct json *result)
{
    const struct json *lock = json_get(result, "lock"), *by;

    (void)context;
    if (!json_is_true(json_get(result, "locked"))) {
        puts("not locked");
        return;
    }
    fputs("locked", stdout);
    for (by = json_first(json_get(lock, "by")); by != NULL; by = json_next(by)) {
        fputs(by == json_first(json_get(lock, "by")) ? " by " : ", ", stdout);
        cmd_print_text(stdout, json_string(by));
    }
    putchar('\n');
}

const struct cmd cmd_lock_group[] = {
    {.noun = "lock",
     .method = "agent.lock",
     .summary = "Let athd sign and change nothing until you unlock it",
     .options = no_options,
     .show_with = show_lock,
     .about =
         "You are asked for a passphrase of your choice, twice, by the prompter. What waits "
         "for\n"
         "hardware or an answer ends, tokens are logged out. It holds across restarts and\n"
         "crashes. Whoever forgets the passphrase removes lock.json from the state directory\n"
         "and starts athd again. An athd for the whole machine (--system) has no prompter and\n"
         "locks nothing; `ath freeze --all` is what it has.",
     .examples = "  ath lock\n"},
    {.noun = "unlock",
     .method = "agent.unlock",
     .summary = "End the lock: by its passphrase, or a yes where there is none",
     .options = no_options,
     .show_with = show_lock,
     .about = "A lock that came because the machine slept or the session was locked (`lock_on` in\n"
              "athd.json(5)) has no passphrase. Wrong ones are followed by longer and longer "
              "pauses.\n"
              "Exit status 77 after a wrong passphrase or a no, 75 in a pause.",
     .examples = "  ath unlock\n"},
    {0},
};
