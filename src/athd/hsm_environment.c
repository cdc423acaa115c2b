#include "athd/hsm_environment.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "hsm/wire/pkcs11_uri.h"

static bool
begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* systemd.exec(5), "Credentials" */
static bool
needs_credentials(const char *uri)
{
    struct pkcs11_uri parts;

    return begins_with(uri, "pkcs11:") &&
           pkcs11_uri_parse(ath_slice_of_string(uri), NULL, &parts) == ATH_OK &&
           parts.pin_credential[0] != '\0';
}

static bool
is_for_helper(const char *variable, const char *uri)
{
    static const char *const for_all[] = {"PATH=", "LANG=", "LC_"};
    static const char *const for_pkcs11[] = {"SOFTHSM2_CONF=", "TPM2_PKCS11_", "P11_KIT_"};
    size_t i;

    for (i = 0; i < sizeof(for_all) / sizeof(for_all[0]); i++)
        if (begins_with(variable, for_all[i]))
            return true;
    for (i = 0; i < sizeof(for_pkcs11) / sizeof(for_pkcs11[0]); i++)
        if (begins_with(uri, "pkcs11:") && begins_with(variable, for_pkcs11[i]))
            return true;
    return begins_with(variable, "CREDENTIALS_DIRECTORY=") && needs_credentials(uri);
}

void
hsm_environment_make(char *const *variables, const char *uri,
                     struct hsm_environment *ret_environment)
{
    static char quiet_tss2[] = "TSS2_LOG=all+none";
    size_t i, count = 0;

    for (i = 0; variables[i] != NULL && count < HSM_ENVIRONMENT_MAX - 1; i++)
        if (is_for_helper(variables[i], uri))
            ret_environment->variables[count++] = variables[i];
    ret_environment->variables[count++] = quiet_tss2;
    ret_environment->variables[count] = NULL;
}
