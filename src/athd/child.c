#include "athd/child.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/log.h"

struct child {
    pid_t pid;
    bool own_group;
    uv_signal_t signal;
    child_ended_fn *ended;
    void *ctx;
};

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

ath_err
child_start(uv_loop_t *loop, const struct spawn_params *params, child_ended_fn *ended, void *ctx,
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
        spawn_program(params, &child->pid) != ATH_OK) {
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
