#include "hsm/pkcs11/pkcs11_info.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "hsm/pkcs11/pkcs11_token.h"

#define MECHANISMS_MAX 1024u

static const char doing_mechanisms[] = "list the token's algorithms";

/* Can it sign with this? Sizes are of the curve, in bits; a token that gives none is believed. */
static bool
signs(const struct pkcs11_module *module, CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_ULONG bits)
{
    CK_MECHANISM_INFO info = {.flags = 0};

    if (module->f->C_GetMechanismInfo(slot, type, &info) != CKR_OK || (info.flags & CKF_SIGN) == 0)
        return false;
    return info.ulMaxKeySize == 0 || bits == 0 ||
           (info.ulMinKeySize <= bits && bits <= info.ulMaxKeySize);
}

static void
take_mechanism(const struct pkcs11_module *module, CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
               struct hsm_info *info)
{
    if (type == CKM_ECDSA && signs(module, slot, type, 256))
        info->algorithms |= 1u << KEY_ES256;
    if (type == CKM_ECDSA && signs(module, slot, type, 384))
        info->algorithms |= 1u << KEY_ES384;
    if (type == CKM_EDDSA && signs(module, slot, type, 0))
        info->algorithms |= 1u << KEY_EDDSA;
}

static ath_err
read_mechanisms(const struct pkcs11_module *module, CK_SLOT_ID slot, struct hsm_fault *fault,
                struct hsm_info *info)
{
    CK_MECHANISM_TYPE types[MECHANISMS_MAX] = {0};
    CK_ULONG count = MECHANISMS_MAX;
    CK_RV rv = module->f->C_GetMechanismList(slot, types, &count);

    if (rv == CKR_OK && count > MECHANISMS_MAX)
        return pkcs11_error_nonsense(doing_mechanisms, "claims more algorithms than there can be",
                                     fault);
    if (rv != CKR_OK)
        return pkcs11_error_report(rv, doing_mechanisms, fault);
    for (CK_ULONG i = 0; i < count; i++)
        take_mechanism(module, slot, types[i], info);
    return ATH_OK;
}

/* As many sessions as there are processors to feed them; one where the token itself does one thing
 * at a time: a card or stick. The first session holds the login and signs nothing. */
static unsigned
workers_of(const struct pkcs11_module *module, const struct pkcs11_place *place)
{
    const CK_ULONG sessions = place->info.ulMaxSessionCount;
    CK_SLOT_INFO slot = {.flags = 0};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    CK_ULONG workers = processors > 0 ? (CK_ULONG)processors : 1;

    if (module->one_at_a_time || module->f->C_GetSlotInfo(place->slot, &slot) != CKR_OK ||
        (slot.flags & (CKF_REMOVABLE_DEVICE | CKF_HW_SLOT)) == (CKF_REMOVABLE_DEVICE | CKF_HW_SLOT))
        return 1;
    if (workers > PKCS11_WORKERS_MAX)
        workers = PKCS11_WORKERS_MAX;
    if (sessions != CK_EFFECTIVELY_INFINITE && sessions != CK_UNAVAILABLE_INFORMATION &&
        workers > sessions - 1)
        workers = sessions - 1;
    return workers > 1 ? (unsigned)workers : 1;
}

static enum hsm_login
login_of(CK_FLAGS flags)
{
    if ((flags & CKF_LOGIN_REQUIRED) == 0)
        return HSM_LOGIN_NONE;
    return (flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0 ? HSM_LOGIN_PAD : HSM_LOGIN_PIN;
}

static void
put_harmless(char *target, size_t size, const char *text)
{
    (void)snprintf(target, size, "%s", text);
    utf8_make_harmless(target);
}

ath_err
pkcs11_info_read(const struct pkcs11_module *module, const struct pkcs11_place *place,
                 struct hsm_fault *fault, struct hsm_info *ret_info)
{
    const struct pkcs11_uri *name = &place->name;
    struct hsm_info info = {.kind = "pkcs11"};
    ath_err err;

    put_harmless(info.label, sizeof(info.label), name->token);
    put_harmless(info.manufacturer, sizeof(info.manufacturer), name->manufacturer);
    put_harmless(info.model, sizeof(info.model), name->model);
    put_harmless(info.serial, sizeof(info.serial), name->serial);
    (void)snprintf(info.firmware, sizeof(info.firmware), "%u.%u", place->info.firmwareVersion.major,
                   place->info.firmwareVersion.minor);
    /* SoftHSM's keys lie in files that their owner can copy. */
    info.software = strcmp(name->manufacturer, "SoftHSM project") == 0 ||
                    strcmp(name->model, "SoftHSM v2") == 0;
    info.login = login_of(place->info.flags);
    info.parallel = workers_of(module, place);
    if ((err = read_mechanisms(module, place->slot, fault, &info)) == ATH_OK)
        *ret_info = info;
    return err;
}

void
pkcs11_info_put_now(const CK_TOKEN_INFO *now, struct hsm_info *info)
{
    info->pin_locked = (now->flags & CKF_USER_PIN_LOCKED) != 0;
    info->tries_left = !info->pin_locked && (now->flags & CKF_USER_PIN_FINAL_TRY) != 0 ? 1 : 0;
}
