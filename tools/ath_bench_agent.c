/* An athd of our own: a directory under /tmp for everything it keeps, its end when we end. */
#include "ath_bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define READY_TIMEOUT_MS 30000
#define END_TIMEOUT_MS 9000

/* A pinentry that says yes to everything: nobody is asked while a machine measures. */
static const char yes_prompter[] = "#!/bin/sh\n"
                                   "echo OK ready\n"
                                   "while read -r line; do\n"
                                   "    echo OK\n"
                                   "    [ \"$line\" = BYE ] && exit\n"
                                   "done\n";

ath_err
bench_dir_make(char ret_dir[BENCH_PATH_MAX], struct why *why)
{
    const char *tmp = getenv("TMPDIR");
    int len = snprintf(ret_dir, BENCH_PATH_MAX, "%s/ath-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");

    if (len < 0 || len >= BENCH_PATH_MAX - 16) {
        snprintf(ret_dir, BENCH_PATH_MAX, "/tmp/ath-bench-XXXXXX"); /* a socket must fit below it */
    }
    if (!mkdtemp(ret_dir)) {
        ret_dir[0] = '\0';
        return why_set(why, ATH_ERR_IO, "cannot make a temporary directory: %s", strerror(errno));
    }
    return ATH_OK;
}

static int
remove_entry(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
    (void)st, (void)flag, (void)walk;
    return remove(path);
}

void
bench_dir_remove(const char *dir)
{
    if (dir[0])
        nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static ath_err
write_prompter(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    ath_err err;

    if (fd < 0)
        return ATH_ERR_IO;
    err = fd_write_all(fd, ath_slice_of(yes_prompter, sizeof(yes_prompter) - 1));
    fd_close(&fd);
    return err;
}

/* athd lies beside this program. */
static ath_err
program_path(char *ret_path, size_t size)
{
    ssize_t len = readlink("/proc/self/exe", ret_path, size - 1);
    char *slash;

    if (len <= 0)
        return ATH_ERR_IO;
    ret_path[len] = '\0';
    if (!(slash = strrchr(ret_path, '/')) || (size_t)(slash - ret_path) + sizeof("/athd") > size)
        return ATH_ERR_IO;
    memcpy(slash, "/athd", sizeof("/athd"));
    return ATH_OK;
}

static void
run_athd(const struct bench_agent *agent, const char *program, const char *notify, pid_t parent)
{
    char state[BENCH_PATH_MAX + 16], prompter[BENCH_PATH_MAX + 16], log[BENCH_PATH_MAX + 16];
    int fd;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    snprintf(state, sizeof(state), "%s/state", agent->dir);
    snprintf(prompter, sizeof(prompter), "%s/prompter", agent->dir);
    snprintf(log, sizeof(log), "%s/log", agent->dir);
    if ((fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600)) < 0 || dup2(fd, 1) < 0 ||
        dup2(fd, 2) < 0)
        _exit(1);
    setenv("NOTIFY_SOCKET", notify, 1);
    setenv("XDG_CONFIG_HOME", agent->dir, 1);
    setenv("XDG_RUNTIME_DIR", agent->dir, 1);
    unsetenv("LISTEN_FDS");
    if (agent->token) {
        bench_token_environment(agent->token);
        execl(program, "athd", "--hsm", agent->token->uri, "--state-dir", state, "--socket",
              agent->socket, "--prompter", prompter, "--log-level", "warning", (char *)NULL);
    } else {
        execl(program, "athd", "--software-tpm", "--state-dir", state, "--socket", agent->socket,
              "--prompter", prompter, "--log-level", "warning", (char *)NULL);
    }
    _exit(127);
}

/* A datagram socket for sd_notify's READY=1. */
static ath_err
notify_socket(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
        return ATH_ERR_IO;
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return ATH_ERR_IO;
    }
    *ret_fd = fd;
    return ATH_OK;
}

static ath_err
wait_ready(struct bench_agent *agent, uint64_t began_us)
{
    struct pollfd poll_fd = {.fd = agent->notify_fd, .events = POLLIN};
    char text[256];
    ssize_t len;

    while ((clock_monotonic_us() - began_us) / 1000 < READY_TIMEOUT_MS) {
        if (waitpid(agent->pid, NULL, WNOHANG) == agent->pid) {
            agent->pid = 0;
            return ATH_ERR_UNREACHABLE;
        }
        if (poll(&poll_fd, 1, 50) <= 0)
            continue;
        if ((len = recv(agent->notify_fd, text, sizeof(text) - 1, 0)) <= 0)
            continue;
        text[len] = '\0';
        if (strstr(text, "READY=1")) {
            agent->ready_ms = (double)(clock_monotonic_us() - began_us) / 1000.0;
            return ATH_OK;
        }
    }
    return ATH_ERR_UNREACHABLE;
}

/* The end of the log, for why. */
static void
explain(const struct bench_agent *agent, struct why *why)
{
    char path[BENCH_PATH_MAX + 16], text[160] = "";
    ssize_t len = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/log", agent->dir);
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
        if (lseek(fd, -(off_t)(sizeof(text) - 1), SEEK_END) < 0)
            lseek(fd, 0, SEEK_SET);
        len = read(fd, text, sizeof(text) - 1);
        fd_close(&fd);
    }
    text[len > 0 ? len : 0] = '\0';
    why_set(why, ATH_ERR_UNREACHABLE, "athd did not become ready: %s", text);
}

ath_err
bench_agent_start(struct bench_agent *agent, struct why *why)
{
    char program[4096], notify[BENCH_PATH_MAX + 8], prompter[BENCH_PATH_MAX + 16];
    const pid_t parent = getpid();
    uint64_t began;
    ath_err err;

    agent->notify_fd = -1;
    if (!agent->dir[0] && (err = bench_dir_make(agent->dir, why)) != ATH_OK)
        return err;
    snprintf(agent->socket, sizeof(agent->socket), "%s/s", agent->dir);
    snprintf(notify, sizeof(notify), "%s/n", agent->dir);
    snprintf(prompter, sizeof(prompter), "%s/prompter", agent->dir);
    if ((err = program_path(program, sizeof(program))) != ATH_OK ||
        (err = write_prompter(prompter)) != ATH_OK ||
        (err = notify_socket(notify, &agent->notify_fd)) != ATH_OK)
        return err;
    began = clock_monotonic_us();
    if ((agent->pid = fork()) == 0)
        run_athd(agent, program, notify, parent);
    err = agent->pid < 0 ? ATH_ERR_IO : wait_ready(agent, began);
    fd_close(&agent->notify_fd);
    if (err != ATH_OK)
        explain(agent, why);
    return err;
}

void
bench_agent_stop(struct bench_agent *agent)
{
    const uint64_t began = clock_monotonic_ms();

    if (agent->pid <= 0)
        return;
    kill(agent->pid, SIGTERM);
    while (waitpid(agent->pid, NULL, WNOHANG) == 0) {
        if (clock_monotonic_ms() - began > END_TIMEOUT_MS)
            kill(agent->pid, SIGKILL);
        poll(NULL, 0, 5);
    }
    agent->pid = 0;
}

void
bench_agent_done(struct bench_agent *agent)
{
    bench_agent_stop(agent);
    bench_dir_remove(agent->dir);
    agent->dir[0] = '\0';
}

/* A number behind `name` in /proc/PID/status. */
static long
status_number(pid_t pid, const char *name)
{
    char path[64], line[256];
    long value = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (!(file = fopen(path, "re")))
        return -1;
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name), NULL, 10);
    fclose(file);
    return value;
}

static bool
has_name(pid_t pid, const char *name)
{
    char path[64], text[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    if (!(file = fopen(path, "re")))
        return false;
    if (!fgets(text, sizeof(text), file))
        text[0] = '\0';
    fclose(file);
    text[strcspn(text, "\n")] = '\0';
    return strncmp(text, name, 15) == 0; /* the kernel keeps 15 characters */
}

double
bench_rss_mib(pid_t pid)
{
    long kib = status_number(pid, "VmRSS:");

    return kib > 0 ? (double)kib / 1024.0 : 0;
}

double
bench_child_rss_mib(pid_t parent, const char *name)
{
    struct dirent *entry;
    double mib = 0;
    DIR *dir;

    if (!(dir = opendir("/proc")))
        return 0;
    while ((entry = readdir(dir))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

        if (pid > 0 && status_number(pid, "PPid:") == parent && has_name(pid, name))
            mib = bench_rss_mib(pid);
    }
    closedir(dir);
    return mib;
}
