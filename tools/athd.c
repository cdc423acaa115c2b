/* athd: the daemon. See docs/api.md, "Programs". */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ath/version.h"
#include "athd/athd.h"
#include "base/secret.h"
#include "policy/policy_files.h"

static const char usage[] =
    "usage: athd [OPTIONS]\n"
    "\n"
    "Holds keys in a TPM or PKCS#11 token for the Agent Trust Handshake, behind a Unix socket.\n"
    "Stays in the foreground, logs to standard error, and says `ready socket=PATH` there.\n"
    "\n"
    "  --hsm URI            a TPM or PKCS#11 token to use; may be repeated. Without any:\n"
    "                       /dev/tpmrm0\n"
    "                       tpm:device=/dev/tpmrm0   tpm:tcti=TCTI   swtpm:\n"
    "                       pkcs11:token=LABEL?module-path=/PATH   (athd.json(5))\n"
    "  --software-tpm       as --hsm swtpm: a private TPM in software, to try athd without\n"
    "                       hardware. It protects nothing\n"
    "  --socket PATH        where to listen; without it $XDG_RUNTIME_DIR/ath/agent.sock\n"
    "  --state-dir DIR      where keys, grants and records are kept; without it\n"
    "                       ${XDG_STATE_HOME:-~/.local/state}/ath\n"
    "  --prompter PROGRAM   who asks the user, as pinentry does (pinentry)\n"
    "  --config FILE        instead of ${XDG_CONFIG_HOME:-~/.config}/ath/athd.json and conf.d;\n"
    "                       policy.json and policy.d are those beside it\n"
    "  --log-level LEVEL    error, warning, info or debug (info)\n"
    "  --system             configuration in /etc/ath, state in /var/lib/ath, socket\n"
    "                       /run/ath/agent.sock\n"
    "  --check-config       read everything, say what is wrong, and end\n"
    "  --version, --help\n"
    "\n"
    "exit status: 0 ended as asked, 1 failed or a wrong file, 64 wrong usage or nowhere to "
    "listen,\n"
    "69 no hardware\n"
    "\n"
    "examples:\n"
    "  athd                                             this machine's TPM\n"
    "  athd --software-tpm --socket \"$HOME/ath.sock\"   to try it; then\n"
    "  ATH_AUTH_SOCK=$HOME/ath.sock ath doctor\n";

/* A wrong file is "failed"; the rest as docs/api.md, "Exit codes". */
static int
exit_status(ath_err err)
{
    return err == ATH_ERR_INVALID_PARAMS ? 1 : ath_err_exit_status(err);
}

static int
fail(ath_err err, const struct why *why)
{
    fprintf(stderr, "athd: %s\n", why_text(why, err));
    return exit_status(err);
}

/* As far as it can be told without starting: a start refuses what this does. */
static ath_err
check_policy(const struct config *config, struct why *why)
{
    struct policy_rules *rules = NULL;
    ath_err err = ATH_ERR_NOT_FOUND;

    if (config->policy_dir != NULL)
        err = policy_files_read(config->policy_dir, geteuid(), why, &rules);
    policy_rules_free(rules);
    return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
}

/* A default that is not installed is no fault of the configuration: who only serves needs none. */
static int
check(const struct config *config)
{
    struct why why = {{0}};
    ath_err err = config_check_prompter(config, &why);

    if (err != ATH_OK && strcmp(config->prompter, CONFIG_PROMPTER_DEFAULT) != 0)
        return fail(err, &why);
    if (err != ATH_OK)
        fprintf(stderr, "athd: note: %s\n", why_text(&why, err));
    if ((err = config_check_tokens(config, &why)) != ATH_OK ||
        (err = check_policy(config, &why)) != ATH_OK)
        return fail(err, &why);
    puts("athd: the configuration is good");
    return 0;
}

static int
run(struct config *config)
{
    static struct athd athd;
    struct why why = {{0}};
    ath_err err;

    if ((err = config_settle(config, &why)) != ATH_OK ||
        (err = config_check_helper(config, &why)) != ATH_OK ||
        (err = config_check_logind_watch(config, &why)) != ATH_OK)
        return fail(err, &why);
    if (config->check_only)
        return check(config);
    if ((err = athd_start(&athd, config, &why)) != ATH_OK)
        return fail(err, &why);
    return athd_run(&athd);
}

/* A socket must not become what somebody else takes for standard error. */
static bool
open_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
    return fd > 2;
}

int
main(int argc, char **argv)
{
    struct config config = {0};
    struct why why = {{0}};
    ath_err err;
    int status = 0;

    if (!open_standard_descriptors())
        return 1;
    secret_protect_process();
    umask(077);
    log_set_name("athd");
    if ((err = config_from_arguments(argc, argv, &why, &config)) != ATH_OK) {
        fail(err, &why);
        fputs("athd --help has the options\n", stderr);
        return exit_status(err);
    }
    if (config.show_help)
        fputs(usage, stdout);
    else if (config.show_version)
        puts("athd " ATH_VERSION);
    else
        status = run(&config);
    config_done(&config);
    return status;
}
