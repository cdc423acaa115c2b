#include "athd/caller.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "athd/grant.h"
#include "base/fd.h"
#include "base/utf8.h"

#define PROC_MAX 4096u /* of a text: what we look for stands in the first lines */
#define PROC_PATH_SIZE 40
#define ANCESTORS_MAX 256u

static const char *
proc_path(pid_t pid, const char *name, char ret_path[PROC_PATH_SIZE])
{
    (void)snprintf(ret_path, PROC_PATH_SIZE, "/proc/%ld/%s", (long)pid, name);
    return ret_path;
}

/* One read: the kernel makes the text when it is asked, and these never block. */
static struct ath_slice
read_proc(int proc, const char *name, uint8_t text[PROC_MAX])
{
    ssize_t len = -1;
    int fd = proc < 0 ? -1 : openat(proc, name, O_RDONLY | O_CLOEXEC);

    if (fd >= 0)
        len = read(fd, text, PROC_MAX);
    fd_close(&fd);
    return ath_slice_of(text, len > 0 ? (size_t)len : 0);
}

static int
open_proc(pid_t pid)
{
    char path[PROC_PATH_SIZE];

    return pid <= 0 ? -1 : open(proc_path(pid, "", path), O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool
is_same_file(const struct caller_file *a, const struct caller_file *b)
{
    return a->device == b->device && a->inode == b->inode;
}

static uint64_t
read_start(int proc)
{
    uint8_t text[PROC_MAX];

    return caller_start_of_stat(read_proc(proc, "stat", text));
}

/* ---- the process that connected ---- */

/*
 * Without SO_PEERPIDFD: the process that has the number now. The pidfd is of the same process as
 * `proc` if the number's process began at the same time before and after it was opened, and it can
 * only have connected if it began before we accepted and the connection is not left alone. What
 * this cannot see is a number that was given away between connect(2) and our accept(2), a moment
 * later, by a caller that left its socket to a child.
 */
static int
pidfd_by_number(int socket, pid_t pid, int proc)
{
    uint64_t before = read_start(proc), accepted = caller_kernel_ticks(), after;
    int pidfd = caller_kernel_pidfd_open(pid), again = open_proc(pid);

    after = read_start(again);
    fd_close(&again);
    if (before == 0 || before != after || before > accepted || caller_kernel_has_hung_up(socket))
        fd_close(&pidfd);
    return pidfd;
}

/* A pidfd, and in *ret_proc the directory in /proc, of the process that connected; -1: it has gone,
 * or cannot be told. */
static int
find_process(int socket, pid_t pid, int *ret_proc)
{
    int pidfd = caller_kernel_peer_pidfd(socket), proc;
    bool is_old = pidfd < 0 && errno == ENOPROTOOPT;

    proc = open_proc(pid);
    if (is_old)
        pidfd = pidfd_by_number(socket, pid, proc);
    /* alive after the directory was opened: so the number, and the directory, were its own */
    if (pidfd >= 0 && (proc < 0 || !caller_kernel_is_alive(pidfd)))
        fd_close(&pidfd);
    if (pidfd < 0)
        fd_close(&proc);
    *ret_proc = proc;
    return pidfd;
}

/* The program: its file is reached through the process, so that it is the one that runs, whatever
 * lies at its path. */
static void
read_exe(struct caller *caller, int proc)
{
    char path[CALLER_EXE_SIZE];
    struct caller_file here;
    ssize_t len = readlinkat(proc, "exe", path, sizeof(path));

    if (len <= 0 || !caller_kernel_file(proc, "exe", &caller->exe_file))
        return;
    path[(size_t)len < sizeof(path) ? (size_t)len : sizeof(path) - 1] = '\0';
    caller->exe_is_here = (size_t)len < sizeof(path) && caller_kernel_file_at(path, &here) &&
                          is_same_file(&here, &caller->exe_file);
    caller_kernel_verity(proc, "exe", caller->verity);
    memcpy(caller->exe, path, sizeof(path));
    utf8_make_harmless(caller->exe);
}

static void
read_process(struct caller *caller, int proc)
{
    struct caller_unit unit;
    uint8_t text[PROC_MAX];

    caller->start_ticks = read_start(proc);
    caller->name_space = caller_namespace_of_status(read_proc(proc, "status", text));
    caller_unit_of_cgroup(read_proc(proc, "cgroup", text), &unit);
    memcpy(caller->unit, unit.unit, sizeof(caller->unit));
    memcpy(caller->slice, unit.slice, sizeof(caller->slice));
    caller->unit_is_users = unit.is_users;
    read_exe(caller, proc);
}

static void
find_facts(struct caller *caller, int socket)
{
    int proc = -1, pidfd = find_process(socket, caller->pid, &proc);

    if (pidfd < 0)
        return;
    read_process(caller, proc);
    fd_close(&proc);
    caller->pidfd = pidfd;
    caller->is_proven = true;
}

ath_err
caller_of_socket(int fd, struct caller **ret_caller)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    struct caller *caller;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || len != sizeof(peer))
        return ATH_ERR_IO;
    if ((caller = calloc(1, sizeof(*caller))) == NULL)
        return ATH_ERR_NOMEM;
    caller->references = 1;
    caller->pid = peer.pid;
    caller->uid = peer.uid;
    caller->gid = peer.gid;
    caller->identity = caller->lane = (uint64_t)peer.uid << 32 | (uint32_t)peer.pid;
    caller->group_count = caller_kernel_groups(fd, &caller->groups);
    find_facts(caller, fd);
    *ret_caller = caller;
    return ATH_OK;
}

void
caller_set_grant(struct caller *caller, struct grant *grant)
{
    caller->through = grant_ref(grant);
    caller->identity = grant_identity(grant);
    caller->lane = grant_identity(grant_outermost(grant));
    memcpy(caller->grant, grant->name, sizeof(caller->grant));
}

bool
caller_sees(const struct caller *caller, uint64_t identity)
{
    return caller->through == NULL || caller->identity == identity;
}

struct caller *
caller_ref(struct caller *caller)
{
    assert(caller->references > 0);
    caller->references++;
    return caller;
}

void
caller_free(struct caller *caller)
{
    if (caller == NULL || --caller->references > 0)
        return;
    if (caller->is_proven)
        fd_close(&caller->pidfd);
    grant_free(caller->through);
    free(caller->groups);
    free(caller);
}

bool
caller_is_still(const struct caller *caller)
{
    char path[PROC_PATH_SIZE];
    struct caller_file running;

    if (!caller->is_proven)
        return false;
    if (caller->exe[0] != '\0' &&
        (!caller_kernel_file(AT_FDCWD, proc_path(caller->pid, "exe", path), &running) ||
         !is_same_file(&running, &caller->exe_file)))
        return false;
    return caller_kernel_is_alive(caller->pidfd); /* so the number was its own until now */
}

/* A number that was given away while we looked is a process that began later. */
bool
caller_descends(const struct caller *caller, const struct caller *ancestor)
{
    pid_t pid = caller->pid;
    uint8_t text[PROC_MAX];
    struct ath_slice stat;
    unsigned depth;
    int proc;

    for (depth = 0; pid > 0 && ancestor->pid > 0 && depth < ANCESTORS_MAX; depth++) {
        proc = open_proc(pid);
        stat = read_proc(proc, "stat", text);
        fd_close(&proc);
        if (depth > 0 && pid == ancestor->pid &&
            (ancestor->start_ticks == 0 || caller_start_of_stat(stat) == ancestor->start_ticks))
            return true;
        pid = caller_parent_of_stat(stat);
    }
    return false;
}

/* ---- telling ---- */

static const char *
namespace_name(enum caller_namespace name_space)
{
    static const char *const names[] = {"unseen", "same", "other"};

    return names[name_space];
}

static void
put_text(struct json_maker *object, const char *name, const char *text)
{
    if (text[0] != '\0')
        json_put_string(object, name, text);
}

static void
put_process(const struct caller *caller, struct json_maker *object)
{
    put_text(object, "exe", caller->exe);
    if (caller->exe[0] != '\0' && !caller->exe_is_here)
        json_put_bool(object, "exe_is_elsewhere", true);
    put_text(object, "verity", caller->verity);
    put_text(object, "unit", caller->unit);
    put_text(object, "slice", caller->slice);
    put_text(object, "grant", caller->grant);
}

void
caller_put(const struct caller *caller, struct json_maker *record, const char *name)
{
    struct json_maker object;

    json_object_begin(&object);
    json_put_int(&object, "uid", caller->uid);
    json_put_int(&object, "pid", caller->pid);
    if (caller->start_ticks != 0 && caller->start_ticks <= INT64_MAX)
        json_put_int(&object, "start_ticks", (int64_t)caller->start_ticks);
    put_process(caller, &object);
    if (caller->pid == 0 || caller->name_space == CALLER_OTHER)
        json_put_string(&object, "namespace", namespace_name(caller->name_space));
    json_put_maker(record, name, &object);
}

void
caller_put_all(const struct caller *caller, struct json_maker *result, const char *name)
{
    struct json_maker object, groups;

    json_object_begin(&object);
    json_put_int(&object, "pid", caller->pid);
    json_put_int(&object, "uid", caller->uid);
    json_put_int(&object, "gid", caller->gid);
    json_array_begin(&groups);
    for (size_t i = 0; i < caller->group_count; i++)
        json_put_int(&groups, NULL, caller->groups[i]);
    json_put_maker(&object, "groups", &groups);
    json_put_bool(&object, "proven", caller->is_proven);
    json_put_string(&object, "namespace", namespace_name(caller->name_space));
    put_process(caller, &object);
    if (caller->exe[0] != '\0' && caller->exe_file.inode < 1ULL << 53)
        json_put_int(&object, "exe_inode", (int64_t)caller->exe_file.inode);
    json_put_maker(result, name, &object);
}
