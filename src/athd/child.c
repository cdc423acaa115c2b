#include "athd/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

#define EXIT_CANNOT_RUN 127

struct child {
    pid_t pid;
    bool own_group;
    uv_signal_t signal;
    child_ended_fn *ended;
    void *ctx;
};

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
run(const struct child_params *params, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(EXIT_CANNOT_RUN); /* the parent died before the kernel was told */
    /* a session, not only a group: what shares athd's terminal would be stopped when it draws there
     */
    if (params->own_group && setsid() < 0)
        _exit(EXIT_CANNOT_RUN);
    if (!place_descriptors(params->input, params->output))
        _exit(EXIT_CANNOT_RUN);
    fd_close_from(3);
    reset_signals();
    execvpe(params->program, params->arguments, params->environment);
    _exit(EXIT_CANNOT_RUN);
}

/* ---- in athd ---- */

static void
on_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;
    child_ended_fn *ended = child->ended;
    void *ctx = child->ctx;

    free(child);
    ended(ctx);
}

static void
on_child_signal(uv_signal_t *handle, int number)
{
    struct child *child = handle->data;
    siginfo_t info = {.si_pid = 0};
    int status = 0;

    (void)number;
    if (uv_is_closing((uv_handle_t *)handle))
        return;
    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == 0)
        return; /* it was another one */
    if (child->own_group)
        kill(-child->pid, SIGKILL); /* what it left; before its number is free for others */
    if (waitpid(child->pid, &status, WNOHANG) < 0)
        status = 0;
    if (WIFSIGNALED(status))
        log_debug("event=child-ended pid=%ld signal=%d", (long)child->pid, WTERMSIG(status));
    else
        log_debug("event=child-ended pid=%ld status=%d", (long)child->pid, WEXITSTATUS(status));
    uv_close((uv_handle_t *)handle, on_closed);
}

static void
on_unused_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* No signal is delivered to athd's handlers in the child: they would write to athd's own pipe. */
static pid_t
fork_and_run(const struct child_params *params)
{
    pid_t parent = getpid(), pid;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if ((pid = fork()) == 0)
        run(params, parent);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

ath_err
child_start(uv_loop_t *loop, const struct child_params *params, child_ended_fn *ended, void *ctx,
            struct child **ret_child)
{
    struct child *child = calloc(1, sizeof(*child));

    if (child == NULL)
        return ATH_ERR_NOMEM;
    if (uv_signal_init(loop, &child->signal) != 0) {
        free(child);
        return ATH_ERR_NOMEM;
    }
    child->signal.data = child;
    child->ended = ended;
    child->ctx = ctx;
    child->own_group = params->own_group;
    if (uv_signal_start(&child->signal, on_child_signal, SIGCHLD) != 0 ||
        (child->pid = fork_and_run(params)) < 0) {
        uv_close((uv_handle_t *)&child->signal, on_unused_closed);
        return ATH_ERR_IO;
    }
    log_debug("event=child-started pid=%ld program=%s", (long)child->pid, params->program);
    *ret_child = child;
    return ATH_OK;
}

void
child_kill(struct child *child, int signal_number)
{
    if (uv_is_closing((uv_handle_t *)&child->signal))
        return; /* reaped: the number may be somebody else's by now */
    if (child->own_group)
        kill(-child->pid, signal_number); /* no such group yet: the child itself, below */
    kill(child->pid, signal_number);
}

long
child_pid(const struct child *child)
{
    return (long)child->pid;
}
