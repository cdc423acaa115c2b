#include "hsm/tpm/swtpm_state.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"

/*
 * swtpm_setup as an ordinary user fails with its default configuration, which names a certificate
 * authority under /var/lib. With a configuration directory of its own (XDG_CONFIG_HOME) it makes
 * one there: `<state_dir>/swtpm-ca`. The certificates are signed by that authority, so they prove
 * nothing to anybody; they make the software TPM look like a real one to what reads them.
 */
#define STATE_NAME "swtpm"
#define UNFINISHED_NAME "swtpm.new"
#define AUTHORITY_NAME "swtpm-ca"

struct removal {
    const char *dir;
};

static ath_err
remove_one(void *ctx, const char *name)
{
    const struct removal *removal = ctx;
    char *path = file_path(removal->dir, name);
    ath_err err = ATH_OK;

    if (path == NULL)
        return ATH_ERR_NOMEM;
    if (unlink(path) != 0 && errno != ENOENT)
        err = ATH_ERR_IO;
    free(path);
    return err;
}

/* A set-up that did not come to its end: plain files, one of them hidden. */
static ath_err
remove_unfinished(const char *dir, struct why *why)
{
    struct removal removal = {.dir = dir};
    ath_err err;

    (void)remove_one(&removal, ".lock");
    err = file_each(dir, "", remove_one, &removal, why);
    if (err == ATH_ERR_NOT_FOUND)
        return ATH_OK;
    if (err == ATH_OK && rmdir(dir) != 0 && errno != ENOENT)
        err = why_set(why, ATH_ERR_IO, "cannot remove %s: %s", dir, strerror(errno));
    return err;
}

/* In the child. Its words go to our log's stream only at debug: they are many. */
static void
exec_setup(char *const argv[], const char *authority)
{
    char config[4096 + 32];
    char path[] = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", locale[] = "LC_ALL=C";
    char *environment[] = {config, path, locale, NULL};
    int null = open("/dev/null", O_RDWR);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        _exit(126);
    fd_close_from(3);
    (void)snprintf(config, sizeof(config), "XDG_CONFIG_HOME=%s", authority);
    (void)execvpe(argv[0], argv, environment);
    _exit(127);
}

static bool
run_setup(char *const argv[], const char *authority)
{
    pid_t pid = fork();
    int status;

    if (pid < 0)
        return false;
    if (pid == 0)
        exec_setup(argv, authority);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return false;
    }
    log_debug("event=swtpm_setup status=0x%x", (unsigned)status);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Arguments are not const for exec, so they are arrays of our own. */
static bool
set_up(const char *dir, const char *authority)
{
    char program[] = "swtpm_setup", configure[] = "--create-config-files",
         how[] = "skip-if-exist,root", tpm2[] = "--tpm2", state[] = "--tpmstate",
         certificate[] = "--create-ek-cert", banks[] = "--pcr-banks", sha256[] = "sha256";
    char state_dir[4096];
    char *configure_argv[] = {program, configure, how, NULL};
    char *setup_argv[] = {program, tpm2, state, state_dir, certificate, banks, sha256, NULL};

    if (strlen(dir) >= sizeof(state_dir) || strlen(authority) >= sizeof(state_dir))
        return false;
    memcpy(state_dir, dir, strlen(dir) + 1);
    return run_setup(configure_argv, authority) && run_setup(setup_argv, authority);
}

static ath_err
make_state(const struct hsm_options *options, const char *path, const char *unfinished,
           const char *authority, struct why *why)
{
    ath_err err;

    if (options->is_slow != NULL)
        options->is_slow(options->ctx, "the software TPM is being made: once, and on a slow "
                                       "machine it takes minutes");
    if ((err = remove_unfinished(unfinished, why)) != ATH_OK)
        return err;
    if ((err = file_make_private_dir(unfinished, why)) != ATH_OK)
        return err;
    if ((err = file_make_private_dir(authority, why)) != ATH_OK)
        return err;
    if (!set_up(unfinished, authority)) {
        log_warning("event=swtpm_setup err=failed hint=\"the software TPM has no EK certificate; "
                    "install swtpm-tools and gnutls-bin\"");
        if ((err = remove_unfinished(unfinished, why)) != ATH_OK)
            return err;
        if ((err = file_make_private_dir(unfinished, why)) != ATH_OK)
            return err;
    }
    if (rename(unfinished, path) != 0)
        return why_set(why, ATH_ERR_IO, "cannot make %s: %s", path, strerror(errno));
    return ATH_OK;
}

ath_err
swtpm_state_prepare(const struct hsm_options *options, struct why *why, char **ret_path)
{
    const char *state_dir = options->state_dir;
    char *path = file_path(state_dir, STATE_NAME),
         *unfinished = file_path(state_dir, UNFINISHED_NAME),
         *authority = file_path(state_dir, AUTHORITY_NAME);
    ath_err err = ATH_ERR_NOMEM;
    struct stat status;

    if (path == NULL || unfinished == NULL || authority == NULL)
        goto out;
    if ((err = file_make_private_dir(state_dir, why)) != ATH_OK)
        goto out;
    if (stat(path, &status) != 0 &&
        (err = make_state(options, path, unfinished, authority, why)) != ATH_OK)
        goto out;
    if ((err = file_make_private_dir(path, why)) != ATH_OK)
        goto out;
    *ret_path = path;
    path = NULL;
out:
    free(authority);
    free(unfinished);
    free(path);
    return err;
}
