#include "athd/consent_environment.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

static bool
is_of(const char *text, const char *signs)
{
    for (; *text != '\0'; text++)
        if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
              (*text >= '0' && *text <= '9') || strchr(signs, *text) != NULL))
            return false;
    return true;
}

bool
consent_environment_is_word(const char *value)
{
    return is_of(value, "._@+-");
}

static const char *
check_word(const char *value, uid_t uid)
{
    (void)uid;
    return consent_environment_is_word(value) ? NULL : "letters, digits and ._@+-";
}

static const char *
check_display(const char *value, uid_t uid)
{
    (void)uid;
    return is_of(value, "._:/-") ? NULL : "a display's name";
}

static bool
is_visible(const char *value)
{
    for (; *value != '\0'; value++)
        if (*value <= ' ' || *value == '\x7f')
            return false;
    return true;
}

/* A wayland display is a name or a path. */
static const char *
check_path_or_name(const char *value, uid_t uid)
{
    (void)uid;
    return is_visible(value) && (value[0] == '/' || strchr(value, '/') == NULL)
               ? NULL
               : "a name or an absolute path";
}

static const char *
check_path(const char *value, uid_t uid)
{
    (void)uid;
    for (const char *at = value; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == '\x7f')
            return "an absolute path";
    return value[0] == '/' ? NULL : "an absolute path";
}

/* D-Bus Specification, "Server Addresses": "unixexec:" and "autolaunch:" start programs. */
static const char *
check_bus(const char *value, uid_t uid)
{
    const char *at = value;

    (void)uid;
    while (is_visible(value) && strncmp(at, "unix:", strlen("unix:")) == 0) {
        at += strcspn(at, ";");
        if (*at == '\0')
            return NULL;
        at++;
    }
    return "addresses \"unix:...\"";
}

/* "/dev/pts/7", "/dev/tty3": no path through anything that somebody else may mount or link. */
bool
consent_environment_is_terminal(const char *value)
{
    if (strncmp(value, "/dev/pts/", strlen("/dev/pts/")) == 0)
        return is_of(value + strlen("/dev/pts/"), "");
    return strncmp(value, "/dev/tty", strlen("/dev/tty")) == 0 &&
           is_of(value + strlen("/dev/tty"), "");
}

/* O_NONBLOCK: a serial line that waits for a carrier must not hold athd up (open(2)). */
static const char *
check_terminal(const char *value, uid_t uid)
{
    static const char expected[] = "the path of a terminal of yours (tty(1))";
    struct stat status;
    bool is_good;
    int fd;

    if (!consent_environment_is_terminal(value) || stat(value, &status) != 0 || !S_ISCHR(status.st_mode) ||
        status.st_uid != uid)
        return expected;
    fd = open(value, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    is_good = fd >= 0 && isatty(fd) == 1;
    fd_close(&fd);
    return is_good ? NULL : expected;
}

static const struct {
    const char *name;
    const char *(*check)(const char *value, uid_t uid); /* NULL: good; else what it must be */
} variables[] = {
    {"DISPLAY", check_display},
    {"WAYLAND_DISPLAY", check_path_or_name},
    {"XAUTHORITY", check_path},
    {"DBUS_SESSION_BUS_ADDRESS", check_bus},
    {"XDG_RUNTIME_DIR", check_path},
    {"XDG_SESSION_TYPE", check_word},
    {"GPG_TTY", check_terminal},
    {"TERM", check_word},
    {"LANG", check_word},
    {"LC_ALL", check_word},
    {"LC_CTYPE", check_word},
    {"LC_MESSAGES", check_word},
};
_Static_assert(sizeof(variables) / sizeof(variables[0]) == CONSENT_VARIABLES, "one value each");

/* ---- the vector ---- */

/* Is this entry of an environment one of ours to say? */
static bool
is_variable(const char *entry)
{
    for (size_t i = 0; i < CONSENT_VARIABLES; i++) {
        size_t len = strlen(variables[i].name);

        if (strncmp(entry, variables[i].name, len) == 0 && entry[len] == '=')
            return true;
    }
    return false;
}

static ath_err
join(const char *name, const char *value, char **ret_entry)
{
    size_t name_len = strlen(name), value_len = strlen(value);
    char *entry = malloc(name_len + value_len + 2);

    if (entry == NULL)
        return ATH_ERR_NOMEM;
    memcpy(entry, name, name_len);
    entry[name_len] = '=';
    memcpy(entry + name_len + 1, value, value_len + 1);
    *ret_entry = entry;
    return ATH_OK;
}

static void
free_vector(char **vector)
{
    for (size_t i = 0; vector != NULL && vector[i] != NULL; i++)
        if (is_variable(vector[i]))
            free(vector[i]);
    free(vector);
}

static ath_err
make_vector(char *const values[CONSENT_VARIABLES], char ***ret_vector)
{
    size_t count = 0, used = 0;
    char **vector;
    ath_err err;

    while (environ[count] != NULL)
        count++;
    if ((vector = calloc(count + CONSENT_VARIABLES + 1, sizeof(*vector))) == NULL)
        return ATH_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        if (!is_variable(environ[i]))
            vector[used++] = environ[i];
    for (size_t i = 0; i < CONSENT_VARIABLES; i++) {
        if (values[i] == NULL)
            continue;
        if ((err = join(variables[i].name, values[i], &vector[used])) != ATH_OK) {
            free_vector(vector);
            return err;
        }
        used++;
    }
    *ret_vector = vector;
    return ATH_OK;
}

/* ---- setting ---- */

static ath_err
read_values(const struct json *params, uid_t uid, struct why *why,
            char *ret_values[CONSENT_VARIABLES])
{
    const char *value, *expected;
    ath_err err;

    for (size_t i = 0; i < CONSENT_VARIABLES; i++) {
        if ((value = json_get_string(params, variables[i].name)) == NULL)
            continue;
        if ((expected = variables[i].check(value, uid)) != NULL)
            return why_set(why, ATH_ERR_INVALID_PARAMS, "%s must be %s", variables[i].name,
                           expected);
        if ((err = ath_strdup_to(value, &ret_values[i])) != ATH_OK)
            return err;
    }
    return ATH_OK;
}

ath_err
consent_environment_set(struct consent_environment *environment, const struct json *params,
                        uid_t uid, struct why *why)
{
    struct consent_environment made = {.is_set = true};
    ath_err err;

    if ((err = read_values(params, uid, why, made.values)) != ATH_OK ||
        (err = make_vector(made.values, &made.vector)) != ATH_OK) {
        consent_environment_done(&made);
        return err;
    }
    consent_environment_done(environment);
    *environment = made;
    return ATH_OK;
}

void
consent_environment_done(struct consent_environment *environment)
{
    free_vector(environment->vector);
    for (size_t i = 0; i < CONSENT_VARIABLES; i++)
        free(environment->values[i]);
    *environment = (struct consent_environment){.is_set = false};
}

/* ---- reading ---- */

const char *
consent_environment_get(const struct consent_environment *environment, const char *name)
{
    for (size_t i = 0; environment->is_set && i < CONSENT_VARIABLES; i++)
        if (strcmp(variables[i].name, name) == 0)
            return environment->values[i];
    return getenv(name);
}

char *const *
consent_environment_vector(const struct consent_environment *environment)
{
    return environment->is_set ? environment->vector : environ;
}

void
consent_environment_put(const struct consent_environment *environment, struct json_maker *object,
                        const char *name)
{
    struct json_maker values;

    json_object_begin(&values);
    for (size_t i = 0; i < CONSENT_VARIABLES; i++)
        json_put_string(&values, variables[i].name, environment->values[i]);
    json_put_maker(object, name, &values);
}
