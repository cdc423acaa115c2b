/*
 * What COMMAND left running. ath is the subreaper (prctl(2)) of all that COMMAND started: whose
 * parent ends becomes ath's child. Only children are signalled, for their numbers are nobody
 * else's before ath has reaped them; theirs come to ath when they end.
 */
#include "ath_cmd_run.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define CHILDREN_MAX 4096
#define TERM_MS 2000
#define KILL_MS 2000
#define LOOK_MS 50

struct children {
    pid_t pids[CHILDREN_MAX]; /* more of them are ended in the next round */
    size_t count;
};

static struct children before, told;

static bool
has(const struct children *children, pid_t pid)
{
    size_t i;

    for (i = 0; i < children->count; i++) {
        if (children->pids[i] == pid)
            return true;
    }
    return false;
}

static void
add(struct children *children, pid_t pid)
{
    if (children->count < CHILDREN_MAX)
        children->pids[children->count++] = pid;
}

/* The parent of a process and whether it has ended, from /proc/PID/stat: "PID (name) S PPID …". */
static pid_t
parent_of(const char *pid, bool *ret_ended)
{
    char path[300], text[512];
    const char *behind_name;
    FILE *file;
    size_t len;

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    if ((file = fopen(path, "re")) == NULL)
        return -1;
    len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    behind_name = strrchr(text, ')');
    if (behind_name == NULL || strlen(behind_name) < 5)
        return -1;
    *ret_ended = behind_name[2] == 'Z' || behind_name[2] == 'X';
    return (pid_t)strtol(behind_name + 4, NULL, 10);
}

static void
look(struct children *ret_children)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    bool ended = false;

    ret_children->count = 0;
    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        if (parent_of(entry->d_name, &ended) == getpid() && !ended)
            add(ret_children, (pid_t)strtol(entry->d_name, NULL, 10));
    }
    if (proc != NULL)
        closedir(proc);
}

void
run_left_begin(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    look(&before);
}

/* Reaps; false: there is no child any more. */
static bool
has_children(void)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        ;
    return pid == 0;
}

/* Until a child ends, or it is time to look again. */
static void
pause_a_moment(void)
{
    const struct timespec moment = {.tv_nsec = LOOK_MS * 1000000L};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    (void)sigtimedwait(&set, NULL, &moment);
}

/* How many there are; each is told once to end, or each time that it is killed. */
static size_t
end_round(bool is_late)
{
    static struct children now;
    size_t i, left = 0;

    look(&now);
    for (i = 0; i < now.count; i++) {
        if (has(&before, now.pids[i]))
            continue;
        left++;
        if (is_late)
            kill(now.pids[i], SIGKILL);
        else if (!has(&told, now.pids[i])) {
            kill(now.pids[i], SIGTERM);
            kill(now.pids[i], SIGCONT);
        }
        if (!has(&told, now.pids[i]))
            add(&told, now.pids[i]);
    }
    return left;
}

size_t
run_left_end(size_t *ret_remain)
{
    uint64_t start = clock_monotonic_ms(), passed = 0;
    unsigned empty_rounds = 0; /* one may have missed a process whose parent ended meanwhile */

    *ret_remain = 0;
    if (has_children())
        pause_a_moment(); /* what ends by itself now, as bwrap's init does, was not left behind */
    while (has_children() && empty_rounds < 2 && passed < TERM_MS + KILL_MS) {
        passed = clock_monotonic_ms() - start;
        *ret_remain = end_round(passed >= TERM_MS);
        empty_rounds = *ret_remain == 0 ? empty_rounds + 1 : 0;
        if (*ret_remain > 0)
            pause_a_moment();
    }
    if (!has_children())
        *ret_remain = 0;
    return told.count;
}
