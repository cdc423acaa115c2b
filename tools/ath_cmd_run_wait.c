/*
 * While COMMAND runs. It is in ath's own process group, as with env(1) or nice(1): what a terminal
 * does to a job (Ctrl-C, Ctrl-Z, fg, hanging up) it does to both, a pipe into a pager works, and
 * who kills the group misses nobody. So signals of the terminal are not passed on, and ath, which
 * must not stop or end before COMMAND does, takes its own signals from a queue (sigwaitinfo(2)).
 */
#include "ath_cmd_run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

struct waiting {
    pid_t pid;
    int terminal; /* -1: none controls us */
    bool interrupted;
};

/* Passed on to COMMAND, unless whoever started us has them ignored. */
static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP};

static void
signals_of_ours(sigset_t *ret_set)
{
    struct sigaction action;
    size_t i;

    sigemptyset(ret_set);
    sigaddset(ret_set, SIGCHLD);
    sigaddset(ret_set, SIGCONT);
    for (i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++) {
        if (sigaction(passed_on[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(ret_set, passed_on[i]);
    }
}

void
run_wait_begin(void)
{
    sigset_t set;

    signals_of_ours(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Has the whole job been continued since the last look? */
static bool
was_continued(void)
{
    const struct timespec now = {0};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCONT);
    return sigtimedwait(&set, NULL, &now) == SIGCONT;
}

static void
stop_by(int number)
{
    sigset_t one, before;

    sigemptyset(&one);
    sigaddset(&one, number);
    sigprocmask(SIG_BLOCK, &one, &before);
    raise(number); /* if the terminal's own waits already they become one */
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    (void)was_continued();
}

/* COMMAND has stopped: so do we, for our shell to see it, and both go on when we are continued. */
static void
stop_too(const struct waiting *waiting, int number)
{
    pid_t group = getpgid(waiting->pid), front;

    if (waiting->terminal < 0)
        return; /* nobody would continue us: who stopped COMMAND continues it */
    front = tcgetpgrp(waiting->terminal);
    if (!was_continued()) /* of two that are continued one is the first */
        stop_by(number);
    /* a shell as COMMAND has groups of its own, of which ours knows nothing */
    if (front == group && group != getpgrp() && tcgetpgrp(waiting->terminal) == getpgrp())
        tcsetpgrp(waiting->terminal, group);
    kill(waiting->pid, SIGCONT);
}

/* Has COMMAND ended? Follows its stops, and reaps what it orphaned. */
static bool
look_at_children(struct waiting *waiting, siginfo_t *ret_end)
{
    siginfo_t info = {.si_pid = 0};

    while (waitid(P_PID, (id_t)waiting->pid, &info, WSTOPPED | WNOHANG) == 0 && info.si_pid != 0) {
        stop_too(waiting, info.si_status);
        info.si_pid = 0;
    }
    for (;;) {
        *ret_end = (siginfo_t){.si_pid = 0};
        if (waitid(P_PID, (id_t)waiting->pid, ret_end, WEXITED | WNOHANG) == 0 &&
            ret_end->si_pid != 0)
            return true;
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return false;
        if (info.si_pid != waiting->pid)
            (void)waitpid(info.si_pid, NULL, WNOHANG);
    }
}

static void
take_signal(struct waiting *waiting, const siginfo_t *info)
{
    if (info->si_signo == SIGCHLD || info->si_signo == SIGCONT)
        return;
    if (info->si_code > 0) /* the kernel's, from the terminal: COMMAND has got it too */
        waiting->interrupted = waiting->interrupted || info->si_signo == SIGINT;
    else if (info->si_pid != waiting->pid)
        kill(waiting->pid, info->si_signo);
}

/* COMMAND's end may be seen before the signal that ended it. */
static void
look_for_interrupt(struct waiting *waiting, const sigset_t *set)
{
    const struct timespec now = {0};
    siginfo_t info;

    while (sigtimedwait(set, &info, &now) > 0)
        waiting->interrupted =
            waiting->interrupted || (info.si_signo == SIGINT && info.si_code > 0);
}

int
run_wait(pid_t pid, bool *ret_interrupted)
{
    struct waiting waiting = {.pid = pid};
    siginfo_t info = {.si_pid = 0}, end = {.si_pid = 0};
    sigset_t set;

    signals_of_ours(&set);
    waiting.terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    while (!look_at_children(&waiting, &end)) {
        if (sigwaitinfo(&set, &info) > 0)
            take_signal(&waiting, &info);
        else if (errno != EINTR)
            break;
    }
    look_for_interrupt(&waiting, &set);
    if (waiting.terminal >= 0)
        fd_close(&waiting.terminal);
    *ret_interrupted = waiting.interrupted && end.si_code != CLD_EXITED && end.si_status == SIGINT;
    return end.si_code == CLD_EXITED ? end.si_status : 128 + end.si_status;
}
