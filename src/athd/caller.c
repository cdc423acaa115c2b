#include "athd/caller.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/utf8.h"

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
    caller->identity = (uint64_t)peer.uid << 32 | (uint32_t)peer.pid;
    read_exe(peer.pid, caller->exe, sizeof(caller->exe));
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
