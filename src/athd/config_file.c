/* athd.json and the files of conf.d. The tree of a file does not know lines, so a value that is
 * syntactically fine and still wrong is looked for in the text again. */
#include "athd/config.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf_file.h"
#include "base/name.h"

#define CONFIG_FILE_MAX 65536u
#define CONFIG_DEPTH_MAX 8u
#define CONFIG_MEMBERS_MAX 64u
#define CONSENT_TIMEOUT_MAX_S 3600
#define PIN_TTL_MAX_S 86400
#define AUDIT_SEGMENT_SIZE_MIN 4096
#define AUDIT_SEGMENT_SIZE_MAX (1024 * 1024 * 1024)
#define AUDIT_SEGMENTS_MAX 1000000
#define AUDIT_UID_BYTES_MIN (8LL * 1024 * 1024)
#define AUDIT_UID_BYTES_MAX (1024LL * 1024 * 1024 * 1024)
#define AUDIT_TIME_MAX_S (100LL * 366 * 86400)

static const struct json_limits config_limits = {CONFIG_FILE_MAX, CONFIG_DEPTH_MAX,
                                                 CONFIG_MEMBERS_MAX, JSON_INTEGERS};

/* A file while it is read. */
struct reading {
    struct config *config;
    struct ath_slice text;
    const char *path;
    struct why *why;
};

/* The line on which "word" (with its quotes) stands first; 1 if it is written with escapes. */
static unsigned
line_of(struct ath_slice text, const char *word)
{
    size_t len = strlen(word), i;
    unsigned line = 1;

    for (i = 0; i + len + 2 <= text.len; i++) {
        if (text.data[i] == '\n')
            line++;
        if (text.data[i] == '"' && text.data[i + 1 + len] == '"' &&
            memcmp(text.data + i + 1, word, len) == 0)
            return line;
    }
    return 1;
}

static ath_err
refuse(const struct reading *reading, const char *word, const char *what)
{
    return why_set(reading->why, ATH_ERR_INVALID_PARAMS, "%s:%u: \"%s\" %s", reading->path,
                   line_of(reading->text, word), word, what);
}

static ath_err
set_string(const struct reading *reading, const struct json *value, enum config_item item,
           char **target)
{
    const char *text = json_string(value);
    char *copy;

    if (text == NULL || *text == '\0')
        return refuse(reading, json_name(value), "must be a string that is not empty");
    if ((reading->config->from_flags & item) != 0)
        return ATH_OK;
    if ((copy = ath_strdup(text)) == NULL)
        return ATH_ERR_NOMEM;
    free(*target);
    *target = copy;
    return ATH_OK;
}

/* From which directory athd was started is not the file's to know, and no shell expands a "~". */
static ath_err
set_path(const struct reading *reading, const struct json *value, enum config_item item,
         char **target)
{
    const char *text = json_string(value);

    if (text != NULL && *text != '\0' && *text != '/')
        return refuse(reading, json_name(value), "must be an absolute path");
    return set_string(reading, value, item, target);
}

/* A name is looked for in $PATH; what has a slash is a path. */
static ath_err
set_program(const struct reading *reading, const struct json *value, enum config_item item,
            char **target)
{
    const char *text = json_string(value);

    if (text != NULL && strchr(text, '/') == NULL)
        return set_string(reading, value, item, target);
    return set_path(reading, value, item, target);
}

static ath_err
set_socket_mode(const struct reading *reading, const struct json *value)
{
    static const struct {
        const char *text;
        int64_t mode;
    } modes[] = {{"0600", 0600}, {"0660", 0660}, {"0666", 0666}};
    const char *text = json_string(value);

    for (size_t i = 0; text != NULL && i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(text, modes[i].text) == 0) {
            reading->config->socket_mode = modes[i].mode;
            return ATH_OK;
        }
    return refuse(reading, json_name(value), "must be \"0600\", \"0660\" or \"0666\"");
}

static ath_err
set_log_level(const struct reading *reading, const struct json *value)
{
    enum log_level level;

    if (!log_level_parse(json_string(value), &level))
        return refuse(reading, json_name(value), "must be error, warning, info or debug");
    if ((reading->config->from_flags & CONFIG_LOG_LEVEL) == 0)
        reading->config->log_level = level;
    return ATH_OK;
}

static ath_err
set_consent_timeout(const struct reading *reading, const struct json *value)
{
    int64_t seconds;

    if (!json_int(value, &seconds) || seconds < 1 || seconds > CONSENT_TIMEOUT_MAX_S)
        return refuse(reading, json_name(value), "must be 1 to 3600 seconds");
    reading->config->consent_timeout_s = seconds;
    return ATH_OK;
}

static ath_err
set_lock_on(const struct reading *reading, const struct json *list)
{
    unsigned bits = 0;

    if (!json_is_array(list))
        return refuse(reading, "lock_on", "must be a list of \"suspend\" and \"session\"");
    for (const struct json *item = json_first(list); item != NULL; item = json_next(item)) {
        const char *text = json_string(item);

        if (text != NULL && strcmp(text, "suspend") == 0)
            bits |= CONFIG_LOCK_ON_SUSPEND;
        else if (text != NULL && strcmp(text, "session") == 0)
            bits |= CONFIG_LOCK_ON_SESSION;
        else
            return refuse(reading, "lock_on", "must be a list of \"suspend\" and \"session\"");
    }
    reading->config->lock_on = bits;
    return ATH_OK;
}

/* Of the hsm that was added last. */
static ath_err
set_pin_ttl(const struct reading *reading, const struct json *value)
{
    struct config_hsm *hsm = &reading->config->hsms[reading->config->hsm_count - 1];

    if (value == NULL)
        return ATH_OK;
    if (!json_int(value, &hsm->pin_ttl_s) || hsm->pin_ttl_s < 1 || hsm->pin_ttl_s > PIN_TTL_MAX_S)
        return refuse(reading, "pin_ttl", "must be 1 to 86400 seconds");
    return ATH_OK;
}

static bool
read_user(const struct json *item, uint32_t *ret_uid)
{
    const struct passwd *user = json_string(item) == NULL ? NULL : getpwnam(json_string(item));
    int64_t number;

    if (user != NULL)
        *ret_uid = user->pw_uid;
    else if (json_int(item, &number) && number >= 0 && number < UINT32_MAX)
        *ret_uid = (uint32_t)number;
    else
        return false;
    return true;
}

static ath_err
set_pin_users(const struct reading *reading, const struct json *list)
{
    static const char what[] = "must be a list of 1 to 16 users of this machine, names or uids";
    struct config_hsm *hsm = &reading->config->hsms[reading->config->hsm_count - 1];
    size_t count = json_count(list);

    if (list == NULL)
        return ATH_OK;
    if (!json_is_array(list) || count < 1 || count > CONFIG_PIN_USERS_MAX)
        return refuse(reading, "pin_users", what);
    for (const struct json *item = json_first(list); item != NULL; item = json_next(item))
        if (!read_user(item, &hsm->pin_uids[hsm->pin_uid_count++]))
            return refuse(reading, "pin_users", what);
    return ATH_OK;
}

static ath_err
add_hsm(const struct reading *reading, const struct json *item)
{
    const char *uri = json_get_string(item, "uri");
    const struct json *name = json_get(item, "name"), *member;
    struct why why = {{0}};
    ath_err err;

    for (member = json_is_object(item) ? json_first(item) : NULL; member != NULL;
         member = json_next(member))
        if (strcmp(json_name(member), "name") != 0 && strcmp(json_name(member), "uri") != 0 &&
            strcmp(json_name(member), "pin_ttl") != 0 &&
            strcmp(json_name(member), "pin_users") != 0)
            return refuse(reading, json_name(member), "is not known here");
    if (uri == NULL || (name != NULL && json_string(name) == NULL))
        return refuse(reading, "hsm", "must be a list of {\"name\", \"uri\"}, both strings");
    if ((err = config_add_hsm(reading->config, json_string(name), uri, &why)) != ATH_OK)
        return why_set(reading->why, err, "%s:%u: %s", reading->path, line_of(reading->text, uri),
                       why_text(&why, err));
    if ((err = set_pin_ttl(reading, json_get(item, "pin_ttl"))) != ATH_OK)
        return err;
    return set_pin_users(reading, json_get(item, "pin_users"));
}

static ath_err
set_hsms(const struct reading *reading, const struct json *list)
{
    const struct json *item;
    ath_err err = ATH_OK;

    if (!json_is_array(list))
        return refuse(reading, "hsm", "must be a list of {\"name\", \"uri\"}");
    if ((reading->config->from_flags & CONFIG_HSM) != 0)
        return ATH_OK;
    for (item = json_first(list); item != NULL && err == ATH_OK; item = json_next(item))
        err = add_hsm(reading, item);
    return err;
}

/* ---- audit ---- */

static ath_err
set_audit_int(const struct reading *reading, const struct json *value, int64_t min, int64_t max,
              int64_t *target)
{
    char what[80];

    if (!json_int(value, target) || *target < min || *target > max) {
        snprintf(what, sizeof(what), "must be %lld to %lld", (long long)min, (long long)max);
        return refuse(reading, json_name(value), what);
    }
    return ATH_OK;
}

/* 0: no limit; else not so few that one day's refusals could be more. */
static ath_err
set_audit_uid_bytes(const struct reading *reading, const struct json *value, int64_t *target)
{
    int64_t bytes;

    if (!json_int(value, &bytes) ||
        (bytes != 0 && (bytes < AUDIT_UID_BYTES_MIN || bytes > AUDIT_UID_BYTES_MAX)))
        return refuse(reading, json_name(value),
                      "must be 8388608 (8 MiB) to 1099511627776 (1 TiB), or 0");
    *target = bytes;
    return ATH_OK;
}

static ath_err
set_audit_hsm(const struct reading *reading, const struct json *value)
{
    const char *name = json_string(value);
    char *copy;

    if (name == NULL || !name_is_valid(name))
        return refuse(reading, "audit", "names its \"hsm\" as \"hsm\" does");
    if ((copy = ath_strdup(name)) == NULL)
        return ATH_ERR_NOMEM;
    free(reading->config->audit.hsm);
    reading->config->audit.hsm = copy;
    return ATH_OK;
}

static ath_err
set_audit_member(const struct reading *reading, const struct json *member)
{
    struct config_audit *audit = &reading->config->audit;
    const char *name = json_name(member);

    if (strcmp(name, "segment_size") == 0)
        return set_audit_int(reading, member, AUDIT_SEGMENT_SIZE_MIN, AUDIT_SEGMENT_SIZE_MAX,
                             &audit->segment_size);
    if (strcmp(name, "segment_age") == 0)
        return set_audit_int(reading, member, 0, AUDIT_TIME_MAX_S, &audit->segment_age_s);
    if (strcmp(name, "checkpoint_interval") == 0)
        return set_audit_int(reading, member, 0, AUDIT_TIME_MAX_S, &audit->checkpoint_interval_s);
    if (strcmp(name, "keep_days") == 0)
        return set_audit_int(reading, member, 0, AUDIT_TIME_MAX_S / 86400, &audit->keep_days);
    if (strcmp(name, "keep_segments") == 0)
        return set_audit_int(reading, member, 0, AUDIT_SEGMENTS_MAX, &audit->keep_segments);
    if (strcmp(name, "uid_bytes_per_day") == 0)
        return set_audit_uid_bytes(reading, member, &audit->uid_bytes_per_day);
    if (strcmp(name, "hsm") == 0)
        return set_audit_hsm(reading, member);
    if (strcmp(name, "witness") == 0 && json_is_bool(member)) {
        audit->witness = json_is_true(member);
        return ATH_OK;
    }
    return refuse(reading, name,
                  strcmp(name, "witness") == 0 ? "must be true or false" : "is not known here");
}

static ath_err
set_audit(const struct reading *reading, const struct json *object)
{
    const struct json *member;
    ath_err err = ATH_OK;

    if (!json_is_object(object))
        return refuse(reading, "audit", "must be an object");
    for (member = json_first(object); member != NULL && err == ATH_OK; member = json_next(member))
        err = set_audit_member(reading, member);
    return err;
}

static ath_err
set_member(const struct reading *reading, const struct json *member)
{
    struct config *config = reading->config;
    const char *name = json_name(member);

    if (strcmp(name, "hsm") == 0)
        return set_hsms(reading, member);
    if (strcmp(name, "socket") == 0)
        return set_path(reading, member, CONFIG_SOCKET, &config->socket);
    if (strcmp(name, "socket_mode") == 0)
        return set_socket_mode(reading, member);
    if (strcmp(name, "socket_group") == 0)
        return set_string(reading, member, 0, &config->socket_group);
    if (strcmp(name, "state_dir") == 0)
        return set_path(reading, member, CONFIG_STATE_DIR, &config->state_dir);
    if (strcmp(name, "prompter") == 0)
        return set_program(reading, member, CONFIG_PROMPTER, &config->prompter);
    if (strcmp(name, "helper") == 0)
        return set_path(reading, member, CONFIG_HELPER, &config->helper);
    if (strcmp(name, "consent_timeout") == 0)
        return set_consent_timeout(reading, member);
    if (strcmp(name, "lock_on") == 0)
        return set_lock_on(reading, member);
    if (strcmp(name, "log_level") == 0)
        return set_log_level(reading, member);
    if (strcmp(name, "audit") == 0)
        return set_audit(reading, member);
    return refuse(reading, name, "is not a member of this file");
}

ath_err
config_read_text(struct config *config, struct ath_slice text, const char *path, struct why *why)
{
    struct reading reading = {config, text, path, why};
    struct json *tree = NULL;
    const struct json *member;
    struct why inner = {{0}};
    ath_err err;

    if ((err = json_parse_config(text, &config_limits, &inner, &tree)) != ATH_OK)
        return err == ATH_ERR_NOMEM
                   ? err
                   : why_set(why, ATH_ERR_INVALID_PARAMS, "%s:%s", path, why_text(&inner, err));
    if (!json_is_object(tree))
        err = why_set(why, ATH_ERR_INVALID_PARAMS, "%s:1: must be a JSON object", path);
    for (member = json_first(tree); member != NULL && err == ATH_OK; member = json_next(member))
        err = set_member(&reading, member);
    json_free(tree);
    return err;
}

/* Whoever writes the file says which programs run as us. */
ath_err
config_read_file(struct config *config, const char *path, struct why *why)
{
    struct ath_buf text = {.max = CONFIG_FILE_MAX};
    ath_err err = conf_file_check_writers(path, geteuid(), why);

    if (err == ATH_OK)
        err = conf_file_read(path, &text, why);
    if (err == ATH_OK)
        err = config_source_add(config, path, ath_buf_slice(&text));
    if (err == ATH_OK)
        err = config_read_text(config, ath_buf_slice(&text), path, why);
    ath_buf_done(&text);
    return err;
}
