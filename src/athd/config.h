/* What athd was told: athd.json, the files of conf.d, flags (which win). */
#ifndef ATHD_CONFIG_H
#define ATHD_CONFIG_H

#include <sys/types.h>

#include "base/json.h"
#include "base/log.h"
#include "crypto/digest.h"

#define CONFIG_PIN_USERS_MAX 16
#define CONFIG_HSMS_MAX 16
#define CONFIG_PROMPTER_DEFAULT "pinentry"

enum config_item {
    CONFIG_HSM = 1,
    CONFIG_SOCKET = 2,
    CONFIG_STATE_DIR = 4,
    CONFIG_PROMPTER = 8,
    CONFIG_HELPER = 16,
    CONFIG_LOG_LEVEL = 32,
};

struct config_hsm {
    char *name; /* unnamed ones: tpm, swtpm, pkcs11, then -2 ... */
    char *uri;
    int64_t pin_ttl_s; /* logged in for so long after a PIN (of a TPM: to a key that has one); 0:
                          until the token is gone, or the helper */
    uint32_t pin_uids[CONFIG_PIN_USERS_MAX]; /* --system: who may be asked for a token's PIN */
    size_t pin_uid_count;
};

struct config_source { /* a file that was read */
    char *path;
    uint8_t sha256[SHA256_LEN];
};

enum config_lock_on { /* bits */
                      CONFIG_LOCK_ON_SUSPEND = 1,
                      CONFIG_LOCK_ON_SESSION = 2,
};

struct config_audit {
    int64_t segment_size, segment_age_s; /* 0: any */
    int64_t checkpoint_interval_s;
    int64_t keep_days, keep_segments; /* 0: for ever; both given: what either keeps */
    int64_t uid_bytes_per_day;        /* with --system; 0: any */
    char *hsm;                        /* that holds the audit key; NULL: the first */
    bool witness;                     /* attestations carry the head of the log */
};

struct config {
    struct config_hsm hsms[CONFIG_HSMS_MAX];
    size_t hsm_count;
    char *socket;        /* NULL until config_settle */
    int64_t socket_mode; /* 0600, 0660 or 0666; 0 until config_settle */
    char *socket_group;  /* a name; NULL: athd's own group */
    char *state_dir;
    char *prompter;
    char *helper;       /* path of ath-hsm-helper */
    char *policy_dir;   /* where policy.json and policy.d are looked for; NULL: nowhere */
    unsigned lock_on;   /* enum config_lock_on bits */
    char *logind_watch; /* path of ath-logind-watch */
    int64_t consent_timeout_s;
    struct config_audit audit;
    enum log_level log_level;
    char *file;      /* --config */
    bool is_system;  /* --system: one athd for every uid of the machine */
    bool check_only; /* --check-config */
    bool show_version, show_help;
    struct config_source *sources; /* of the last reading, whether it was good or not */
    size_t source_count;
    unsigned from_flags; /* enum config_item bits: files do not change these */
    int argc;            /* for config_reload; borrowed: main's */
    char **argv;
};

/* config_flags.c: docs/api.md, "Programs". ATH_ERR_USAGE with why. */
ath_err config_from_arguments(int argc, char **argv, struct why *why,
                              struct config *ret_config) ATH_MUST_USE;
/* Reads the files and adds what no flag said; then defaults (XDG). why has file and line.
 * ATH_ERR_INVALID_PARAMS: a file is wrong; ATH_ERR_USAGE: nowhere to listen (exit 64);
 * ATH_ERR_HSM_UNAVAILABLE: no hsm configured and no /dev/tpmrm0 (exit 69). */
ath_err config_settle(struct config *config, struct why *why) ATH_MUST_USE;
/* Reads everything again, as SIGHUP wants it. What can change while athd runs is taken over: log
 * level, prompter, consent_timeout; why says so if something else is other than it was. When
 * something is wrong, the old is kept. Errors as above. */
ath_err config_reload(struct config *config, struct why *why) ATH_MUST_USE;
/* Do they differ in what only a start can change? */
bool config_needs_start(const struct config *running, const struct config *fresh);
void config_done(struct config *config);

/* config_check.c: are the programs there that athd runs? ATH_ERR_INVALID_PARAMS with why. */
ath_err config_check_helper(const struct config *config, struct why *why) ATH_MUST_USE;
ath_err config_check_prompter(const struct config *config, struct why *why) ATH_MUST_USE;
/* Is the program there that tells of logind, where lock_on wants it? Errors as above. */
ath_err config_check_logind_watch(const struct config *config, struct why *why) ATH_MUST_USE;
/* Are the files there that PKCS#11 URIs name: modules, PINs? Errors as above. */
ath_err config_check_tokens(const struct config *config, struct why *why) ATH_MUST_USE;

/* config_source.c: remembers a file that was read; moves what is remembered; forgets it. */
ath_err config_source_add(struct config *config, const char *path,
                          struct ath_slice text) ATH_MUST_USE;
void config_source_move(struct config *from, struct config *to);
void config_source_done(struct config *config);

/* config_file.c: takes over what one file says and no flag said (a later file wins; lists of hsms
 * grow).
 * ATH_ERR_NOT_FOUND: there is no such file; ATH_ERR_INVALID_PARAMS with file and line; ATH_ERR_IO.
 */
ath_err config_read_file(struct config *config, const char *path, struct why *why) ATH_MUST_USE;
/* The same for text that is at hand; `path` is only named in why. */
ath_err config_read_text(struct config *config, struct ath_slice text, const char *path,
                         struct why *why) ATH_MUST_USE;
/* config_hsm.c: name may be NULL; both are copied. ATH_ERR_INVALID_PARAMS (why), ATH_ERR_NOMEM. */
ath_err config_add_hsm(struct config *config, const char *name, const char *uri,
                       struct why *why) ATH_MUST_USE;
/* config_hsm.c: the default hsm where there is none, names for those without. Errors as
 * config_settle. */
ath_err config_settle_hsms(struct config *config, struct why *why) ATH_MUST_USE;
/* *target becomes a copy of text. ATH_ERR_NOMEM. */
ath_err config_replace(char **target, const char *text) ATH_MUST_USE;

#endif
