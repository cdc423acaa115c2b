/* In the place of pinentry; the PIN it gives is 1234. $FAKE_PROMPTER says how it behaves: yes, no,
 * cancel, timeout, error, silent, deaf (silent, and SIGTERM does not end it), mute (no greeting),
 * gone (ends after the greeting), garbage. What it was told goes to $FAKE_PROMPTER_LOG, the
 * variable's value first. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
say(const char *line)
{
    if (printf("%s\n", line) < 0 || fflush(stdout) != 0)
        exit(2);
}

static void
note(const char *line)
{
    const char *path = getenv("FAKE_PROMPTER_LOG");
    FILE *log = path == NULL ? NULL : fopen(path, "a");

    if (log == NULL)
        return;
    fprintf(log, "%s", line);
    fclose(log);
}

static void
confirm(const char *mode)
{
    if (strcmp(mode, "yes") == 0)
        say("OK");
    else if (strcmp(mode, "no") == 0)
        say("ERR 83886194 Not confirmed <Pinentry>");
    else if (strcmp(mode, "cancel") == 0)
        say("ERR 83886179 Operation cancelled <Pinentry>");
    else if (strcmp(mode, "timeout") == 0)
        say("ERR 83886142 Timeout <Pinentry>");
    else if (strcmp(mode, "error") == 0)
        say("ERR 83886163 Inappropriate ioctl for device <Pinentry>");
    else if (strcmp(mode, "garbage") == 0)
        say("\x01\x02 what is this");
    else
        for (;;)
            pause();
}

static void
give_pin(const char *mode)
{
    if (strcmp(mode, "yes") == 0)
        say("D 1234\nOK");
    else
        confirm(mode);
}

int
main(void)
{
    const char *mode = getenv("FAKE_PROMPTER");
    char line[4096];

    if (mode == NULL || strcmp(mode, "mute") == 0)
        for (;;)
            pause();
    if (strcmp(mode, "deaf") == 0)
        signal(SIGTERM, SIG_IGN);
    snprintf(line, sizeof(line), "START %s %ld\n", mode, (long)getpid());
    note(line);
    say("OK Pleased to meet you");
    if (strcmp(mode, "gone") == 0)
        return 0;
    while (fgets(line, sizeof(line), stdin) != NULL) {
        note(line);
        if (strncmp(line, "CONFIRM", 7) == 0)
            confirm(mode);
        else if (strncmp(line, "GETPIN", 6) == 0)
            give_pin(mode);
        else if (strncmp(line, "OPTION", 6) == 0)
            say("ERR 83886254 Unknown option <Pinentry>");
        else
            say("OK");
        if (strncmp(line, "BYE", 3) == 0)
            return 0;
    }
    return 0;
}
