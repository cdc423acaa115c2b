/*
 * org.freedesktop.login1 as far as ath-logind-watch uses it, on $DBUS_SYSTEM_BUS_ADDRESS. Commands
 * on standard input, a line each; what happens goes to standard output: session NAME UID [locked]
 * makes one         lock NAME, unlock NAME   its signals hint NAME 0|1               its LockedHint
 * sleep, wake              PrepareForSleep "ready", "inhibited WHAT WHO MODE", "released" (the
 * inhibitor was closed), "done" after a command.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#define LOGIND "org.freedesktop.login1"
#define MANAGER "/org/freedesktop/login1"
#define SESSIONS_MAX 8

static struct session {
    char name[32], path[96];
    uint32_t uid;
    int is_locked; /* as the bus reads it */
} sessions[SESSIONS_MAX];
static size_t session_count;
static int inhibitor = -1; /* our end: end of file when the other one is closed */

static void
say(const char *text)
{
    printf("%s\n", text);
    fflush(stdout);
}

static void
must(int result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "fake_logind: %s: %s\n", what, strerror(-result));
    exit(1);
}

/* ---- the manager ---- */

static int
on_inhibit(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    const char *what, *who, *why, *mode;
    char line[160];
    int fds[2], result;

    (void)userdata;
    (void)error;
    must(sd_bus_message_read(message, "ssss", &what, &who, &why, &mode), "Inhibit");
    if (inhibitor >= 0)
        close(inhibitor);
    must(pipe2(fds, O_CLOEXEC) == 0 ? 0 : -errno, "pipe2");
    inhibitor = fds[0];
    result = sd_bus_reply_method_return(message, "h", fds[1]);
    close(fds[1]);
    snprintf(line, sizeof(line), "inhibited %s %s %s", what, who, mode);
    say(line);
    return result;
}

static int
on_list(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    sd_bus_message *reply = NULL;
    int result;

    (void)userdata;
    (void)error;
    must(sd_bus_message_new_method_return(message, &reply), "reply");
    must(sd_bus_message_open_container(reply, 'a', "(susso)"), "reply");
    for (size_t i = 0; i < session_count; i++)
        must(sd_bus_message_append(reply, "(susso)", sessions[i].name, sessions[i].uid, "somebody",
                                   "seat0", sessions[i].path),
             "reply");
    must(sd_bus_message_close_container(reply), "reply");
    result = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return result;
}

static const sd_bus_vtable manager_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Inhibit", "ssss", "h", on_inhibit, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("ListSessions", "", "a(susso)", on_list, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL("PrepareForSleep", "b", 0),
    SD_BUS_VTABLE_END,
};

/* ---- sessions ---- */

static int
get_user(sd_bus *bus, const char *path, const char *interface, const char *property,
         sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    const struct session *session = userdata;

    (void)bus;
    (void)path;
    (void)interface;
    (void)property;
    (void)error;
    return sd_bus_message_append(reply, "(uo)", session->uid, "/org/freedesktop/login1/user/self");
}

static const sd_bus_vtable session_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("User", "(uo)", get_user, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("LockedHint", "b", NULL, offsetof(struct session, is_locked),
                    SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_SIGNAL("Lock", "", 0),
    SD_BUS_SIGNAL("Unlock", "", 0),
    SD_BUS_VTABLE_END,
};

static void
add_session(sd_bus *bus, const char *name, uint32_t uid, bool is_locked)
{
    struct session *session = &sessions[session_count];

    must(session_count < SESSIONS_MAX ? 0 : -E2BIG, "session");
    session_count++;
    snprintf(session->name, sizeof(session->name), "%s", name);
    snprintf(session->path, sizeof(session->path), "/org/freedesktop/login1/session/%s", name);
    session->uid = uid;
    session->is_locked = is_locked;
    must(sd_bus_add_object_vtable(bus, NULL, session->path, LOGIND ".Session", session_vtable,
                                  session),
         "session");
}

static struct session *
find(const char *name)
{
    for (size_t i = 0; i < session_count; i++)
        if (strcmp(sessions[i].name, name) == 0)
            return &sessions[i];
    must(-ENOENT, name);
    return NULL;
}

/* ---- commands ---- */

static void
carry_out(sd_bus *bus, char *line)
{
    char word[32] = "", name[32] = "", third[32] = "", fourth[32] = "";

    (void)sscanf(line, "%31s %31s %31s %31s", word, name, third, fourth);
    if (strcmp(word, "session") == 0) {
        add_session(bus, name, (uint32_t)strtoul(third, NULL, 10), strcmp(fourth, "locked") == 0);
    } else if (strcmp(word, "lock") == 0 || strcmp(word, "unlock") == 0) {
        must(sd_bus_emit_signal(bus, find(name)->path, LOGIND ".Session",
                                word[0] == 'l' ? "Lock" : "Unlock", ""),
             word);
    } else if (strcmp(word, "hint") == 0) {
        find(name)->is_locked = third[0] == '1';
        must(sd_bus_emit_properties_changed(bus, find(name)->path, LOGIND ".Session", "LockedHint",
                                            NULL),
             word);
    } else if (strcmp(word, "sleep") == 0 || strcmp(word, "wake") == 0) {
        must(sd_bus_emit_signal(bus, MANAGER, LOGIND ".Manager", "PrepareForSleep", "b",
                                word[0] == 's'),
             word);
    } else {
        must(-EINVAL, "command");
    }
    must(sd_bus_flush(bus), "flush");
    say("done");
}

static bool
take_commands(sd_bus *bus)
{
    static char input[1024];
    static size_t len;
    ssize_t got = read(STDIN_FILENO, input + len, sizeof(input) - 1 - len);
    char *end;

    if (got <= 0)
        return false;
    len += (size_t)got;
    input[len] = '\0';
    while ((end = strchr(input, '\n')) != NULL) {
        *end = '\0';
        carry_out(bus, input);
        len -= (size_t)(end + 1 - input);
        memmove(input, end + 1, len + 1);
    }
    return true;
}

int
main(void)
{
    sd_bus *bus = NULL;
    int result;

    must(sd_bus_open_system(&bus), "bus");
    must(sd_bus_add_object_vtable(bus, NULL, MANAGER, LOGIND ".Manager", manager_vtable, NULL),
         "manager");
    must(sd_bus_request_name(bus, LOGIND, 0), "name");
    say("ready");
    for (;;) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                               {.fd = sd_bus_get_fd(bus), .events = POLLIN},
                               {.fd = inhibitor, .events = POLLIN}};

        while ((result = sd_bus_process(bus, NULL)) > 0)
            ;
        must(result, "process");
        fds[2].fd = inhibitor;
        if (poll(fds, 3, -1) < 0 && errno != EINTR)
            return 1;
        if (inhibitor >= 0 && fds[2].fd == inhibitor && fds[2].revents != 0) {
            close(inhibitor);
            inhibitor = -1;
            say("released");
        }
        if (fds[0].revents != 0 && !take_commands(bus))
            return 0;
    }
}
