#include "hsm/tpm/swtpm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "hsm/tpm/swtpm_state.h"

#define CHILD_FD 3
#define STOP_PATIENCE_MS 2000u
#define LOCK_PATIENCE_MS 2000u
#define STEP_MS 2u

#define LAST_WORDS_MS 200u /* from the end of its connection to that of the process */
#define EXIT_CANNOT_RUN 127

struct swtpm {
    pid_t pid;  /* 0: reaped */
    int status; /* as waitpid has it, once reaped */
    char *log;  /* where it says why it ends */
};

/* In the child, between fork and exec: async-signal-safe calls only. */
static void
exec_swtpm(int fd, pid_t parent, char *state, char *log)
{
    char program[] = "swtpm", socket_mode[] = "socket", tpm2[] = "--tpm2",
         state_option[] = "--tpmstate", fd_option[] = "--fd", fd_number[] = "3",
         flags[] = "--flags", flags_value[] = "not-need-init,startup-clear",
         terminate[] = "--terminate", log_option[] = "--log";
    char path[] = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    char *argv[] = {program, socket_mode, tpm2,      state_option, state, fd_option, fd_number,
                    flags,   flags_value, terminate, log_option,   log,   NULL};
    char *environment[] = {path, NULL};
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    int null = open("/dev/null", O_RDWR);

    /* A ^C at the terminal is for athd, which lets us finish first. What we ignore, swtpm need not.
     */
    (void)setsid();
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)signal(signals[i], SIG_DFL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(126);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(fd, CHILD_FD) < 0)
        _exit(126);
    if (fd == CHILD_FD)
        (void)fcntl(fd, F_SETFD, 0);
    fd_close_from(CHILD_FD + 1);
    (void)execvpe(program, argv, environment);
    _exit(EXIT_CANNOT_RUN);
}

static void
pause_step(void)
{
    const struct timespec step = {.tv_nsec = (long)STEP_MS * 1000000};

    (void)nanosleep(&step, NULL);
}

/* Who holds swtpm's lock on its state; 0: nobody. */
static pid_t
lock_holder(int lock_fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(lock_fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK)
        return 0;
    return lock.l_pid;
}

/* A swtpm whose helper was just killed is about to end; one that stays is somebody else's. */
static ath_err
wait_for_lock(const char *path, struct why *why)
{
    char *lock_path = file_path(path, ".lock");
    unsigned waited = 0;
    ath_err err = ATH_OK;
    pid_t holder;
    int fd;

    if (lock_path == NULL)
        return ATH_ERR_NOMEM;
    fd = open(lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    free(lock_path);
    if (fd < 0)
        return ATH_OK; /* never used yet */
    for (; (holder = lock_holder(fd)) != 0 && waited < LOCK_PATIENCE_MS; waited += STEP_MS)
        pause_step();
    if (holder != 0)
        err = why_set(why, ATH_ERR_HSM_UNAVAILABLE,
                      "the software TPM in %s is in use by process %d", path, (int)holder);
    fd_close(&fd);
    return err;
}

static ath_err
spawn(const char *path, struct why *why, struct swtpm *swtpm, int *ret_fd)
{
    char state[4096 + 8], log[4096 + 40];
    int pair[2] = {-1, -1};
    pid_t parent = getpid(), pid;

    if (path[0] != '/' || strlen(path) > sizeof(state) - sizeof("dir="))
        return why_set(why, ATH_ERR_HSM_UNAVAILABLE, "the state directory's path is not usable");
    (void)snprintf(state, sizeof(state), "dir=%s", path);
    (void)snprintf(log, sizeof(log), "file=%s/log,truncate", path);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return why_set(why, ATH_ERR_HSM_UNAVAILABLE, "socketpair: %s", strerror(errno));
    if ((pid = fork()) < 0) {
        fd_close(&pair[0]);
        fd_close(&pair[1]);
        return why_set(why, ATH_ERR_HSM_UNAVAILABLE, "fork: %s", strerror(errno));
    }
    if (pid == 0)
        exec_swtpm(pair[1], parent, state, log);
    fd_close(&pair[1]);
    swtpm->pid = pid;
    swtpm->log = ath_strdup(log + strlen("file="));
    if (swtpm->log != NULL)
        swtpm->log[strlen(swtpm->log) - strlen(",truncate")] = '\0';
    *ret_fd = pair[0];
    return ATH_OK;
}

ath_err
swtpm_start(const struct hsm_options *options, struct why *why, struct swtpm **ret_swtpm,
            int *ret_fd)
{
    struct swtpm *swtpm = calloc(1, sizeof(*swtpm));
    char *path = NULL;
    ath_err err;

    if (swtpm == NULL)
        return ATH_ERR_NOMEM;
    if ((err = swtpm_state_prepare(options, why, &path)) != ATH_OK) {
        err = err == ATH_ERR_NOMEM ? err : ATH_ERR_HSM_UNAVAILABLE;
        goto out;
    }
    if ((err = wait_for_lock(path, why)) != ATH_OK)
        goto out;
    if ((err = spawn(path, why, swtpm, ret_fd)) != ATH_OK)
        goto out;
    log_debug("event=software_tpm dir=%s pid=%d", path, (int)swtpm->pid);
    *ret_swtpm = swtpm;
    swtpm = NULL;
out:
    free(path);
    free(swtpm);
    return err;
}

static bool
has_ended(struct swtpm *swtpm)
{
    pid_t got;

    if (swtpm->pid == 0)
        return true;
    do {
        got = waitpid(swtpm->pid, &swtpm->status, WNOHANG);
    } while (got < 0 && errno == EINTR);
    if (got == 0)
        return false;
    swtpm->pid = 0;
    return true;
}

static bool
ends_within(struct swtpm *swtpm, unsigned patience_ms)
{
    unsigned waited;

    for (waited = 0; !has_ended(swtpm); waited += STEP_MS) {
        if (waited >= patience_ms)
            return false;
        pause_step();
    }
    return true;
}

void
swtpm_explain(struct swtpm *swtpm, struct why *why)
{
    if (!ends_within(swtpm, LAST_WORDS_MS))
        return;
    if (WIFEXITED(swtpm->status) && WEXITSTATUS(swtpm->status) == EXIT_CANNOT_RUN)
        why_set(why, ATH_OK, "swtpm cannot be run; is it installed and in PATH?");
    else
        why_set(why, ATH_OK, "swtpm ended; it says why in %s",
                swtpm->log == NULL ? "its log" : swtpm->log);
}

void
swtpm_stop(struct swtpm *swtpm)
{
    if (swtpm == NULL)
        return;
    if (!ends_within(swtpm, STOP_PATIENCE_MS)) {
        log_warning("event=swtpm_killed pid=%d", (int)swtpm->pid);
        (void)kill(swtpm->pid, SIGKILL);
        while (waitpid(swtpm->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    free(swtpm->log);
    free(swtpm);
}
