#include "base/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"

#define EXIT_CANNOT_RUN 127

/* ---- in the child, between fork and exec: async-signal-safe calls only ---- */

static void
reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    int number;

    for (number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL); /* what cannot be set (SIGKILL) need not be */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Standard input and output, first out of each other's way. */
static bool
place_descriptors(int input, int output)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), in, out;

    in = fcntl(input < 0 ? null : input, F_DUPFD_CLOEXEC, 3);
    out = fcntl(output < 0 ? null : output, F_DUPFD_CLOEXEC, 3);
    return in >= 0 && out >= 0 && dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0;
}

static void
run(const struct spawn_params *params, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(EXIT_CANNOT_RUN); /* the parent died before the kernel was told */
    /* a session, not only a group: what shares our terminal would be stopped when it draws there */
    if (params->own_group && setsid() < 0)
        _exit(EXIT_CANNOT_RUN);
    if (!place_descriptors(params->input, params->output))
        _exit(EXIT_CANNOT_RUN);
    fd_close_from(3);
    reset_signals();
    execvpe(params->program, params->arguments, params->environment);
    _exit(EXIT_CANNOT_RUN);
}

/* ---- in the parent ---- */

/* No signal is delivered to the parent's handlers in the child: they would write to the parent's
 * own pipe. */
ath_err
spawn_program(const struct spawn_params *params, pid_t *ret_pid)
{
    pid_t parent = getpid(), pid;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if ((pid = fork()) == 0)
        run(params, parent);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return ATH_ERR_IO;
    *ret_pid = pid;
    return ATH_OK;
}
