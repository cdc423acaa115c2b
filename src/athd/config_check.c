/* What a configuration names must be there, too: said before the first request needs it. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/config.h"
#include "hsm/wire/pkcs11_uri.h"

static bool
is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* As execvp(3) looks for it. */
static bool
is_in_path(const char *name)
{
    const char *path = getenv("PATH");
    bool found = false;

    while (path != NULL && !found) {
        size_t len = strcspn(path, ":");
        struct ath_buf candidate = {0};

        ath_buf_put_slice(&candidate, ath_slice_of(path, len));
        ath_buf_printf(&candidate, "%s%s", len == 0 ? "./" : "/", name);
        found = ath_buf_text(&candidate) != NULL && is_program(ath_buf_text(&candidate));
        ath_buf_done(&candidate);
        path = path[len] == ':' ? path + len + 1 : NULL;
    }
    return found;
}

ath_err
config_check_helper(const struct config *config, struct why *why)
{
    if (is_program(config->helper))
        return ATH_OK;
    return why_set(why, ATH_ERR_INVALID_PARAMS,
                   "there is no helper program %s; \"helper\" in athd.json names another place",
                   config->helper);
}

ath_err
config_check_prompter(const struct config *config, struct why *why)
{
    const char *prompter = config->prompter;
    bool is_path = strchr(prompter, '/') != NULL;

    if (is_path ? is_program(prompter) : is_in_path(prompter))
        return ATH_OK;
    return why_set(why, ATH_ERR_INVALID_PARAMS,
                   "there is no prompter program %s%s: nobody can be asked (install pinentry, or "
                   "give --prompter)",
                   prompter, is_path ? "" : " in $PATH");
}

static bool
is_readable_file(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, R_OK) == 0;
}

ath_err
config_check_tokens(const struct config *config, struct why *why)
{
    struct pkcs11_uri uri;
    size_t i;

    for (i = 0; i < config->hsm_count; i++) {
        const struct config_hsm *hsm = &config->hsms[i];

        if (pkcs11_uri_parse(ath_slice_of_string(hsm->uri), NULL, &uri) != ATH_OK)
            continue; /* a TPM */
        if (uri.module_path[0] != '\0' && !is_readable_file(uri.module_path))
            return why_set(
                why, ATH_ERR_INVALID_PARAMS,
                "hsm %s: there is no PKCS#11 module %s; module-path names the one of the "
                "token's maker, or OpenSC's opensc-pkcs11.so",
                hsm->name, uri.module_path);
        if (uri.pin_file[0] != '\0' && !is_readable_file(uri.pin_file))
            return why_set(why, ATH_ERR_INVALID_PARAMS,
                           "hsm %s: the file of its pin-source, %s, cannot be read", hsm->name,
                           uri.pin_file);
    }
    return ATH_OK;
}
