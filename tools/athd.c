/* athd: the daemon. See docs/api.md, "Programs". */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ath/version.h"
#include "athd/athd.h"
#include "base/secret.h"

static const char usage[] =
    "usage: athd [--config FILE] [--state-dir DIR] [--socket PATH] [--hsm URI]... "
    "[--software-tpm]\n"
    "            [--prompter PROGRAM] [--log-level error|warning|info|debug] [--system]\n"
    "            [--check-config] [--version] [--help]\n"
    "Holds keys in a TPM or PKCS#11 token for the Agent Trust Handshake, behind a socket.\n"
    "  --software-tpm  a private TPM in software, to try athd without hardware: it protects "
    "nothing\n"
    "  --hsm URI       tpm:device=/dev/tpmrm0, tpm:tcti=..., swtpm:, pkcs11:...\n";

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

static int
run(struct config *config)
{
    static struct athd athd;
    struct why why = {{0}};
    ath_err err;

    if ((err = config_settle(config, &why)) != ATH_OK)
        return fail(err, &why);
    if (config->check_only) {
        puts("athd: the configuration is good");
        return 0;
    }
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
        fputs(usage, stderr);
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
