#include "athd/grant_process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "athd/caller.h"
#include "base/fd.h"

#define TEXT_MAX 4096u
#define PATH_SIZE 40
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

struct grant_process {
    struct grant_process_id id;
    int pidfd; /* -1 once the poll has it no more */
    uv_poll_t poll;
    bool is_watched;
    void (*ended)(void *ctx);
    void *ctx;
};

/* ---- what the kernel says ---- */

static struct ath_slice
read_text(const char *path, char text[TEXT_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, TEXT_MAX - 1);

    fd_close(&fd);
    text[len > 0 ? len : 0] = '\0';
    return ath_slice_of(text, len > 0 ? (size_t)len : 0);
}

static struct ath_slice
read_of(pid_t pid, const char *name, char text[TEXT_MAX])
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
    return read_text(path, text);
}

static uint64_t
read_start(pid_t pid)
{
    char text[TEXT_MAX];

    return caller_start_of_stat(read_of(pid, "stat", text));
}

/* The real one: the first number of the line "Uid:". */
static bool
is_of_uid(pid_t pid, uid_t uid)
{
    char text[TEXT_MAX], *line;
    unsigned long found;

    if (read_of(pid, "status", text).len == 0 || (line = strstr(text, "\nUid:\t")) == NULL)
        return false;
    return sscanf(line, "\nUid:\t%lu", &found) == 1 && found == (unsigned long)uid;
}

static ath_err
read_boot_id(char ret_id[GRANT_BOOT_ID_SIZE], struct why *why)
{
    char text[TEXT_MAX];

    if (read_text(BOOT_ID, text).len < GRANT_BOOT_ID_SIZE - 1)
        return why_set(why, ATH_ERR_IO, "%s cannot be read", BOOT_ID);
    memcpy(ret_id, text, GRANT_BOOT_ID_SIZE - 1);
    ret_id[GRANT_BOOT_ID_SIZE - 1] = '\0';
    return ATH_OK;
}

/* ---- finding ---- */

/* What is read of the number is said of the pidfd's process: the number was its own before and
 * after, as it still lives. */
static ath_err
look_at(struct grant_process *process, uid_t uid, struct why *why)
{
    long pid = (long)process->id.pid;
    bool is_ours;

    if ((process->pidfd = caller_kernel_pidfd_open(process->id.pid)) < 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "there is no process %ld", pid);
    process->id.start_ticks = read_start(process->id.pid);
    is_ours = is_of_uid(process->id.pid, uid);
    if (process->id.start_ticks == 0 || !caller_kernel_is_alive(process->pidfd))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "there is no process %ld", pid);
    if (!is_ours)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "the process %ld is not one of uid %lu", pid,
                       (unsigned long)uid);
    return read_boot_id(process->id.boot_id, why);
}

ath_err
grant_process_find(pid_t pid, uid_t uid, struct why *why, struct grant_process **ret_process)
{
    struct grant_process *process = calloc(1, sizeof(*process));
    ath_err err;

    if (process == NULL)
        return ATH_ERR_NOMEM;
    process->id.pid = pid;
    process->pidfd = -1;
    if ((err = look_at(process, uid, why)) != ATH_OK) {
        grant_process_free(process);
        return err;
    }
    *ret_process = process;
    return ATH_OK;
}

ath_err
grant_process_find_again(const struct grant_process_id *id, uid_t uid, struct why *why,
                         struct grant_process **ret_process)
{
    struct grant_process *process = NULL;
    ath_err err = grant_process_find(id->pid, uid, why, &process);

    if (err == ATH_ERR_INVALID_PARAMS)
        return ATH_ERR_NOT_FOUND;
    if (err != ATH_OK)
        return err;
    if (process->id.start_ticks != id->start_ticks ||
        strcmp(process->id.boot_id, id->boot_id) != 0) {
        grant_process_free(process);
        return why_set(why, ATH_ERR_NOT_FOUND, "the process %ld is another one", (long)id->pid);
    }
    *ret_process = process;
    return ATH_OK;
}

const struct grant_process_id *
grant_process_id(const struct grant_process *process)
{
    return &process->id;
}

/* ---- watching ---- */

static void
on_closed(uv_handle_t *handle)
{
    struct grant_process *process = handle->data;

    fd_close(&process->pidfd);
    free(process);
}

void
grant_process_free(struct grant_process *process)
{
    if (process == NULL)
        return;
    if (process->is_watched) {
        process->ended = NULL;
        uv_close((uv_handle_t *)&process->poll, on_closed);
        return;
    }
    fd_close(&process->pidfd);
    free(process);
}

/* Readable from the end of the process on (pidfd_open(2)); an error is no sign of life either. */
static void
on_readable(uv_poll_t *poll, int status, int events)
{
    struct grant_process *process = poll->data;
    void (*ended)(void *) = process->ended;

    (void)status;
    (void)events;
    uv_poll_stop(poll);
    process->ended = NULL;
    if (ended != NULL)
        ended(process->ctx);
}

ath_err
grant_process_watch(struct grant_process *process, uv_loop_t *loop, void (*ended)(void *ctx),
                    void *ctx)
{
    int native = uv_poll_init(loop, &process->poll, process->pidfd);

    if (native != 0)
        return native == UV_ENOMEM ? ATH_ERR_NOMEM : ATH_ERR_IO;
    process->is_watched = true;
    process->poll.data = process;
    process->ended = ended;
    process->ctx = ctx;
    return uv_poll_start(&process->poll, UV_READABLE, on_readable) == 0 ? ATH_OK : ATH_ERR_IO;
}
