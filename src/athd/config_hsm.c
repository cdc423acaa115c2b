/* The hsms of the configuration: what may name one, and what they are called. */
#include "athd/config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/name.h"
#include "hsm/wire/pkcs11_uri.h"

#define TPM_DEVICE "/dev/tpmrm0"

static const char *
uri_scheme(const char *uri)
{
    static const char *const schemes[] = {"tpm", "swtpm", "pkcs11"};
    size_t i;

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i]);

        if (strncmp(uri, schemes[i], len) == 0 && uri[len] == ':')
            return schemes[i];
    }
    return NULL;
}

static bool
has_hsm(const struct config *config, const char *name)
{
    size_t i;

    for (i = 0; i < config->hsm_count; i++)
        if (config->hsms[i].name != NULL && strcmp(config->hsms[i].name, name) == 0)
            return true;
    return false;
}

/* RFC 7512. A PIN in it stood in argv, for everybody to see, before athd could refuse it. */
static ath_err
check_token_uri(const char *uri, struct why *why)
{
    struct pkcs11_uri parts;
    struct why inner = {{0}};
    ath_err err = pkcs11_uri_parse(ath_slice_of_string(uri), &inner, &parts);

    if (err != ATH_OK)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "%s", why_text(&inner, err));
    if (parts.object[0] != '\0' || parts.id_len > 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "a pkcs11: URI of an hsm names a token, not a key: leave out object and id");
    if (parts.token[0] == '\0' && parts.serial[0] == '\0' && parts.manufacturer[0] == '\0' &&
        parts.model[0] == '\0')
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "a pkcs11: URI of an hsm must name its token: token=LABEL or serial=NUMBER "
                       "(p11tool --list-tokens shows them)");
    return ATH_OK;
}

/* As far as can be told without the hardware. */
static ath_err
check_uri(const char *uri, struct why *why)
{
    const char *scheme = uri_scheme(uri);

    if (scheme != NULL && strcmp(scheme, "pkcs11") == 0)
        return check_token_uri(uri, why);
    if (strstr(uri, "pin-value") != NULL) /* what may hold a PIN is not repeated */
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "what names an hsm begins with pkcs11:, tpm: or swtpm:");
    if (scheme == NULL || (strcmp(scheme, "tpm") == 0 && strncmp(uri, "tpm:device=/", 12) != 0 &&
                           (strncmp(uri, "tpm:tcti=", 9) != 0 || uri[9] == '\0')))
        return why_set(
            why, ATH_ERR_INVALID_PARAMS,
            "\"%s\" is no hsm: it must be tpm:device=/dev/..., tpm:tcti=..., swtpm: or pkcs11:...",
            uri);
    return ATH_OK;
}

/* Its state is a directory under athd's own: there is one. */
static bool
has_private_tpm(const struct config *config)
{
    for (size_t i = 0; i < config->hsm_count; i++)
        if (config->hsms[i].uri != NULL && strcmp(uri_scheme(config->hsms[i].uri), "swtpm") == 0)
            return true;
    return false;
}

ath_err
config_add_hsm(struct config *config, const char *name, const char *uri, struct why *why)
{
    struct config_hsm *hsm;
    ath_err err;

    if (config->hsm_count == CONFIG_HSMS_MAX)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "more than %d hsms", CONFIG_HSMS_MAX);
    if ((err = check_uri(uri, why)) != ATH_OK)
        return err;
    if (name != NULL && !name_is_valid(name))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "\"%s\" cannot be the name of an hsm", name);
    if (name != NULL && has_hsm(config, name))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "two hsms have the name \"%s\"", name);
    if (strcmp(uri_scheme(uri), "swtpm") == 0 && has_private_tpm(config))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "swtpm: (or --software-tpm) is given twice: athd has one software TPM of "
                       "its own; another is named with tpm:tcti=swtpm:...");
    hsm = &config->hsms[config->hsm_count];
    hsm->name = ath_strdup(name);
    hsm->uri = ath_strdup(uri);
    config->hsm_count++; /* from here config_done frees what there is */
    if (hsm->uri == NULL || (name != NULL && hsm->name == NULL))
        return ATH_ERR_NOMEM;
    return ATH_OK;
}

/* tpm, swtpm, pkcs11, then tpm-2 ... for those that were given none. */
static ath_err
name_hsms(struct config *config)
{
    char name[32];
    size_t i;
    int n;

    for (i = 0; i < config->hsm_count; i++) {
        const char *scheme = uri_scheme(config->hsms[i].uri);

        if (config->hsms[i].name != NULL)
            continue;
        snprintf(name, sizeof(name), "%s", scheme);
        for (n = 2; has_hsm(config, name); n++)
            snprintf(name, sizeof(name), "%s-%d", scheme, n);
        if ((config->hsms[i].name = ath_strdup(name)) == NULL)
            return ATH_ERR_NOMEM;
    }
    return ATH_OK;
}

ath_err
config_settle_hsms(struct config *config, struct why *why)
{
    ath_err err;

    if (config->hsm_count == 0) {
        if (access(TPM_DEVICE, F_OK) != 0)
            return why_set(why, ATH_ERR_HSM_UNAVAILABLE,
                           "no hsm is configured and there is no " TPM_DEVICE
                           "; give --hsm URI, or --software-tpm to try athd without hardware");
        if ((err = config_add_hsm(config, NULL, "tpm:device=" TPM_DEVICE, why)) != ATH_OK)
            return err;
    }
    if ((err = name_hsms(config)) != ATH_OK)
        return err;
    if (config->audit.hsm != NULL && !has_hsm(config, config->audit.hsm))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the audit key's hsm \"%s\" is none of those that are configured",
                       config->audit.hsm);
    return ATH_OK;
}
