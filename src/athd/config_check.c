/* What a configuration names must be there, too: said before the first request needs it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/config.h"
#include "base/fd.h"
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

ath_err
config_check_logind_watch(const struct config *config, struct why *why)
{
    if (config->lock_on == 0 || is_program(config->logind_watch))
        return ATH_OK;
    return why_set(why, ATH_ERR_INVALID_PARAMS,
                   "lock_on: there is no program %s, so nobody would tell of sleep and locked "
                   "sessions (athd was built without libsystemd)",
                   config->logind_watch);
}

static bool
is_readable_file(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, R_OK) == 0;
}

/* A shared object, by its first bytes (elf(5)): p11tool's or OpenSC's paths are easily mistaken. */
static bool
is_elf(const char *path)
{
    char magic[4] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    bool is = fd >= 0 && read(fd, magic, sizeof(magic)) == (ssize_t)sizeof(magic) &&
              memcmp(magic, "\177ELF", sizeof(magic)) == 0;

    fd_close(&fd);
    return is;
}

static ath_err
check_module(const struct config_hsm *hsm, const char *path, struct why *why)
{
    if (!is_readable_file(path))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "hsm %s: there is no PKCS#11 module %s; module-path names the one of the "
                       "token's maker, or OpenSC's opensc-pkcs11.so",
                       hsm->name, path);
    if (!is_elf(path))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "hsm %s: %s is no PKCS#11 module, nor any other shared library", hsm->name,
                       path);
    return ATH_OK;
}

/* What the helper would refuse (hsm/hsm_pin_source.c), before a request meets it. */
static ath_err
check_pin_file(const struct config_hsm *hsm, const char *path, struct why *why)
{
    struct stat st;

    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || access(path, R_OK) != 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "hsm %s: the file of its pin-source, %s, cannot be read, or is no regular "
                       "file",
                       hsm->name, path);
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "hsm %s: others may read or write its pin-source, %s: chmod 600 it",
                       hsm->name, path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "hsm %s: its pin-source, %s, belongs to somebody else; it must be athd's "
                       "user's or root's",
                       hsm->name, path);
    return ATH_OK;
}

ath_err
config_check_tokens(const struct config *config, struct why *why)
{
    struct pkcs11_uri uri;
    ath_err err;

    for (size_t i = 0; i < config->hsm_count; i++) {
        const struct config_hsm *hsm = &config->hsms[i];

        if (pkcs11_uri_parse(ath_slice_of_string(hsm->uri), NULL, &uri) != ATH_OK)
            continue; /* a TPM */
        if (uri.module_path[0] != '\0' && (err = check_module(hsm, uri.module_path, why)) != ATH_OK)
            return err;
        if (uri.pin_file[0] != '\0' && (err = check_pin_file(hsm, uri.pin_file, why)) != ATH_OK)
            return err;
    }
    return ATH_OK;
}
