#include "hsm/pkcs11/pkcs11_module.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hsm/pkcs11/pkcs11_mutex.h"

/* What we call (PKCS #11 2.40, 5.4 to 5.13). A 2.x list has the same layout up to these. */
#define OFFSET(function) offsetof(CK_FUNCTION_LIST, function)
static const size_t called[] = {
    OFFSET(C_Initialize),
    OFFSET(C_Finalize),
    OFFSET(C_GetInfo),
    OFFSET(C_GetSlotList),
    OFFSET(C_GetSlotInfo),
    OFFSET(C_GetTokenInfo),
    OFFSET(C_GetMechanismList),
    OFFSET(C_GetMechanismInfo),
    OFFSET(C_OpenSession),
    OFFSET(C_CloseSession),
    OFFSET(C_GetSessionInfo),
    OFFSET(C_Login),
    OFFSET(C_Logout),
    OFFSET(C_DestroyObject),
    OFFSET(C_GetAttributeValue),
    OFFSET(C_FindObjectsInit),
    OFFSET(C_FindObjects),
    OFFSET(C_FindObjectsFinal),
    OFFSET(C_SignInit),
    OFFSET(C_Sign),
    OFFSET(C_GenerateKeyPair),
    OFFSET(C_GenerateRandom),
};

static bool
has_all_functions(const CK_FUNCTION_LIST *list)
{
    for (size_t i = 0; i < sizeof(called) / sizeof(called[0]); i++) {
        void (*function)(void) = NULL;

        memcpy(&function, (const uint8_t *)list + called[i], sizeof(function));
        if (function == NULL)
            return false;
    }
    return true;
}

/* RTLD_NODELETE: see pkcs11_module_close. */
static ath_err
load(struct pkcs11_module *module, struct hsm_fault *fault)
{
    CK_C_GetFunctionList get_function_list = NULL;
    CK_FUNCTION_LIST *list = NULL;
    const char *what;
    void *symbol;
    CK_RV rv;

    module->library = dlopen(module->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (module->library == NULL) {
        what = dlerror(); /* it names the file */
        return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE,
                       "the PKCS#11 module cannot be loaded: %s",
                       what != NULL ? what : module->path);
    }
    if ((symbol = dlsym(module->library, "C_GetFunctionList")) == NULL)
        return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE,
                       "%s is no PKCS#11 module: it has no C_GetFunctionList", module->path);
    memcpy(&get_function_list, &symbol, sizeof(get_function_list));
    if ((rv = get_function_list(&list)) != CKR_OK || list == NULL || !has_all_functions(list))
        return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE,
                       "%s is no PKCS#11 module that can be used: functions are missing (0x%lx)",
                       module->path, rv);
    module->f = list;
    return ATH_OK;
}

static ath_err
initialise(struct pkcs11_module *module, struct hsm_fault *fault)
{
    CK_RV rv = module->f->C_Initialize(pkcs11_mutex_arguments(false));

    if (rv == CKR_CANT_LOCK || rv == CKR_ARGUMENTS_BAD)
        rv = module->f->C_Initialize(pkcs11_mutex_arguments(true));
    if (rv == CKR_CANT_LOCK || rv == CKR_ARGUMENTS_BAD) {
        module->one_at_a_time = true;
        rv = module->f->C_Initialize(NULL);
    }
    module->initialised = rv == CKR_OK;
    if (rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED)
        return ATH_OK;
    fault->native = rv <= UINT32_MAX ? (uint32_t)rv : UINT32_MAX;
    return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE,
                   "the PKCS#11 module %s does not start: %s (0x%lx %s)", module->path,
                   pkcs11_error_of(rv)->sentence, rv, pkcs11_error_of(rv)->name);
}

/* tpm2-pkcs11 holds one lock around each call, and its threads wait for seconds on each other; what
 * a template that it refuses has already made takes one of the TPM's three slots for good (1.9.0,
 * src/lib/key.c, src/lib/tpm.c). */
static void
judge(struct pkcs11_module *module)
{
    static const char tpm2[] = "tpm2-software";
    CK_INFO info = {.flags = 0};

    if (module->f->C_GetInfo(&info) != CKR_OK)
        return;
    if (memcmp(info.manufacturerID, tpm2, strlen(tpm2)) == 0)
        module->one_at_a_time = module->verify_is_decrypt = true;
}

void
pkcs11_module_log(const struct pkcs11_module *module)
{
    CK_INFO info = {.flags = 0};

    if (module->f->C_GetInfo(&info) == CKR_OK)
        log_debug("event=pkcs11_module path=\"%s\" library=\"%.32s\" version=%u.%u", module->path,
                  (const char *)info.libraryDescription, info.libraryVersion.major,
                  info.libraryVersion.minor);
}

ath_err
pkcs11_module_open(const struct pkcs11_uri *uri, struct hsm_fault *fault,
                   struct pkcs11_module **ret_module)
{
    struct pkcs11_module *module = calloc(1, sizeof(*module));
    ath_err err;

    if (module == NULL)
        return ATH_ERR_NOMEM;
    if ((err = pkcs11_module_find(uri, &fault->why, module->path)) != ATH_OK)
        goto out;
    if ((err = load(module, fault)) != ATH_OK)
        goto out;
    if ((err = initialise(module, fault)) != ATH_OK)
        goto out;
    judge(module);
    *ret_module = module;
    module = NULL;
out:
    pkcs11_module_close(module);
    return err;
}

void
pkcs11_module_close(struct pkcs11_module *module)
{
    if (module == NULL)
        return;
    if (module->initialised)
        (void)module->f->C_Finalize(NULL);
    if (module->library != NULL)
        (void)dlclose(module->library);
    free(module);
}
