/* Does a program that is to show questions greet as a prompter does? Found out before anything is
 * promised: who is told "shown from here" looks nowhere else. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ath_cmd_consent_prompter.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/spawn.h"

#define GREETING_MS 30000u
#define GREETING_MAX 1024u
#define END_MS 5000u

struct greeting {
    char line[GREETING_MAX + 1];
    size_t len;
    bool is_whole; /* its line end was there */
    bool is_late;
};

/* Until the first line is there, or none will come. */
static void
read_greeting(int fd, struct greeting *greeting)
{
    uint64_t until_ms = clock_monotonic_ms() + GREETING_MS, now_ms;
    struct pollfd entry = {.fd = fd, .events = POLLIN};

    while (!greeting->is_whole && greeting->len < GREETING_MAX) {
        ssize_t n;
        char *end;

        now_ms = clock_monotonic_ms();
        greeting->is_late = now_ms >= until_ms;
        if (greeting->is_late)
            return;
        if (poll(&entry, 1, (int)(until_ms - now_ms)) <= 0)
            continue;
        n = read(fd, greeting->line + greeting->len, GREETING_MAX - greeting->len);
        if (n <= 0)
            return;
        greeting->len += (size_t)n;
        if ((end = memchr(greeting->line, '\n', greeting->len)) != NULL) {
            greeting->is_whole = true;
            *end = '\0';
        }
    }
}

static ath_err
say_end(const char *program, int status, struct why *why)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return why_set(why, ATH_ERR_NO_PROMPTER,
                       "%s cannot be run: there is no such program%s, or it may not be executed; "
                       "name a pinentry (of Debian's pinentry-gnome3, pinentry-qt or pinentry-tty)",
                       program, strchr(program, '/') == NULL ? " in $PATH" : "");
    return why_set(why, ATH_ERR_NO_PROMPTER,
                   "%s does not work: it ended with %s %d before it greeted (run it by hand: a "
                   "pinentry says OK)",
                   program, WIFEXITED(status) ? "exit status" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static ath_err
judge(const char *program, const struct greeting *greeting, int status, struct why *why)
{
    if (greeting->is_late)
        return why_set(why, ATH_ERR_NO_PROMPTER,
                       "%s does not work: it does not greet, as a pinentry does", program);
    if (greeting->len == 0)
        return say_end(program, status, why);
    if (greeting->is_whole && strncmp(greeting->line, "OK", 2) == 0 &&
        (greeting->line[2] == '\0' || greeting->line[2] == ' '))
        return ATH_OK;
    return why_set(why, ATH_ERR_NO_PROMPTER,
                   "%s is no pinentry: it began with \"%.100s\" where one says OK", program,
                   greeting->line);
}

/* It has shown nothing yet. One that ends by itself has a status of its own. */
static int
end_child(pid_t pid, struct greeting *greeting)
{
    uint64_t until_ms = clock_monotonic_ms() + END_MS;
    int status = 0;

    while (greeting->len == 0 && !greeting->is_late) {
        if (waitpid(pid, &status, WNOHANG) != 0)
            return status;
        greeting->is_late = clock_monotonic_ms() >= until_ms; /* it closed its output, and stays */
        (void)poll(NULL, 0, 10);
    }
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL); /* it may not have its session yet */
    (void)waitpid(pid, &status, 0);
    return status;
}

ath_err
consent_prompter_check(const char *program, struct why *why)
{
    const char *arguments[] = {program, NULL};
    struct spawn_params params = {
        .program = program,
        .arguments = (char *const *)(uintptr_t)arguments, /* execve(2) does not change them */
        .environment = environ,
        .own_group = true,
    };
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    struct greeting greeting = {.len = 0};
    int status;
    ath_err err;
    pid_t pid;

    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        err =
            why_set(why, ATH_ERR_NO_PROMPTER, "%s cannot be started: %s", program, strerror(errno));
        goto out;
    }
    params.input = to[0];
    params.output = from[1];
    if ((err = spawn_program(&params, &pid)) != ATH_OK) {
        (void)why_set(why, err, "%s cannot be started: no more processes", program);
        goto out;
    }
    fd_close(&to[0]);
    fd_close(&from[1]);
    read_greeting(from[0], &greeting);
    status = end_child(pid, &greeting);
    err = judge(program, &greeting, status, why);
out:
    fd_close(&to[0]);
    fd_close(&to[1]);
    fd_close(&from[0]);
    fd_close(&from[1]);
    return err;
}
