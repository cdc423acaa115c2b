/* What athd was told: athd.json, the files of conf.d, flags (which win). */
#ifndef ATHD_CONFIG_H
#define ATHD_CONFIG_H

#include <sys/types.h>

#include "base/json.h"
#include "base/log.h"

#define CONFIG_HSMS_MAX 16

struct config_hsm {
    char *name; /* unnamed ones: tpm, swtpm, pkcs11, then -2 ... */
    char *uri;
};

struct config {
    struct config_hsm hsms[CONFIG_HSMS_MAX];
    size_t hsm_count;
    char *socket;    /* NULL until config_settle */
    char *state_dir;
    char *prompter;
    char *helper;    /* path of ath-hsm-helper */
    int64_t consent_timeout_s;
    enum log_level log_level;
    bool log_level_given;
    char *file;      /* --config */
    bool check_only; /* --check-config */
    bool show_version, show_help;
};

/* Flags: docs/api.md, "Programs". ATH_ERR_USAGE with why. */
ath_err config_from_arguments(int argc, char **argv, struct why *why, struct config *ret_config) ATH_MUST_USE;
/* Reads the files and adds what no flag said; then defaults (XDG). why has file and line.
 * ATH_ERR_INVALID_PARAMS: a file is wrong; ATH_ERR_USAGE: nowhere to listen (exit 64);
 * ATH_ERR_HSM_UNAVAILABLE: no hsm configured and no /dev/tpmrm0 (exit 69). */
ath_err config_settle(struct config *config, struct why *why) ATH_MUST_USE;
void config_done(struct config *config);

#endif
