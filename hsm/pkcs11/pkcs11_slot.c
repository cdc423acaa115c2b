#include "hsm/pkcs11/pkcs11_slot.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SLOTS_MAX 256u
#define LIST_MAX 160u
#define STEP_MS 100u
#define READS 4
#define READ_AGAIN_MS 10

static const char doing_list[] = "list the tokens";

void
pkcs11_slot_text(const unsigned char *field, size_t size, char *text)
{
    size_t len = strnlen((const char *)field, size);

    while (len > 0 && field[len - 1] == ' ')
        len--;
    memcpy(text, field, len);
    text[len] = '\0';
}

static struct pkcs11_uri
name_of(const CK_TOKEN_INFO *info)
{
    struct pkcs11_uri name = {.id_len = 0};

    pkcs11_slot_text(info->label, sizeof(info->label), name.token);
    pkcs11_slot_text(info->manufacturerID, sizeof(info->manufacturerID), name.manufacturer);
    pkcs11_slot_text(info->model, sizeof(info->model), name.model);
    pkcs11_slot_text(info->serialNumber, sizeof(info->serialNumber), name.serial);
    return name;
}

/* ---- sentences ---- */

struct list {
    char text[LIST_MAX];
    size_t len;
};

static void list_add(struct list *list, const char *fmt, ...) ATH_PRINTF(2, 3);

static void
list_add(struct list *list, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(list->text + list->len, sizeof(list->text) - list->len, fmt, args);
    va_end(args);
    if (n > 0)
        list->len += (size_t)n;
    if (list->len >= sizeof(list->text))
        list->len = sizeof(list->text) - 1;
}

static void
list_add_token(struct list *list, const struct pkcs11_uri *name)
{
    list_add(list, "%s\"%s\" (serial %s)", list->len > 0 ? ", " : "", name->token,
             name->serial[0] != '\0' ? name->serial : "not given");
}

static void
list_add_wanted(struct list *list, const char *what, const char *value)
{
    if (value[0] != '\0')
        list_add(list, "%s%s \"%s\"", list->len > 0 ? ", " : "", what, value);
}

static struct list
list_of_wanted(const struct pkcs11_uri *wanted)
{
    struct list list = {.len = 0};

    list_add_wanted(&list, "label", wanted->token);
    list_add_wanted(&list, "serial", wanted->serial);
    list_add_wanted(&list, "manufacturer", wanted->manufacturer);
    list_add_wanted(&list, "model", wanted->model);
    return list;
}

/* ---- finding ---- */

/* Modules look for changed readers only when they are asked for the number (PKCS #11 2.40, 5.5,
 * C_GetSlotList). */
static ath_err
list_slots(const struct pkcs11_module *module, struct hsm_fault *fault, CK_SLOT_ID slots[SLOTS_MAX],
           CK_ULONG *ret_count)
{
    CK_ULONG count = 0;
    CK_RV rv;

    if ((rv = module->f->C_GetSlotList(CK_TRUE, NULL, &count)) != CKR_OK)
        return pkcs11_error_report(rv, doing_list, fault);
    count = SLOTS_MAX;
    memset(slots, 0, SLOTS_MAX * sizeof(slots[0]));
    rv = module->f->C_GetSlotList(CK_TRUE, slots, &count);
    if (rv == CKR_OK && count > SLOTS_MAX)
        return pkcs11_error_nonsense(doing_list, "claims more slots than there can be", fault);
    *ret_count = count;
    return pkcs11_error_report(rv, doing_list, fault);
}

struct search {
    unsigned matches, raw; /* tokens that agree: ready for use; not initialised */
    struct list seen, matching;
};

/* A token that cannot be read, or was taken out just now, is none. */
static void
look_at(const struct pkcs11_module *module, CK_SLOT_ID slot, const struct pkcs11_uri *wanted,
        struct search *search, struct pkcs11_place *place)
{
    CK_TOKEN_INFO info = {.flags = 0};
    struct pkcs11_uri name;
    bool is_ready;

    if (module->f->C_GetTokenInfo(slot, &info) != CKR_OK)
        return;
    name = name_of(&info);
    is_ready = (info.flags & CKF_TOKEN_INITIALIZED) != 0;
    if (is_ready)
        list_add_token(&search->seen, &name);
    if (!pkcs11_uri_token_matches(wanted, &name))
        return;
    if (!is_ready) {
        search->raw++;
        return;
    }
    list_add_token(&search->matching, &name);
    search->matches++;
    *place = (struct pkcs11_place){.slot = slot, .info = info, .name = name};
}

static ath_err
say_none(const struct pkcs11_module *module, const struct pkcs11_uri *wanted,
         const struct search *search, struct why *why)
{
    struct list list = list_of_wanted(wanted);

    if (search->raw > 0 && (list.len > 0 || search->seen.len == 0))
        return why_set(why, ATH_ERR_HSM_UNAVAILABLE,
                       "the token is not initialised: do that with its own tool, or pkcs11-tool "
                       "--init-token (module %s)",
                       module->path);
    if (search->seen.len == 0)
        return why_set(why, ATH_ERR_HSM_UNAVAILABLE, "no token is there%s%s (module %s)",
                       list.len > 0 ? "; wanted: " : "", list.text, module->path);
    return why_set(why, ATH_ERR_HSM_UNAVAILABLE, "no token has %s; there: %s", list.text,
                   search->seen.text);
}

/* Some readers with a pad do not say whether there is a PIN. */
static ath_err
judge(const struct pkcs11_place *place, struct why *why)
{
    const CK_FLAGS flags = place->info.flags;

    if ((flags & CKF_LOGIN_REQUIRED) != 0 && (flags & CKF_USER_PIN_INITIALIZED) == 0 &&
        (flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0)
        return why_set(why, ATH_ERR_HSM_UNAVAILABLE,
                       "the token \"%s\" (serial %s) has no user PIN yet: set one with its own "
                       "tool, or pkcs11-tool --init-pin",
                       place->name.token, place->name.serial);
    return ATH_OK;
}

ath_err
pkcs11_slot_find(const struct pkcs11_module *module, const struct pkcs11_uri *wanted,
                 struct hsm_fault *fault, struct pkcs11_place *ret_place)
{
    struct search search = {.matches = 0};
    struct pkcs11_place place = {.slot = 0};
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = 0;
    ath_err err;

    if ((err = list_slots(module, fault, slots, &count)) != ATH_OK)
        return err;
    for (CK_ULONG i = 0; i < count; i++)
        look_at(module, slots[i], wanted, &search, &place);
    if (search.matches == 0)
        return say_none(module, wanted, &search, &fault->why);
    if (search.matches > 1)
        return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE,
                       "the URI fits %u tokens, name one by serial=: %s", search.matches,
                       search.matching.text);
    if ((err = judge(&place, &fault->why)) == ATH_OK)
        *ret_place = place;
    return err;
}

/* OpenSC looks at its readers only when it is asked for the number of slots; to C_GetTokenInfo it
 * goes on telling of a card that is gone. Other modules are not asked: workers may be signing, and
 * SoftHSM then throws away what they use. */
static CK_RV
look_again(const struct pkcs11_module *module, CK_SLOT_ID slot, CK_TOKEN_INFO *ret_info)
{
    CK_SLOT_INFO info = {.flags = 0};
    CK_ULONG count = 0;
    CK_RV rv = module->f->C_GetSlotInfo(slot, &info);

    if (rv == CKR_OK && (info.flags & CKF_REMOVABLE_DEVICE) != 0) {
        (void)module->f->C_GetSlotList(CK_TRUE, NULL, &count);
        rv = module->f->C_GetSlotInfo(slot, &info);
    }
    if (rv == CKR_OK && (info.flags & CKF_TOKEN_PRESENT) == 0)
        return CKR_TOKEN_NOT_PRESENT;
    return module->f->C_GetTokenInfo(slot, ret_info);
}

/* That it is gone is believed at once. A token that is there and cannot be read may be one that
 * another process of SoftHSM's (2.6) writes to at this moment, as each login does, in place. */
static CK_RV
look_patiently(const struct pkcs11_module *module, CK_SLOT_ID slot, CK_TOKEN_INFO *ret_info)
{
    const struct timespec pause = {.tv_nsec = READ_AGAIN_MS * 1000000L};
    CK_RV rv = look_again(module, slot, ret_info);

    for (unsigned reads = 1; rv == CKR_GENERAL_ERROR && reads < READS; reads++) {
        (void)nanosleep(&pause, NULL);
        rv = look_again(module, slot, ret_info);
    }
    return rv;
}

ath_err
pkcs11_slot_check(const struct pkcs11_module *module, const struct pkcs11_place *place,
                  struct hsm_fault *fault, CK_TOKEN_INFO *ret_info)
{
    CK_TOKEN_INFO info = {.flags = 0};
    struct pkcs11_uri name;
    CK_RV rv = look_patiently(module, place->slot, &info);

    if (rv == CKR_OK) {
        name = name_of(&info);
        if (pkcs11_uri_token_matches(&place->name, &name) &&
            pkcs11_uri_token_matches(&name, &place->name)) {
            *ret_info = info;
            return ATH_OK;
        }
    }
    fault->native = (uint32_t)(rv & UINT32_MAX);
    return why_set(&fault->why, ATH_ERR_HSM_UNAVAILABLE,
                   "the token \"%s\" (serial %s) was taken out", place->name.token,
                   place->name.serial);
}

static bool
can_be_taken_out(const struct pkcs11_module *module, CK_SLOT_ID slot)
{
    CK_SLOT_INFO info = {.flags = 0};

    return module->f->C_GetSlotInfo(slot, &info) != CKR_OK ||
           (info.flags & CKF_REMOVABLE_DEVICE) != 0;
}

/* pcscd asks its readers every 400 ms. */
ath_err
pkcs11_slot_check_slowly(const struct pkcs11_module *module, const struct pkcs11_place *place,
                         struct hsm_fault *fault, CK_TOKEN_INFO *ret_info)
{
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    ath_err err = pkcs11_slot_check(module, place, fault, ret_info);

    if (err != ATH_OK || !can_be_taken_out(module, place->slot))
        return err;
    for (unsigned waited = 0; err == ATH_OK && waited < PKCS11_SLOT_NOTICE_MS; waited += STEP_MS) {
        (void)nanosleep(&step, NULL);
        err = pkcs11_slot_check(module, place, fault, ret_info);
    }
    return err;
}
