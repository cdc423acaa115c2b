#include "athd/caller.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/utf8.h"

#define PROC_MAX 4096u /* of stat and cgroup: what we look for stands in the first lines */
#define START_FIELD 22u
#define FIELD_BEHIND_NAME 3u

/* The program's path as the kernel has it, for people to read in prompts and records. It proves
 * nothing: a script's is its interpreter, and a process may replace itself. */
static void
read_exe(pid_t pid, char *ret_exe, size_t size)
{
    char link[64];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/%ld/exe", (long)pid);
    len = readlink(link, ret_exe, size - 1);
    ret_exe[len > 0 ? len : 0] = '\0';
    utf8_make_harmless(ret_exe);
}

/* One read: the kernel makes the text when it is asked, and these never block. */
static struct ath_slice
read_proc(pid_t pid, const char *name, uint8_t text[PROC_MAX])
{
    char path[64];
    ssize_t len = -1;
    int fd;

    snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0)
        len = read(fd, text, PROC_MAX);
    fd_close(&fd);
    return ath_slice_of(text, len > 0 ? (size_t)len : 0);
}

uint64_t
caller_start_of_stat(struct ath_slice stat)
{
    unsigned field = FIELD_BEHIND_NAME;
    uint64_t ticks = 0;
    size_t at = stat.len;

    while (at > 0 && stat.data[at - 1] != ')')
        at--;
    if (at == 0 || at == stat.len || stat.data[at++] != ' ')
        return 0;
    for (; at < stat.len && field < START_FIELD; at++)
        field += stat.data[at] == ' ';
    for (; at < stat.len && stat.data[at] >= '0' && stat.data[at] <= '9'; at++) {
        if (ticks > (UINT64_MAX - 9) / 10)
            return 0;
        ticks = ticks * 10 + (uint64_t)(stat.data[at] - '0');
    }
    return ticks;
}

static bool
ends_with(struct ath_slice text, const char *end)
{
    size_t len = strlen(end);

    return text.len > len && memcmp(text.data + text.len - len, end, len) == 0;
}

void
caller_unit_of_cgroup(struct ath_slice cgroup, char ret_unit[CALLER_UNIT_SIZE])
{
    struct ath_slice part = {0}, unit = {0};
    size_t at = 3;

    ret_unit[0] = '\0';
    if (cgroup.len < 3 || memcmp(cgroup.data, "0::", 3) != 0)
        return;
    for (; at <= cgroup.len; at++) {
        bool is_end = at == cgroup.len || cgroup.data[at] == '\n';

        if (!is_end && cgroup.data[at] != '/') {
            part.data = part.len++ == 0 ? cgroup.data + at : part.data;
            continue;
        }
        if (ends_with(part, ".service") || ends_with(part, ".scope"))
            unit = part;
        part = (struct ath_slice){0};
        if (is_end)
            break;
    }
    if (unit.len >= CALLER_UNIT_SIZE)
        unit.len = CALLER_UNIT_SIZE - 1;
    if (unit.len > 0)
        memcpy(ret_unit, unit.data, unit.len);
    ret_unit[unit.len] = '\0';
    utf8_make_harmless(ret_unit);
}

ath_err
caller_of_socket(int fd, struct caller **ret_caller)
{
    uint8_t text[PROC_MAX];
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
    caller->identity = (uint64_t)peer.uid << 32 | (uint32_t)peer.pid;
    read_exe(peer.pid, caller->exe, sizeof(caller->exe));
    caller->start_ticks = caller_start_of_stat(read_proc(peer.pid, "stat", text));
    caller_unit_of_cgroup(read_proc(peer.pid, "cgroup", text), caller->unit);
    *ret_caller = caller;
    return ATH_OK;
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
    free(caller);
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
    if (caller->exe[0] != '\0')
        json_put_string(&object, "exe", caller->exe);
    if (caller->unit[0] != '\0')
        json_put_string(&object, "unit", caller->unit);
    json_put_maker(record, name, &object);
}
