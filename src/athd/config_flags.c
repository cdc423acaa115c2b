/* athd's arguments. */
#include "athd/config.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define CONSENT_TIMEOUT_DEFAULT_S 120
#define AUDIT_SEGMENT_SIZE_DEFAULT (16 * 1024 * 1024)
#define AUDIT_SEGMENT_AGE_DEFAULT_S (30 * 86400)
#define AUDIT_UID_BYTES_DEFAULT (1024LL * 1024 * 1024)
#define AUDIT_INTERVAL_DEFAULT_S 3600

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

/* text is not empty: config_from_arguments looks at all values. */
static ath_err
replace_from_flag(struct config *config, enum config_item item, char **target, const char *text)
{
    config->from_flags |= item;
    return config_replace(target, text);
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
        return config_replace(&config->file, value);
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
                                      .checkpoint_interval_s = AUDIT_INTERVAL_DEFAULT_S,
                                      .uid_bytes_per_day = AUDIT_UID_BYTES_DEFAULT},
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
