/*
 * Tells athd, by lines on standard output (src/athd/lock_watch_line.h), what logind says: that the
 * machine is about to sleep, that sessions are locked and unlocked (org.freedesktop.login1(5)). A
 * program of its own so that athd is linked with no D-Bus library. athd starts it; it ends with its
 * standard input, and whenever logind or the bus goes away: athd starts it again.
 *
 * A delay inhibitor holds sleep up until athd has said "locked", or logind has waited long enough
 * (InhibitDelayMaxSec of logind.conf(5)).
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#include "base/fd.h"
#include "base/log.h"

#define LOGIND "org.freedesktop.login1"
#define MANAGER "/org/freedesktop/login1"
#define SESSIONS "/org/freedesktop/login1/session"
#define CALL_TIMEOUT_US (5u * 1000000u)
#define ANSWER "locked\n"
#define BUS "org.freedesktop.DBus"
#define NAME_SIZE 256 /* D-Bus specification, "Valid Names" */

struct watch {
    sd_bus *bus;
    bool wants_sleep, wants_sessions, has_uid;
    uid_t uid;
    char logind[NAME_SIZE]; /* its unique name */
    int inhibitor;          /* -1: none */
    bool is_sleep_waiting;  /* for an answer of athd's */
    char answer[sizeof(ANSWER) - 1];
    size_t answer_len;
    bool is_over;
};

/* ---- to athd ---- */

static void
say(struct watch *watch, const char *line)
{
    if (fd_write_all(STDOUT_FILENO, ath_slice_of_string(line)) != ATH_OK)
        watch->is_over = true; /* athd has gone */
}

static void
say_session(struct watch *watch, const char *word, uid_t uid)
{
    char line[32];

    if (watch->has_uid && uid != watch->uid)
        return;
    (void)snprintf(line, sizeof(line), "%s %lu\n", word, (unsigned long)uid);
    say(watch, line);
}

static int
failed(const char *what, int error)
{
    log_warning("event=logind what=%s reason=\"%s\"", what, strerror(-error));
    return error;
}

/* ---- whose signals ---- */

/* A match rule chooses what the bus distributes. What somebody sends to us alone comes whatever the
 * rules say, as far as the bus's policy lets it, and sd-bus cannot tell whether the sender has the
 * well-known name of the rule. */
static bool
is_from(sd_bus_message *message, const char *name)
{
    const char *sender = sd_bus_message_get_sender(message);

    return sender != NULL && strcmp(sender, name) == 0;
}

static int
find_logind(struct watch *watch)
{
    sd_bus_message *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    const char *name = NULL;
    int result;

    result = sd_bus_call_method(watch->bus, BUS, "/org/freedesktop/DBus", BUS, "GetNameOwner",
                                &error, &reply, "s", LOGIND);
    if (result >= 0)
        result = sd_bus_message_read(reply, "s", &name);
    if (result >= 0 && snprintf(watch->logind, NAME_SIZE, "%s", name) >= NAME_SIZE)
        result = -ENAMETOOLONG;
    sd_bus_error_free(&error);
    sd_bus_message_unref(reply);
    return result;
}

/* ---- sleep ---- */

/* Without it athd still locks, but perhaps only after the machine has woken. */
static void
inhibit(struct watch *watch)
{
    sd_bus_message *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int fd = -1, result;

    if (watch->inhibitor >= 0)
        return;
    result = sd_bus_call_method(watch->bus, LOGIND, MANAGER, LOGIND ".Manager", "Inhibit", &error,
                                &reply, "ssss", "sleep", "athd", "Locks before the machine sleeps",
                                "delay");
    if (result >= 0)
        result = sd_bus_message_read(reply, "h", &fd); /* borrowed from the message */
    if (result >= 0 && (watch->inhibitor = dup(fd)) < 0)
        result = -errno;
    if (result < 0)
        (void)failed("inhibit", result);
    sd_bus_error_free(&error);
    sd_bus_message_unref(reply);
}

static int
on_sleep(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct watch *watch = userdata;
    int begins = 0;

    (void)error;
    if (!is_from(message, watch->logind) || sd_bus_message_read(message, "b", &begins) < 0)
        return 0;
    watch->is_sleep_waiting = begins != 0;
    if (begins != 0) {
        say(watch, "sleep\n");
    } else {
        say(watch, "wake\n");
        inhibit(watch);
    }
    return 0;
}

/* ---- sessions ---- */

static bool
uid_of(struct watch *watch, const char *path, uid_t *ret_uid)
{
    sd_bus_message *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    const char *user = NULL;
    uint32_t uid = 0;
    int result;

    result = sd_bus_get_property(watch->bus, LOGIND, path, LOGIND ".Session", "User", &error,
                                 &reply, "(uo)");
    if (result >= 0)
        result = sd_bus_message_read(reply, "(uo)", &uid, &user);
    if (result < 0)
        (void)failed("session", result); /* it may have gone */
    sd_bus_error_free(&error);
    sd_bus_message_unref(reply);
    *ret_uid = uid;
    return result >= 0;
}

static void
tell_session(struct watch *watch, sd_bus_message *message, const char *word)
{
    const char *path = sd_bus_message_get_path(message);
    uid_t uid = 0;

    if (path != NULL && is_from(message, watch->logind) && uid_of(watch, path, &uid))
        say_session(watch, word, uid);
}

static int
on_lock(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    (void)error;
    tell_session(userdata, message, "lock");
    return 0;
}

static int
on_unlock(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    (void)error;
    tell_session(userdata, message, "unlock");
    return 0;
}

/* 1 and *ret_is_locked where the changed properties hold LockedHint; 0: they do not. */
static int
read_hint(sd_bus_message *message, int *ret_is_locked)
{
    const char *name = NULL;
    int result, found = 0;

    if ((result = sd_bus_message_skip(message, "s")) < 0 ||
        (result = sd_bus_message_enter_container(message, 'a', "{sv}")) < 0)
        return result;
    while (found == 0 && (result = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
        if ((result = sd_bus_message_read(message, "s", &name)) < 0)
            return result;
        if (strcmp(name, "LockedHint") == 0) {
            result = sd_bus_message_read(message, "v", "b", ret_is_locked);
            found = 1;
        } else {
            result = sd_bus_message_skip(message, "v");
        }
        if (result < 0 || (result = sd_bus_message_exit_container(message)) < 0)
            return result;
    }
    return result < 0 ? result : found;
}

/* Screen lockers set the hint themselves, also where nobody asked logind for it. */
static int
on_properties(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    int is_locked = 0;

    (void)error;
    if (read_hint(message, &is_locked) > 0)
        tell_session(userdata, message, is_locked ? "lock" : "unlock");
    return 0;
}

/* Only what is locked is told: that a session is not does not show that a person unlocked it. */
static int
tell_locked(struct watch *watch)
{
    const char *id, *name, *seat, *path;
    sd_bus_message *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    uint32_t uid = 0;
    int result;

    result = sd_bus_call_method(watch->bus, LOGIND, MANAGER, LOGIND ".Manager", "ListSessions",
                                &error, &reply, "");
    if (result >= 0)
        result = sd_bus_message_enter_container(reply, 'a', "(susso)");
    while (result >= 0 &&
           (result = sd_bus_message_read(reply, "(susso)", &id, &uid, &name, &seat, &path)) > 0) {
        int is_locked = 0;

        if (sd_bus_get_property_trivial(watch->bus, LOGIND, path, LOGIND ".Session", "LockedHint",
                                        NULL, 'b', &is_locked) >= 0 &&
            is_locked)
            say_session(watch, "lock", uid);
    }
    sd_bus_error_free(&error);
    sd_bus_message_unref(reply);
    return result;
}

/* ---- the bus ---- */

/* Another logind knows nothing of what this program has asked for. */
static int
on_owner(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct watch *watch = userdata;

    (void)error;
    if (!is_from(message, BUS))
        return 0;
    log_warning("event=logind reason=\"it has been started again, or has gone\"");
    watch->is_over = true;
    return 0;
}

static int
add_match(struct watch *watch, const char *rule, sd_bus_message_handler_t on_signal)
{
    return sd_bus_add_match(watch->bus, NULL, rule, on_signal, watch);
}

#define SIGNAL_OF_LOGIND "type='signal',sender='" LOGIND "',"

static int
watch_sessions(struct watch *watch)
{
    int result;

    if ((result = add_match(watch,
                            SIGNAL_OF_LOGIND "path_namespace='" SESSIONS "',interface='" LOGIND
                                             ".Session',member='Lock'",
                            on_lock)) < 0 ||
        (result = add_match(watch,
                            SIGNAL_OF_LOGIND "path_namespace='" SESSIONS "',interface='" LOGIND
                                             ".Session',member='Unlock'",
                            on_unlock)) < 0 ||
        (result = add_match(watch,
                            SIGNAL_OF_LOGIND "path_namespace='" SESSIONS
                                             "',interface='org.freedesktop.DBus.Properties',"
                                             "member='PropertiesChanged',arg0='" LOGIND ".Session'",
                            on_properties)) < 0)
        return result;
    return tell_locked(watch);
}

static int
begin(struct watch *watch)
{
    int result;

    if ((result = sd_bus_open_system(&watch->bus)) < 0)
        return failed("bus", result);
    if ((result = sd_bus_set_method_call_timeout(watch->bus, CALL_TIMEOUT_US)) < 0 ||
        (result = add_match(watch,
                            "type='signal',sender='" BUS "',interface='" BUS
                            "',member='NameOwnerChanged',arg0='" LOGIND "'",
                            on_owner)) < 0)
        return failed("watch", result);
    if (watch->wants_sleep) {
        result = add_match(watch,
                           SIGNAL_OF_LOGIND "path='" MANAGER "',interface='" LOGIND
                                            ".Manager',member='PrepareForSleep'",
                           on_sleep);
        inhibit(watch);
    }
    if (result >= 0 && watch->wants_sessions)
        result = watch_sessions(watch);
    if (result >= 0) /* the bus may have started it for what was asked of it */
        result = find_logind(watch);
    if (result < 0)
        return failed("watch", result);
    say(watch, "watching\n");
    return 0;
}

/* ---- from athd ---- */

static void
take_answer(struct watch *watch)
{
    ssize_t len = read(STDIN_FILENO, watch->answer + watch->answer_len,
                       sizeof(watch->answer) - watch->answer_len);

    if (len <= 0) {
        watch->is_over = len == 0 || errno != EINTR;
        return;
    }
    watch->answer_len += (size_t)len;
    if (watch->answer_len < sizeof(watch->answer))
        return;
    watch->answer_len = 0;
    if (memcmp(watch->answer, ANSWER, sizeof(watch->answer)) != 0)
        watch->is_over = true;
    else if (watch->is_sleep_waiting) /* else it has slept: the inhibitor is for the next time */
        fd_close(&watch->inhibitor);
}

/* ---- the loop ---- */

static int
poll_timeout_ms(struct watch *watch)
{
    uint64_t at_us = UINT64_MAX;

    /* replies are waited for where they are asked for: nothing else in the bus has a time */
    return sd_bus_get_timeout(watch->bus, &at_us) >= 0 && at_us != UINT64_MAX ? 1000 : -1;
}

static int
run(struct watch *watch)
{
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = -1}};
    int result, events;

    while (!watch->is_over) {
        while (!watch->is_over && (result = sd_bus_process(watch->bus, NULL)) != 0)
            if (result < 0)
                return failed("bus", result);
        if (watch->is_over || (events = sd_bus_get_events(watch->bus)) < 0)
            break;
        fds[1] = (struct pollfd){.fd = sd_bus_get_fd(watch->bus), .events = (short)events};
        if (poll(fds, 2, poll_timeout_ms(watch)) < 0 && errno != EINTR)
            return failed("poll", -errno);
        if (fds[0].revents != 0)
            take_answer(watch);
    }
    return 0;
}

/* ---- the command line ---- */

static bool
read_uid(const char *text, struct watch *watch)
{
    char *end = NULL;
    unsigned long uid = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || uid >= UINT32_MAX)
        return false;
    watch->uid = (uid_t)uid;
    watch->has_uid = true;
    return true;
}

static bool
read_arguments(int argc, char **argv, struct watch *watch)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--sleep") == 0)
            watch->wants_sleep = true;
        else if (strcmp(argv[i], "--sessions") == 0)
            watch->wants_sessions = true;
        else if (strcmp(argv[i], "--uid") != 0 || i + 1 == argc || !read_uid(argv[++i], watch))
            return false;
    }
    return watch->wants_sleep || watch->wants_sessions;
}

int
main(int argc, char **argv)
{
    struct watch watch = {.inhibitor = -1};
    int result;

    if (!read_arguments(argc, argv, &watch)) {
        fputs("usage: ath-logind-watch [--sleep] [--sessions] [--uid UID]; athd starts it\n",
              stderr);
        return 64;
    }
    if ((result = begin(&watch)) >= 0)
        result = run(&watch);
    fd_close(&watch.inhibitor);
    sd_bus_flush_close_unref(watch.bus);
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
