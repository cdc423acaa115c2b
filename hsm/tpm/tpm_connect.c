#include "hsm/tpm/tpm_connect.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <tss2/tss2_tctildr.h>

#include "base/fd.h"
#include "hsm/tpm/tpm_error.h"
#include "hsm/tpm/tpm_transport.h"

static const char scheme_swtpm[] = "swtpm:", scheme_device[] = "tpm:device=",
                  scheme_tcti[] = "tpm:tcti=";

/* What follows the prefix; NULL if text begins otherwise. */
static const char *
after(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);

    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static ath_err
connect_swtpm(const struct hsm_options *options, struct hsm_fault *fault,
              struct tpm_connection *connection)
{
    int fd = -1;
    ath_err err;

    if ((err = swtpm_start(options, &fault->why, &connection->swtpm, &fd)) != ATH_OK)
        return err;
    if ((err = tpm_transport_over_fd(fd, &connection->transport)) != ATH_OK) {
        fd_close(&fd);
        swtpm_stop(connection->swtpm);
        connection->swtpm = NULL;
        return err;
    }
    connection->software = true;
    connection->exclusive = true;
    return ATH_OK;
}

static ath_err
connect_device(const char *path, struct hsm_fault *fault, struct tpm_connection *connection)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
    const char *hint = "";
    ath_err err;

    if (fd < 0) {
        if (errno == EACCES)
            hint = "; the user must be in the group that owns it (tss on Debian)";
        else if (errno == EBUSY)
            hint = "; another program holds it: use /dev/tpmrm0";
        return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE, "cannot open %s: %s%s", path,
                       strerror(errno), hint);
    }
    if ((err = tpm_transport_over_fd(fd, &connection->transport)) != ATH_OK)
        fd_close(&fd);
    connection->exclusive = strstr(path, "tpmrm") == NULL;
    return err;
}

static ath_err
connect_tcti(const char *conf, struct hsm_fault *fault, struct tpm_connection *connection)
{
    TSS2_TCTI_CONTEXT *lower = NULL;
    TSS2_RC rc = Tss2_TctiLdr_Initialize(conf, &lower);
    ath_err err;

    if (rc != TSS2_RC_SUCCESS) {
        (void)tpm_error_report(rc, "reach the TPM", fault);
        return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE, "cannot reach a TPM by TCTI \"%s\"",
                       conf);
    }
    if ((err = tpm_transport_over_tcti(lower, true, &connection->transport)) != ATH_OK)
        Tss2_TctiLdr_Finalize(&lower);
    connection->software = after(conf, "swtpm") != NULL || after(conf, "mssim") != NULL;
    connection->exclusive = strstr(conf, "tabrmd") == NULL && strstr(conf, "tpmrm") == NULL;
    return err;
}

ath_err
tpm_connect(const struct hsm_options *options, struct hsm_fault *fault,
            struct tpm_connection *ret_connection)
{
    struct tpm_connection connection = {0};
    const char *rest;
    ath_err err;

    if (strcmp(options->uri, scheme_swtpm) == 0)
        err = connect_swtpm(options, fault, &connection);
    else if ((rest = after(options->uri, scheme_device)) != NULL && rest[0] == '/')
        err = connect_device(rest, fault, &connection);
    else if ((rest = after(options->uri, scheme_tcti)) != NULL && rest[0] != '\0')
        err = connect_tcti(rest, fault, &connection);
    else
        err = why_set(&fault->why, ATH_ERR_INVALID_PARAMS,
                      "\"%s\" is not swtpm:, tpm:device=/dev/... or tpm:tcti=...", options->uri);
    if (err == ATH_OK)
        *ret_connection = connection;
    return err;
}
