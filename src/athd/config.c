#include "athd/config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/name.h"
#include "hsm/wire/pkcs11_uri.h"

#define HELPER_NAME "ath-hsm-helper"
#define CONSENT_TIMEOUT_DEFAULT_S 120
#define AUDIT_SEGMENT_SIZE_DEFAULT (16 * 1024 * 1024)
#define AUDIT_SEGMENT_AGE_DEFAULT_S (30 * 86400)
#define AUDIT_INTERVAL_DEFAULT_S 3600
#define CONF_FILES_MAX 64
#define SYSTEM_CONFIG_DIR "/etc/ath"
#define SYSTEM_STATE_DIR "/var/lib/ath"
#define SYSTEM_SOCKET "/run/ath/agent.sock"
#define TPM_DEVICE "/dev/tpmrm0"

/* ---- hsms ---- */

static const char *
uri_scheme(const char *uri)
{
    static const char *const schemes[] = {"tpm", "swtpm", "pkcs11"};
    size_t i;

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i]);

        if (strncmp(uri, schemes[i], len) == 0 && uri[len] == ':')
            return schemes[i];
    }
    return NULL;
}

static bool
has_hsm(const struct config *config, const char *name)
{
    size_t i;

    for (i = 0; i < config->hsm_count; i++)
        if (config->hsms[i].name != NULL && strcmp(config->hsms[i].name, name) == 0)
            return true;
    return false;
}

/* RFC 7512. A PIN in it stood in argv, for everybody to see, before athd could refuse it. */
static ath_err
check_token_uri(const char *uri, struct why *why)
{
    struct pkcs11_uri parts;
    struct why inner = {{0}};
    ath_err err = pkcs11_uri_parse(ath_slice_of_string(uri), &inner, &parts);

    if (err != ATH_OK)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "%s", why_text(&inner, err));
    if (parts.object[0] != '\0' || parts.id_len > 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "a pkcs11: URI of an hsm names a token, not a key: leave out object and id");
    if (parts.token[0] == '\0' && parts.serial[0] == '\0' && parts.manufacturer[0] == '\0' &&
        parts.model[0] == '\0')
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "a pkcs11: URI of an hsm must name its token: token=LABEL or serial=NUMBER "
                       "(p11tool --list-tokens shows them)");
    return ATH_OK;
}

/* As far as can be told without the hardware. */
static ath_err
check_uri(const char *uri, struct why *why)
{
    const char *scheme = uri_scheme(uri);

    if (scheme != NULL && strcmp(scheme, "pkcs11") == 0)
        return check_token_uri(uri, why);
    if (strstr(uri, "pin-value") != NULL) /* what may hold a PIN is not repeated */
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "what names an hsm begins with pkcs11:, tpm: or swtpm:");
    if (scheme == NULL || (strcmp(scheme, "tpm") == 0 && strncmp(uri, "tpm:device=/", 12) != 0 &&
                           (strncmp(uri, "tpm:tcti=", 9) != 0 || uri[9] == '\0')))
        return why_set(
            why, ATH_ERR_INVALID_PARAMS,
            "\"%s\" is no hsm: it must be tpm:device=/dev/..., tpm:tcti=..., swtpm: or pkcs11:...",
            uri);
    return ATH_OK;
}

ath_err
config_add_hsm(struct config *config, const char *name, const char *uri, struct why *why)
{
    struct config_hsm *hsm;
    ath_err err;

    if (config->hsm_count == CONFIG_HSMS_MAX)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "more than %d hsms", CONFIG_HSMS_MAX);
    if ((err = check_uri(uri, why)) != ATH_OK)
        return err;
    if (name != NULL && !name_is_valid(name))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "\"%s\" cannot be the name of an hsm", name);
    if (name != NULL && has_hsm(config, name))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "two hsms have the name \"%s\"", name);
    hsm = &config->hsms[config->hsm_count];
    hsm->name = ath_strdup(name);
    hsm->uri = ath_strdup(uri);
    config->hsm_count++; /* from here config_done frees what there is */
    if (hsm->uri == NULL || (name != NULL && hsm->name == NULL))
        return ATH_ERR_NOMEM;
    return ATH_OK;
}

/* tpm, swtpm, pkcs11, then tpm-2 ... for those that were given none. */
static ath_err
name_hsms(struct config *config)
{
    char name[32];
    size_t i;
    int n;

    for (i = 0; i < config->hsm_count; i++) {
        const char *scheme = uri_scheme(config->hsms[i].uri);

        if (config->hsms[i].name != NULL)
            continue;
        snprintf(name, sizeof(name), "%s", scheme);
        for (n = 2; has_hsm(config, name); n++)
            snprintf(name, sizeof(name), "%s-%d", scheme, n);
        if ((config->hsms[i].name = ath_strdup(name)) == NULL)
            return ATH_ERR_NOMEM;
    }
    return ATH_OK;
}

/* ---- flags ---- */

enum flag {
    FLAG_CONFIG = 256,
    FLAG_STATE_DIR,
    FLAG_SOCKET,
    FLAG_HSM,
    FLAG_SOFTWARE_TPM,
    FLAG_PROMPTER,
    FLAG_LOG_LEVEL,
    FLAG_SYSTEM,
    FLAG_CHECK_CONFIG,
    FLAG_VERSION,
    FLAG_HELP,
};

static const struct option options[] = {
    {"config", required_argument, NULL, FLAG_CONFIG},
    {"state-dir", required_argument, NULL, FLAG_STATE_DIR},
    {"socket", required_argument, NULL, FLAG_SOCKET},
    {"hsm", required_argument, NULL, FLAG_HSM},
    {"software-tpm", no_argument, NULL, FLAG_SOFTWARE_TPM},
    {"prompter", required_argument, NULL, FLAG_PROMPTER},
    {"log-level", required_argument, NULL, FLAG_LOG_LEVEL},
    {"system", no_argument, NULL, FLAG_SYSTEM},
    {"check-config", no_argument, NULL, FLAG_CHECK_CONFIG},
    {"version", no_argument, NULL, FLAG_VERSION},
    {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

static ath_err
replace(char **target, const char *text)
{
    char *copy = ath_strdup(text);

    if (copy == NULL)
        return ATH_ERR_NOMEM;
    free(*target);
    *target = copy;
    return ATH_OK;
}

/* text is not empty: config_from_arguments looks at all values. */
static ath_err
replace_from_flag(struct config *config, enum config_item item, char **target, const char *text)
{
    config->from_flags |= item;
    return replace(target, text);
}

static ath_err
hsm_from_flag(struct config *config, const char *uri, struct why *why)
{
    ath_err err = config_add_hsm(config, NULL, uri, why);

    config->from_flags |= CONFIG_HSM;
    if (err != ATH_OK && strstr(uri, "pin-value") != NULL)
        why_set(why, err,
                "--hsm holds a PIN (pin-value), which everybody could read in athd's arguments: "
                "change that PIN, and be asked for it, or use pin-source=file:/PATH");
    return err == ATH_ERR_INVALID_PARAMS ? ATH_ERR_USAGE : err;
}

static ath_err
take_flag(struct config *config, int flag, const char *value, struct why *why)
{
    switch (flag) {
    case FLAG_CONFIG:
        return replace(&config->file, value);
    case FLAG_STATE_DIR:
        return replace_from_flag(config, CONFIG_STATE_DIR, &config->state_dir, value);
    case FLAG_SOCKET:
        return replace_from_flag(config, CONFIG_SOCKET, &config->socket, value);
    case FLAG_PROMPTER:
        return replace_from_flag(config, CONFIG_PROMPTER, &config->prompter, value);
    case FLAG_HSM:
        return hsm_from_flag(config, value, why);
    case FLAG_SOFTWARE_TPM:
        return hsm_from_flag(config, "swtpm:", why);
    case FLAG_LOG_LEVEL:
        config->from_flags |= CONFIG_LOG_LEVEL;
        if (!log_level_parse(value, &config->log_level))
            return why_set(why, ATH_ERR_USAGE, "--log-level is error, warning, info or debug");
        return ATH_OK;
    case FLAG_SYSTEM:
        config->is_system = true;
        return ATH_OK;
    case FLAG_CHECK_CONFIG:
        config->check_only = true;
        return ATH_OK;
    case FLAG_VERSION:
        config->show_version = true;
        return ATH_OK;
    case FLAG_HELP:
        config->show_help = true;
        return ATH_OK;
    default:
        return ATH_ERR_USAGE;
    }
}

ath_err
config_from_arguments(int argc, char **argv, struct why *why, struct config *ret_config)
{
    struct config config = {.consent_timeout_s = CONSENT_TIMEOUT_DEFAULT_S,
                            .audit = {.segment_size = AUDIT_SEGMENT_SIZE_DEFAULT,
                                      .segment_age_s = AUDIT_SEGMENT_AGE_DEFAULT_S,
                                      .checkpoint_interval_s = AUDIT_INTERVAL_DEFAULT_S},
                            .log_level = LOG_LEVEL_INFO,
                            .argc = argc,
                            .argv = argv};
    ath_err err = ATH_OK;
    int flag, index = 0;

    opterr = 0;
    optind = 0; /* glibc: start anew; SIGHUP reads the flags again */
    while (err == ATH_OK && (flag = getopt_long(argc, argv, "+:", options, &index)) != -1) {
        if (flag == ':')
            err = why_set(why, ATH_ERR_USAGE, "%s wants a value", argv[optind - 1]);
        else if (flag == '?')
            err = why_set(why, ATH_ERR_USAGE, "athd does not know %s", argv[optind - 1]);
        else if (optarg != NULL && *optarg == '\0')
            err = why_set(why, ATH_ERR_USAGE, "--%s has an empty value", options[index].name);
        else
            err = take_flag(&config, flag, optarg, why);
    }
    if (err == ATH_OK && optind < argc)
        err = why_set(why, ATH_ERR_USAGE, "athd does not know what to do with %s", argv[optind]);
    if (err != ATH_OK) {
        config_done(&config);
        return err;
    }
    *ret_config = config;
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

struct file_list {
    char *names[CONF_FILES_MAX];
    size_t count;
};

static ath_err
collect(void *ctx, const char *name)
{
    struct file_list *list = ctx;

    if (list->count == CONF_FILES_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((list->names[list->count] = ath_strdup(name)) == NULL)
        return ATH_ERR_NOMEM;
    list->count++;
    return ATH_OK;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ath_err
read_conf_dir(struct config *config, const char *dir, struct why *why)
{
    struct file_list list = {{NULL}, 0};
    ath_err err = file_each(dir, ".json", collect, &list, why);
    size_t i;

    qsort(list.names, list.count, sizeof(list.names[0]), compare_names);
    for (i = 0; i < list.count && err == ATH_OK; i++) {
        char *path = file_path(dir, list.names[i]);

        err = path == NULL ? ATH_ERR_NOMEM : config_read_file(config, path, why);
        free(path);
    }
    for (i = 0; i < list.count; i++)
        free(list.names[i]);
    return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
}

/* --config names the only file; else athd.json and conf.d of the configuration directory, where
 * there are any. */
static ath_err
read_files(struct config *config, struct why *why)
{
    char *dir, *file = NULL, *conf_dir = NULL;
    ath_err err = ATH_ERR_NOMEM;

    if (config->file != NULL) {
        err = config_read_file(config, config->file, why);
        return err == ATH_ERR_NOT_FOUND ? ATH_ERR_INVALID_PARAMS : err;
    }
    dir = config->is_system ? ath_strdup(SYSTEM_CONFIG_DIR) : xdg_dir("XDG_CONFIG_HOME", ".config");
    if (dir == NULL)
        return ATH_OK; /* no home: there are only flags */
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

static ath_err
settle_socket(struct config *config, struct why *why)
{
    char *dir;

    if (config->socket != NULL)
        return make_absolute(&config->socket, why);
    if (config->is_system)
        return replace(&config->socket, SYSTEM_SOCKET);
    if ((dir = xdg_dir("XDG_RUNTIME_DIR", NULL)) != NULL) {
        config->socket = file_path(dir, "agent.sock");
        free(dir);
        return config->socket == NULL ? ATH_ERR_NOMEM : ATH_OK;
    }
    if (geteuid() == 0)
        return replace(&config->socket, SYSTEM_SOCKET);
    if (getenv("LISTEN_FDS") != NULL)
        return ATH_OK; /* the listener knows its socket */
    return why_set(why, ATH_ERR_USAGE, "nowhere to listen: give --socket, or set XDG_RUNTIME_DIR");
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

/* Beside athd's own program (a build directory), else where it is installed. */
static ath_err
settle_helper(struct config *config, struct why *why)
{
    char own[4096], *slash, *beside = NULL;
    ssize_t len;

    if (config->helper != NULL)
        return make_absolute(&config->helper, why);
    len = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[len > 0 ? len : 0] = '\0';
    if ((slash = strrchr(own, '/')) != NULL) {
        *slash = '\0';
        beside = file_path(own, HELPER_NAME);
    }
    if (beside != NULL && access(beside, X_OK) == 0) {
        config->helper = beside;
        return ATH_OK;
    }
    free(beside);
    return replace(&config->helper, ATH_LIBEXEC_DIR "/" HELPER_NAME);
}

static ath_err
settle_hsms(struct config *config, struct why *why)
{
    ath_err err;

    if (config->hsm_count == 0) {
        if (access(TPM_DEVICE, F_OK) != 0)
            return why_set(why, ATH_ERR_HSM_UNAVAILABLE,
                           "no hsm is configured and there is no " TPM_DEVICE
                           "; give --hsm URI, or --software-tpm to try athd without hardware");
        if ((err = config_add_hsm(config, NULL, "tpm:device=" TPM_DEVICE, why)) != ATH_OK)
            return err;
    }
    if ((err = name_hsms(config)) != ATH_OK)
        return err;
    if (config->audit.hsm != NULL && !has_hsm(config, config->audit.hsm))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the audit key's hsm \"%s\" is none of those that are configured",
                       config->audit.hsm);
    return ATH_OK;
}

ath_err
config_settle(struct config *config, struct why *why)
{
    ath_err err;

    if ((err = read_files(config, why)) != ATH_OK || (err = settle_socket(config, why)) != ATH_OK ||
        (err = settle_state_dir(config, why)) != ATH_OK ||
        (err = settle_helper(config, why)) != ATH_OK || (err = settle_hsms(config, why)) != ATH_OK)
        return err;
    return config->prompter == NULL ? replace(&config->prompter, CONFIG_PROMPTER_DEFAULT) : ATH_OK;
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
            a->hsms[i].pin_ttl_s != b->hsms[i].pin_ttl_s)
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
    return !is_same(running->socket, fresh->socket) ||
           !is_same(running->state_dir, fresh->state_dir) ||
           !is_same(running->helper, fresh->helper) || !has_same_hsms(running, fresh) ||
           !has_same_audit(&running->audit, &fresh->audit);
}

static void
reload_audit(struct config_audit *audit, const struct config_audit *fresh)
{
    audit->checkpoint_interval_s = fresh->checkpoint_interval_s;
    audit->keep_days = fresh->keep_days;
    audit->keep_segments = fresh->keep_segments;
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
                    "hsms, socket, state_dir, helper and the audit log's segments and hsm change "
                    "at the next start only");
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
    free(config->state_dir);
    free(config->prompter);
    free(config->helper);
    free(config->file);
    free(config->audit.hsm);
    *config = (struct config){0};
}
