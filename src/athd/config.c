#include "athd/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf_file.h"
#include "base/file.h"

#define HELPER_NAME "ath-hsm-helper"
#define LOGIND_WATCH_NAME "ath-logind-watch"
#define SYSTEM_CONFIG_DIR "/etc/ath"
#define SYSTEM_STATE_DIR "/var/lib/ath"
#define SYSTEM_SOCKET "/run/ath/agent.sock"

ath_err
config_replace(char **target, const char *text)
{
    char *copy = ath_strdup(text);

    if (copy == NULL)
        return ATH_ERR_NOMEM;
    free(*target);
    *target = copy;
    return ATH_OK;
}

/* ---- files ---- */

/* $variable/ath, or $HOME/fallback/ath; NULL if neither is known (or out of memory). */
static char *
xdg_dir(const char *variable, const char *fallback)
{
    const char *dir = getenv(variable), *home = getenv("HOME");
    struct ath_buf path = {0};
    char *copy = NULL;

    /* a relative path in these variables is to be ignored (XDG Base Directory Specification) */
    if (dir != NULL && dir[0] == '/')
        ath_buf_printf(&path, "%s/ath", dir);
    else if (home != NULL && home[0] == '/' && fallback != NULL)
        ath_buf_printf(&path, "%s/%s/ath", home, fallback);
    if (path.len > 0)
        copy = ath_strdup(ath_buf_text(&path));
    ath_buf_done(&path);
    return copy;
}

static ath_err
read_conf_file(void *ctx, const char *path, struct why *why)
{
    return config_read_file(ctx, path, why);
}

static ath_err
read_conf_dir(struct config *config, const char *dir, struct why *why)
{
    ath_err err = conf_file_each(dir, read_conf_file, config, why);

    return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
}

static ath_err
make_absolute(char **path, struct why *why)
{
    char *cwd, *absolute;

    if (**path == '/')
        return ATH_OK;
    if ((cwd = getcwd(NULL, 0)) == NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "%s is relative to no directory", *path);
    absolute = file_path(cwd, *path);
    free(cwd);
    if (absolute == NULL)
        return ATH_ERR_NOMEM;
    free(*path);
    *path = absolute;
    return ATH_OK;
}

/* Policy lies beside the configuration. */
static ath_err
set_dir_of_file(struct config *config, struct why *why)
{
    char *slash;
    ath_err err = config_replace(&config->policy_dir, config->file);

    if (err != ATH_OK || (err = make_absolute(&config->policy_dir, why)) != ATH_OK)
        return err;
    slash = strrchr(config->policy_dir, '/');
    slash[slash == config->policy_dir] = '\0'; /* "/athd.json" lies in "/" */
    return ATH_OK;
}

/* --config names the only file; else athd.json and conf.d of the configuration directory, where
 * there are any. */
static ath_err
read_files(struct config *config, struct why *why)
{
    char *dir, *file = NULL, *conf_dir = NULL;
    ath_err err = ATH_ERR_NOMEM;

    if (config->file != NULL) {
        if ((err = set_dir_of_file(config, why)) != ATH_OK)
            return err;
        err = config_read_file(config, config->file, why);
        return err == ATH_ERR_NOT_FOUND ? ATH_ERR_INVALID_PARAMS : err;
    }
    dir = config->is_system ? ath_strdup(SYSTEM_CONFIG_DIR) : xdg_dir("XDG_CONFIG_HOME", ".config");
    if (dir == NULL)
        return ATH_OK; /* no home: there are only flags */
    if ((err = config_replace(&config->policy_dir, dir)) != ATH_OK)
        goto out;
    err = ATH_ERR_NOMEM;
    if ((file = file_path(dir, "athd.json")) == NULL ||
        (conf_dir = file_path(dir, "conf.d")) == NULL)
        goto out;
    err = config_read_file(config, file, why);
    if (err == ATH_OK || err == ATH_ERR_NOT_FOUND)
        err = read_conf_dir(config, conf_dir, why);
    if (err == ATH_OK)
        why_set(why, err, "%s", ""); /* a file that need not be there was not there */
out:
    free(conf_dir);
    free(file);
    free(dir);
    return err;
}

/* ---- defaults ---- */

static ath_err
settle_socket(struct config *config, struct why *why)
{
    char *dir;

    if (config->socket != NULL)
        return make_absolute(&config->socket, why);
    if (config->is_system)
        return config_replace(&config->socket, SYSTEM_SOCKET);
    if ((dir = xdg_dir("XDG_RUNTIME_DIR", NULL)) != NULL) {
        config->socket = file_path(dir, "agent.sock");
        free(dir);
        return config->socket == NULL ? ATH_ERR_NOMEM : ATH_OK;
    }
    if (geteuid() == 0)
        return config_replace(&config->socket, SYSTEM_SOCKET);
    if (getenv("LISTEN_FDS") != NULL)
        return ATH_OK; /* the listener knows its socket */
    return why_set(why, ATH_ERR_USAGE, "nowhere to listen: give --socket, or set XDG_RUNTIME_DIR");
}

/* Only an athd that keeps its callers' things apart may be open to more than one. */
static ath_err
settle_socket_access(struct config *config, struct why *why)
{
    bool is_open = (config->socket_mode & 077) != 0 || config->socket_group != NULL;

    if (!config->is_system && is_open)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"socket_mode\" and \"socket_group\" are for --system: this athd has one "
                       "user, and its socket is that user's");
    if (config->socket_mode == 0)
        config->socket_mode = config->is_system ? 0660 : 0600;
    return ATH_OK;
}

static ath_err
settle_state_dir(struct config *config, struct why *why)
{
    if (config->state_dir == NULL)
        config->state_dir = config->is_system ? ath_strdup(SYSTEM_STATE_DIR)
                                              : xdg_dir("XDG_STATE_HOME", ".local/state");
    if (config->state_dir == NULL)
        return why_set(why, ATH_ERR_USAGE, "nowhere to keep state: give --state-dir, or set HOME");
    return make_absolute(&config->state_dir, why);
}

/* Beside athd's own program (a build directory), under the same prefix (what was installed may be
 * moved), else where this build is installed. */
static ath_err
find_program(const char *name, const char *installed, char **target)
{
    static const char *const places[] = {"", "../libexec/ath/"};
    struct ath_buf path = {0};
    ath_err err = ATH_ERR_NOT_FOUND;
    char own[4096], *slash;
    ssize_t len;

    len = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[len > 0 ? len : 0] = '\0';
    if ((slash = strrchr(own, '/')) == NULL)
        return config_replace(target, installed);
    *slash = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && err == ATH_ERR_NOT_FOUND; i++) {
        ath_buf_clear(&path);
        ath_buf_printf(&path, "%s/%s%s", own, places[i], name);
        if (ath_buf_text(&path) == NULL)
            err = path.err;
        else if (access(ath_buf_text(&path), X_OK) == 0)
            err = config_replace(target, ath_buf_text(&path));
    }
    ath_buf_done(&path);
    return err == ATH_ERR_NOT_FOUND ? config_replace(target, installed) : err;
}

static ath_err
settle_programs(struct config *config, struct why *why)
{
    ath_err err = ATH_OK;

    if (config->helper != NULL)
        err = make_absolute(&config->helper, why);
    else
        err = find_program(HELPER_NAME, ATH_LIBEXEC_DIR "/" HELPER_NAME, &config->helper);
    if (err == ATH_OK)
        err = find_program(LOGIND_WATCH_NAME, ATH_LIBEXEC_DIR "/" LOGIND_WATCH_NAME,
                           &config->logind_watch);
    return err;
}

ath_err
config_settle(struct config *config, struct why *why)
{
    ath_err err;

    if ((err = read_files(config, why)) != ATH_OK || (err = settle_socket(config, why)) != ATH_OK ||
        (err = settle_socket_access(config, why)) != ATH_OK ||
        (err = settle_state_dir(config, why)) != ATH_OK ||
        (err = settle_programs(config, why)) != ATH_OK ||
        (err = config_settle_hsms(config, why)) != ATH_OK)
        return err;
    return config->prompter == NULL ? config_replace(&config->prompter, CONFIG_PROMPTER_DEFAULT)
                                    : ATH_OK;
}

static bool
is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
has_same_hsms(const struct config *a, const struct config *b)
{
    size_t i;

    for (i = 0; i < a->hsm_count && i < b->hsm_count; i++)
        if (!is_same(a->hsms[i].name, b->hsms[i].name) ||
            !is_same(a->hsms[i].uri, b->hsms[i].uri) ||
            a->hsms[i].pin_ttl_s != b->hsms[i].pin_ttl_s ||
            a->hsms[i].pin_uid_count != b->hsms[i].pin_uid_count ||
            memcmp(a->hsms[i].pin_uids, b->hsms[i].pin_uids, sizeof(a->hsms[i].pin_uids)) != 0)
            return false;
    return a->hsm_count == b->hsm_count;
}

static bool
has_same_audit(const struct config_audit *a, const struct config_audit *b)
{
    return a->segment_size == b->segment_size && a->segment_age_s == b->segment_age_s &&
           is_same(a->hsm, b->hsm);
}

bool
config_needs_start(const struct config *running, const struct config *fresh)
{
    return !is_same(running->socket, fresh->socket) || running->socket_mode != fresh->socket_mode ||
           !is_same(running->socket_group, fresh->socket_group) ||
           !is_same(running->state_dir, fresh->state_dir) ||
           !is_same(running->helper, fresh->helper) || running->lock_on != fresh->lock_on ||
           !has_same_hsms(running, fresh) || !has_same_audit(&running->audit, &fresh->audit);
}

static void
reload_audit(struct config_audit *audit, const struct config_audit *fresh)
{
    audit->checkpoint_interval_s = fresh->checkpoint_interval_s;
    audit->keep_days = fresh->keep_days;
    audit->keep_segments = fresh->keep_segments;
    audit->uid_bytes_per_day = fresh->uid_bytes_per_day;
    audit->witness = fresh->witness;
}

ath_err
config_reload(struct config *config, struct why *why)
{
    struct config fresh = {0};
    char *prompter;
    ath_err err;

    if ((err = config_from_arguments(config->argc, config->argv, why, &fresh)) != ATH_OK)
        return err;
    err = config_settle(&fresh, why);
    config_source_move(&fresh, config);
    if (err == ATH_OK) {
        prompter = config->prompter;
        config->prompter = fresh.prompter;
        fresh.prompter = prompter;
        config->consent_timeout_s = fresh.consent_timeout_s;
        config->log_level = fresh.log_level;
        reload_audit(&config->audit, &fresh.audit);
        if (config_needs_start(config, &fresh))
            why_set(why, ATH_OK,
                    "hsms, socket, state_dir, helper, lock_on and the audit log's segments and hsm "
                    "change at the next start only");
    }
    config_done(&fresh);
    return err;
}

void
config_done(struct config *config)
{
    size_t i;

    for (i = 0; i < config->hsm_count; i++) {
        free(config->hsms[i].name);
        free(config->hsms[i].uri);
    }
    config_source_done(config);
    free(config->socket);
    free(config->socket_group);
    free(config->state_dir);
    free(config->prompter);
    free(config->helper);
    free(config->logind_watch);
    free(config->policy_dir);
    free(config->file);
    free(config->audit.hsm);
    *config = (struct config){0};
}
