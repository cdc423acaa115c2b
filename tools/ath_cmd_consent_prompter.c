#include "ath_cmd_consent_prompter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/spawn.h"

#define KILL_AFTER_MS 1000u

struct consent_prompter {
    struct pinentry *pinentry; /* NULL: somebody else talks to it */
    pid_t pid;
    int to, from; /* its standard input and output; -1: somebody else's */
    bool is_ending;
    uint64_t kill_at_ms;
};

static ath_err
start_child(struct consent_prompter *prompter, const char *program, int input, int output)
{
    const char *arguments[] = {program, NULL};
    const struct spawn_params params = {
        .program = program,
        .arguments = (char *const *)(uintptr_t)arguments, /* execve(2) does not change them */
        .environment = environ,
        .input = input,
        .output = output,
        .own_group = true,
    };

    return spawn_program(&params, &prompter->pid) == ATH_OK ? ATH_OK : ATH_ERR_NO_PROMPTER;
}

ath_err
consent_prompter_start(const char *program, const struct pinentry_question *question,
                       struct consent_prompter **ret_prompter)
{
    struct consent_prompter *prompter = calloc(1, sizeof(*prompter));
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    ath_err err = ATH_ERR_NOMEM;

    if (prompter == NULL)
        return err;
    prompter->to = prompter->from = -1;
    if ((err = pinentry_new(question, &prompter->pinentry)) != ATH_OK)
        goto out;
    err = ATH_ERR_NO_PROMPTER;
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        goto out;
    if ((err = fd_set_nonblocking(to[1])) != ATH_OK ||
        (err = fd_set_nonblocking(from[0])) != ATH_OK ||
        (err = start_child(prompter, program, to[0], from[1])) != ATH_OK)
        goto out;
    prompter->to = to[1];
    prompter->from = from[0];
    *ret_prompter = prompter;
    prompter = NULL;
    to[1] = from[0] = -1;
out:
    fd_close(&to[0]);
    fd_close(&to[1]);
    fd_close(&from[0]);
    fd_close(&from[1]);
    if (prompter != NULL) {
        pinentry_free(prompter->pinentry);
        free(prompter);
    }
    return err;
}

ath_err
consent_prompter_start_at(const char *program, int socket, struct consent_prompter **ret_prompter)
{
    struct consent_prompter *prompter = calloc(1, sizeof(*prompter));
    int flags = fcntl(socket, F_GETFL);
    ath_err err = ATH_ERR_NO_PROMPTER;

    if (prompter == NULL)
        return ATH_ERR_NOMEM;
    prompter->to = prompter->from = -1;
    /* a pinentry reads and writes as if nothing could make it wait */
    if (flags < 0 || fcntl(socket, F_SETFL, flags & ~O_NONBLOCK) != 0 ||
        (err = start_child(prompter, program, socket, socket)) != ATH_OK) {
        free(prompter);
        return err;
    }
    *ret_prompter = prompter;
    return ATH_OK;
}

bool
consent_prompter_is_others(const struct consent_prompter *prompter)
{
    return prompter->pinentry == NULL;
}

int
consent_prompter_fd(const struct consent_prompter *prompter)
{
    return prompter->from;
}

const char *
consent_prompter_complaint(const struct consent_prompter *prompter)
{
    return pinentry_complaint(prompter->pinentry);
}

/* Has it not even read the command that it answers? (A pipe says so at both of its ends: pipe(7).)
 */
static bool
has_unread(const struct consent_prompter *prompter)
{
    int len = 0;

    return ioctl(prompter->to, FIONREAD, &len) == 0 && len > 0;
}

/* A line at a time goes into an empty pipe; one that does not take it is not being read. */
static bool
send_text(const struct consent_prompter *prompter, struct ath_slice text)
{
    ssize_t n;

    if (text.len == 0)
        return true;
    do {
        n = write(prompter->to, text.data, text.len);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)text.len;
}

bool
consent_prompter_read(struct consent_prompter *prompter, ath_err *ret_answer)
{
    struct ath_buf out = {.max = 4 * PINENTRY_LINE_MAX};
    char bytes[4096];
    ssize_t n = read(prompter->from, bytes, sizeof(bytes));
    ath_err err = ATH_ERR_NO_PROMPTER;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n > 0) {
        pinentry_note_unread(prompter->pinentry, has_unread(prompter));
        err = pinentry_receive(prompter->pinentry, ath_slice_of(bytes, (size_t)n), &out);
        if (err == ATH_OK && !send_text(prompter, ath_buf_slice(&out)) &&
            !pinentry_is_done(prompter->pinentry))
            err = ATH_ERR_NO_PROMPTER;
    }
    ath_buf_done(&out);
    *ret_answer = err;
    return err != ATH_OK || pinentry_is_done(prompter->pinentry);
}

void
consent_prompter_end(struct consent_prompter *prompter)
{
    if (prompter->is_ending)
        return;
    prompter->is_ending = true;
    prompter->kill_at_ms = clock_monotonic_ms() + KILL_AFTER_MS;
    kill(-prompter->pid, SIGTERM);
    kill(prompter->pid, SIGTERM); /* it may not have its session yet */
}

bool
consent_prompter_is_gone(struct consent_prompter *prompter)
{
    siginfo_t info = {.si_pid = 0};

    if (prompter->is_ending && clock_monotonic_ms() >= prompter->kill_at_ms) {
        kill(-prompter->pid, SIGKILL);
        kill(prompter->pid, SIGKILL);
    }
    if (waitid(P_PID, (id_t)prompter->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
        return false;
    kill(-prompter->pid, SIGKILL); /* what it left; before its number is free for others */
    (void)waitpid(prompter->pid, NULL, 0);
    fd_close(&prompter->to);
    fd_close(&prompter->from);
    pinentry_free(prompter->pinentry);
    free(prompter);
    return true;
}
