/* ath-hsm-helper: holds one TPM or PKCS#11 token for athd. Started by athd, never by hand. */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ath/version.h"
#include "base/log.h"
#include "base/secret.h"
#include "crypto/digest.h"
#include "hsm/hsm_helper.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* whose reports must be seen */
#else
#define SANITIZED false
#endif

static const struct hsm_ops *const backends[] = {&tpm_backend_ops, &pkcs11_backend_ops, NULL};

static const char usage_text[] =
    "usage: ath-hsm-helper --uri URI --state-dir DIR [--log-level LEVEL]\n"
    "       ath-hsm-helper --version | --help\n"
    "\n"
    "Holds one TPM or PKCS#11 token for athd, which starts it with sockets as its standard\n"
    "input and output. There is nothing to be done with it by hand.\n"
    "\n"
    "  --uri URI          tpm:device=/dev/tpmrm0, tpm:tcti=CONF, swtpm:, pkcs11:token=NAME\n"
    "  --state-dir DIR    absolute; where swtpm: keeps the software TPM\n"
    "  --log-level LEVEL  error, warning, info (default), debug\n";

static bool shows_all; /* --log-level debug */

/* The TPM libraries write to stderr by themselves; what matters of it comes back as an error. */
static void
set_level(enum log_level level)
{
    shows_all = level == LOG_LEVEL_DEBUG;
    log_set_level(level);
    (void)setenv("TSS2_LOG", level == LOG_LEVEL_DEBUG ? "all+warning" : "all+none", 1);
}

/* How long a module may take to let go of the token once athd has closed; athd kills us a little
 * later, if it still can. */
#define HANG_LIMIT_MS 1500u

/* Our sockets get numbers that nobody guesses, and 0 and 1 become /dev/null: modules are other
 * people's code, and what they print must not be taken for ours. */
static ath_err
take_sockets(struct hsm_helper_options *options)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    options->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    options->prompter_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (null < 0 || options->fd < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(null, STDOUT_FILENO) < 0) {
        log_error("event=helper_ends reason=\"its standard input is no socket\"");
        return ATH_ERR_IO;
    }
    if (null > STDERR_FILENO)
        close(null);
    return ATH_OK;
}

/* A module may write anything to stderr: PINs (pkcs11-spy), a line each time that its token is not
 * there, more than a pipe takes. Only our own lines go there. Without it we run, too. */
static void
keep_stderr(void)
{
    int log_fd =
        shows_all || SANITIZED ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (log_fd < 0)
        return;
    log_set_fd(log_fd);
    (void)dup2(STDIN_FILENO, STDERR_FILENO); /* which is /dev/null now */
}

/* ATH_OK: go on; ATH_ERR_COUNT: --help or --version has been answered. */
static ath_err
parse_options(int argc, char **argv, struct hsm_helper_options *options)
{
    static const struct option known[] = {
        {"uri", required_argument, NULL, 'u'},
        {"state-dir", required_argument, NULL, 's'},
        {"log-level", required_argument, NULL, 'l'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    enum log_level level;
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (c) {
        case 'u':
            options->uri = optarg;
            break;
        case 's':
            options->state_dir = optarg;
            break;
        case 'l':
            if (!log_level_parse(optarg, &level))
                return ATH_ERR_USAGE;
            set_level(level);
            break;
        case 'V':
            printf("ath-hsm-helper %s\n", ATH_VERSION);
            return ATH_ERR_COUNT;
        case 'h':
            fputs(usage_text, stdout);
            return ATH_ERR_COUNT;
        default:
            return ATH_ERR_USAGE;
        }
    }
    if (optind != argc || options->uri == NULL || options->state_dir == NULL ||
        options->state_dir[0] != '/' || hsm_helper_backend(backends, options->uri) == NULL)
        return ATH_ERR_USAGE;
    return ATH_OK;
}

/* athd ends us by closing the socket, so that the TPM is shut down properly; a terminal's ^C and a
 * service manager's SIGTERM reach athd as well. */
static void
ignore_signals(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)signal(signals[i], SIG_IGN);
}

int
main(int argc, char **argv)
{
    struct hsm_helper_options options = {
        .backends = backends, .sandbox = true, .hang_limit_ms = HANG_LIMIT_MS};
    ath_err err;

    log_set_name("ath-hsm-helper");
    set_level(LOG_LEVEL_INFO);
    if ((err = parse_options(argc, argv, &options)) == ATH_ERR_COUNT)
        return 0;
    if (err != ATH_OK) {
        fputs(usage_text, stderr);
        return ath_err_exit_status(ATH_ERR_USAGE);
    }
    secret_protect_process();
    ignore_signals();
    if ((err = take_sockets(&options)) == ATH_OK && (err = crypto_init()) == ATH_OK) {
        keep_stderr();
        err = hsm_helper_run(&options);
    }
    if (err != ATH_OK)
        log_debug("event=helper_ends err=%s", ath_err_reason(err)); /* athd is told, and logs it */
    return err == ATH_OK ? 0 : ath_err_exit_status(err);
}
