/*
 * COMMAND's process, up to the moment it becomes COMMAND.
 *
 * It is forked first and told what to be last: athd ties the grant to its number, and until the
 * grant is there nothing of COMMAND runs. Where a systemd user manager is, the process becomes
 * systemd-run, which asks for a scope and then becomes `ath` again (run_stage_main) in the same
 * process. COMMAND's words never pass through systemd-run, so that nothing expands them, and what
 * COMMAND ends with is never taken for systemd-run's failure.
 */
#include "ath_cmd_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "crypto/random.h"

#define SCOPE_WAIT_MS 10000

/* ---- between fork and exec ---- */

/* Of ath's descriptors none is left but the three and the one it is told through. */
static void
child_main(int fd, const char *socket, const char *unit, const char *name, long parent)
{
    char self[40], unit_flag[RUN_UNIT_SIZE + 8], description[120];

    if (dup2(fd, RUN_STAGE_FD) < 0 || fcntl(RUN_STAGE_FD, F_SETFD, 0) != 0)
        _exit(EXIT_FAILURE);
    fd_close_from(RUN_STAGE_FD + 1);
    run_clean_environment(socket);
    if (unit[0] == '\0')
        _exit(run_stage());
    snprintf(self, sizeof(self), "/proc/%ld/exe", parent);
    snprintf(unit_flag, sizeof(unit_flag), "--unit=%s", unit);
    snprintf(description, sizeof(description), "--description=ath run %s", name);
    execlp("systemd-run", "systemd-run", "--user", "--scope", "--quiet", "--collect", unit_flag,
           description, "--", self, RUN_STAGE_WORD, (char *)NULL);
    _exit(RUN_NOT_FOUND);
}

static ath_err
fork_child(const char *name, const char *socket, struct run_child *child)
{
    int fds[2];
    long parent = (long)getpid();

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return ATH_ERR_IO;
    fflush(NULL); /* or both would write what is not written yet */
    child->pid = fork();
    if (child->pid == 0)
        child_main(fds[1], socket, child->unit, name, parent);
    fd_close(&fds[1]);
    child->fd = fds[0];
    if (child->pid < 0) {
        fd_close(&child->fd);
        return ATH_ERR_IO;
    }
    return ATH_OK;
}

/* ---- scopes ---- */

/* systemd-run talks to the user's manager here (sd_bus_open_user). */
static bool
manager_listens(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int fd, len;
    bool listens;

    if (runtime == NULL || runtime[0] != '/')
        return false;
    len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/systemd/private", runtime);
    if (len < 0 || (size_t)len >= sizeof(address.sun_path))
        return false;
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
        return false;
    listens = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    fd_close(&fd);
    return listens;
}

bool
run_scope_is_possible(void)
{
    return run_is_in_path("systemd-run", X_OK) && manager_listens();
}

/* "ath-run-travel-Zk3…x.scope". '@' would make it an instance of a template. */
static ath_err
name_unit(const char *name, char ret_unit[RUN_UNIT_SIZE])
{
    char suffix[16], *at;
    ath_err err;

    if ((err = random_base64url(8, suffix)) != ATH_OK)
        return err;
    snprintf(ret_unit, RUN_UNIT_SIZE, "ath-run-%s-%s.scope", name, suffix);
    for (at = ret_unit; *at != '\0'; at++) {
        if (*at == '@')
            *at = '_';
    }
    return ATH_OK;
}

/* Waits for the word of the process behind systemd-run. */
static bool
is_ready(const struct run_child *child)
{
    uint64_t until = clock_monotonic_ms() + SCOPE_WAIT_MS;
    struct pollfd waited = {.fd = child->fd, .events = POLLIN};
    uint8_t byte;
    int got = 0;

    do {
        uint64_t now = clock_monotonic_ms();

        got = poll(&waited, 1, now < until ? (int)(until - now) : 0);
    } while (got < 0 && errno == EINTR);
    return got == 1 && fd_read_exact(child->fd, &byte, 1) == ATH_OK;
}

bool
run_is_in_unit(const char *cgroup, const char *unit)
{
    size_t unit_len = strlen(unit), len;

    while (cgroup != NULL && strncmp(cgroup, "0::", 3) != 0)
        cgroup = (cgroup = strchr(cgroup, '\n')) == NULL ? NULL : cgroup + 1;
    if (cgroup == NULL)
        return false;
    len = strcspn(cgroup, "\n");
    return len > unit_len && cgroup[len - unit_len - 1] == '/' &&
           strncmp(cgroup + len - unit_len, unit, unit_len) == 0;
}

static bool
process_is_in_unit(pid_t pid, const char *unit)
{
    char path[40], text[8192];
    size_t len;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%ld/cgroup", (long)pid);
    if ((file = fopen(path, "re")) == NULL)
        return false;
    len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    return run_is_in_unit(text, unit);
}

/* Ends it where it can end no other way, and gives what waitpid(2) says. */
static int
end_child(struct run_child *child, int signal_number)
{
    int status = 0;

    fd_close(&child->fd);
    if (signal_number != 0)
        kill(child->pid, signal_number);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    child->pid = -1;
    return status;
}

/* systemd-run has said why on standard error, if it ran. */
static void
say_no_scope(const struct cmd_context *context, bool is_late, int status)
{
    if (is_late)
        cmd_note(context, "ath: systemd-run did not answer in %d s", SCOPE_WAIT_MS / 1000);
    cmd_note(context,
             "ath: systemd-run made no scope%s: the command runs without one, in this group of "
             "processes; its grant holds all the same",
             is_late             ? ""
             : WIFEXITED(status) ? " (it failed, and says why above)"
                                 : "");
}

/* False: it is not there, and why was said. */
static bool
start_in_scope(const struct cmd_context *context, const char *name, const char *socket,
               struct run_child *child)
{
    bool is_late;
    int status;

    if (name_unit(name, child->unit) != ATH_OK || fork_child(name, socket, child) != ATH_OK)
        return false;
    if (is_ready(child)) {
        if (process_is_in_unit(child->pid, child->unit))
            return true;
        cmd_note(context,
                 "ath: systemd-run ran, but the command's cgroup is not that of the scope %s: the "
                 "grant is not tied to it",
                 child->unit);
        child->unit[0] = '\0';
        return true;
    }
    is_late = fd_poll_now(child->fd, POLLIN) == 0; /* its end of the pair is open: it lives */
    status = end_child(child, SIGKILL);
    say_no_scope(context, is_late, status);
    return false;
}

/* ---- what ath run calls ---- */

ath_err
run_child_start(const struct cmd_context *context, const char *name, const char *socket,
                struct run_child *ret_child)
{
    if (run_scope_is_possible() && start_in_scope(context, name, socket, ret_child))
        return ATH_OK;
    ret_child->unit[0] = '\0';
    return fork_child(name, socket, ret_child);
}

ath_err
run_child_go(struct run_child *child, const char *socket, char **words)
{
    struct ath_buf fields = {.max = RUN_MESSAGE_MAX}, message = {.max = RUN_MESSAGE_MAX + 4};
    ath_err err;

    bytes_put_field(&fields, ath_slice_of_string(socket));
    for (; *words != NULL; words++)
        bytes_put_field(&fields, ath_slice_of_string(*words));
    bytes_put_field(&message, ath_buf_slice(&fields)); /* its length is the message's head */
    err = fields.err != ATH_OK ? fields.err : message.err;
    if (err == ATH_OK)
        err = fd_write_all(child->fd, ath_buf_slice(&message));
    if (err == ATH_OK)
        fd_close(&child->fd);
    ath_buf_done(&fields);
    ath_buf_done(&message);
    return err;
}

void
run_child_drop(struct run_child *child)
{
    (void)end_child(child, SIGTERM);
}
