/*
 * A PKCS#11 module for tests: it hands everything on to a real one (SoftHSM), but for what the
 * rules beside SOFTHSM2_CONF say (fault_rules.h, fault_any.h, and the lies below). Each C_Login
 * leaves a line "pid user-type result" in the file `logins` there, so that tests can count tries.
 */
#include <p11-kit/pkcs11.h>

#include <stdio.h>
#include <string.h>

#include "fault_any.h"
#include "fault_functions.h"
#include "fault_token.h"

#define ATTRIBUTE_MAX 1024u

#define NUMBER(name, parameters, arguments) NUMBER_##name,
enum { FAULT_FUNCTIONS(NUMBER, NUMBER, NUMBER) NUMBER_OF_FUNCTIONS };
_Static_assert(NUMBER_OF_FUNCTIONS < FAULT_ALL, "a counter for each");

#define DEFINE_PLAIN(name, parameters, arguments)                                                  \
    static CK_RV fault_##name parameters                                                           \
    {                                                                                              \
        struct fault_call call;                                                                    \
        CK_RV rv;                                                                                  \
                                                                                                   \
        if (fault_begin(&call, #name, NUMBER_##name, 0, &rv))                                      \
            return rv;                                                                             \
        return fault_real()->name arguments;                                                       \
    }
#define DEFINE_SESSION(name, parameters, arguments)                                                \
    static CK_RV fault_##name parameters                                                           \
    {                                                                                              \
        struct fault_call call;                                                                    \
        CK_RV rv;                                                                                  \
                                                                                                   \
        if (fault_begin(&call, #name, NUMBER_##name, session, &rv))                                \
            return rv;                                                                             \
        fault_hold_sessions();                                                                     \
        rv = fault_real()->name arguments;                                                         \
        fault_release_sessions();                                                                  \
        return rv;                                                                                 \
    }
#define DEFINE_NOTHING(name, parameters, arguments)
FAULT_FUNCTIONS(DEFINE_PLAIN, DEFINE_SESSION, DEFINE_NOTHING)

/* ---- slots ---- */

/* token away: as of a reader without a card. C_GetSlotList count N: so it says. */
static CK_RV
fault_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count)
{
    struct fault_call call;
    struct fault_rule rule;
    CK_SLOT_ID shift;
    CK_RV rv;

    if (fault_begin(&call, "C_GetSlotList", NUMBER_C_GetSlotList, 0, &rv))
        return rv;
    if (present && fault_token_has(&call, "away", &rule)) {
        *count = 0;
        return CKR_OK;
    }
    shift = fault_slot_shift(&call);
    rv = fault_real()->C_GetSlotList(present, list, count);
    for (CK_ULONG i = 0; rv == CKR_OK && list != NULL && i < *count; i++)
        list[i] += shift;
    if (fault_has(&call, "count", &rule))
        *count = fault_number(&rule, 0);
    return rv;
}

/* Begins a call that names a slot; *slot becomes the real one. */
static bool
begin_slot(struct fault_call *call, const char *function, int number, CK_SLOT_ID *slot,
           CK_RV *ret_rv)
{
    struct fault_rule rule;

    if (fault_begin(call, function, number, 0, ret_rv))
        return true;
    *slot -= fault_slot_shift(call);
    if (number == NUMBER_C_GetSlotInfo || !fault_token_has(call, "away", &rule))
        return false;
    *ret_rv = CKR_TOKEN_NOT_PRESENT;
    return true;
}

static CK_RV
fault_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info)
{
    struct fault_call call;
    struct fault_rule rule;
    CK_RV rv;

    if (begin_slot(&call, "C_GetSlotInfo", NUMBER_C_GetSlotInfo, &slot, &rv))
        return rv;
    rv = fault_real()->C_GetSlotInfo(slot, info);
    if (rv == CKR_OK && fault_token_has(&call, "away", &rule))
        info->flags &= ~CKF_TOKEN_PRESENT;
    return rv;
}

static CK_RV
fault_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
    struct fault_call call;
    CK_RV rv;

    if (begin_slot(&call, "C_GetTokenInfo", NUMBER_C_GetTokenInfo, &slot, &rv))
        return rv;
    rv = fault_real()->C_GetTokenInfo(slot, info);
    if (rv == CKR_OK)
        fault_token_info(&call, info);
    return rv;
}

/* count N: so it says. */
static CK_RV
fault_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count)
{
    struct fault_call call;
    struct fault_rule rule;
    CK_RV rv;

    if (begin_slot(&call, "C_GetMechanismList", NUMBER_C_GetMechanismList, &slot, &rv))
        return rv;
    rv = fault_real()->C_GetMechanismList(slot, list, count);
    if (fault_has(&call, "count", &rule))
        *count = fault_number(&rule, 0);
    return rv;
}

static CK_RV
fault_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info)
{
    struct fault_call call;
    CK_RV rv;

    if (begin_slot(&call, "C_GetMechanismInfo", NUMBER_C_GetMechanismInfo, &slot, &rv))
        return rv;
    return fault_real()->C_GetMechanismInfo(slot, type, info);
}

static CK_RV
fault_C_InitToken(CK_SLOT_ID slot, CK_BYTE_PTR pin, CK_ULONG pin_len, CK_BYTE_PTR label)
{
    struct fault_call call;
    CK_RV rv;

    if (begin_slot(&call, "C_InitToken", NUMBER_C_InitToken, &slot, &rv))
        return rv;
    return fault_real()->C_InitToken(slot, pin, pin_len, label);
}

/* ---- sessions ---- */

/* zero: the handle is CK_INVALID_HANDLE, though all is well. */
static CK_RV
fault_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                    CK_SESSION_HANDLE_PTR session)
{
    struct fault_call call;
    struct fault_rule rule;
    CK_RV rv;

    if (begin_slot(&call, "C_OpenSession", NUMBER_C_OpenSession, &slot, &rv))
        return rv;
    rv = fault_real()->C_OpenSession(slot, flags, application, notify, session);
    if (rv == CKR_OK && fault_has(&call, "zero", &rule))
        *session = CK_INVALID_HANDLE;
    return rv;
}

static CK_RV
fault_C_CloseAllSessions(CK_SLOT_ID slot)
{
    struct fault_call call;
    CK_RV rv;

    if (begin_slot(&call, "C_CloseAllSessions", NUMBER_C_CloseAllSessions, &slot, &rv))
        return rv;
    return fault_real()->C_CloseAllSessions(slot);
}

/* state N: so it says. */
static CK_RV
fault_C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
    struct fault_call call;
    struct fault_rule rule;
    CK_RV rv;

    if (fault_begin(&call, "C_GetSessionInfo", NUMBER_C_GetSessionInfo, session, &rv))
        return rv;
    rv = fault_real()->C_GetSessionInfo(session, info);
    if (rv != CKR_OK)
        return rv;
    info->slotID += fault_slot_shift(&call);
    if (fault_has(&call, "state", &rule))
        info->state = fault_number(&rule, 0);
    return rv;
}

static CK_RV
fault_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE_PTR pin, CK_ULONG pin_len)
{
    struct fault_call call;
    CK_RV rv;

    if (!fault_begin(&call, "C_Login", NUMBER_C_Login, session, &rv))
        rv = fault_token_login(&call, session, user, pin, pin_len);
    fault_token_note_login(user, rv);
    return rv;
}

/* ---- objects ---- */

/* The attribute becomes `bytes`, given away as the standard says (PKCS #11 2.40,
 * C_GetAttributeValue). */
static CK_RV
replace_attribute(CK_ATTRIBUTE *attribute, const uint8_t *bytes, size_t len)
{
    CK_RV rv = CKR_OK;

    if (attribute->pValue != NULL && attribute->ulValueLen < len) {
        attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_BUFFER_TOO_SMALL;
    }
    if (attribute->pValue != NULL)
        memcpy(attribute->pValue, bytes, len);
    attribute->ulValueLen = len;
    return rv;
}

/* One rule about one attribute: value HEX, length N (a lie), missing. */
static CK_RV
change_attribute(CK_ATTRIBUTE *attribute, size_t room, const char *action,
                 const struct fault_rule *rule)
{
    uint8_t bytes[ATTRIBUTE_MAX];

    if (strcmp(action, "value") == 0) {
        if (attribute->pValue != NULL)
            attribute->ulValueLen = room;
        return replace_attribute(attribute, bytes, fault_bytes(rule, 1, bytes, sizeof(bytes)));
    }
    attribute->ulValueLen =
        strcmp(action, "length") == 0 ? fault_number(rule, 1) : CK_UNAVAILABLE_INFORMATION;
    return strcmp(action, "missing") == 0 ? CKR_ATTRIBUTE_TYPE_INVALID : CKR_OK;
}

/* C_GetAttributeValue value TYPE HEX | length TYPE N | missing TYPE | lost TYPE (missing, but says
 * CKR_OK) */
static CK_RV
fault_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                          CK_ATTRIBUTE_PTR templ, CK_ULONG count)
{
    static const char *const actions[] = {"value", "length", "missing", "lost"};
    size_t rooms[32];
    struct fault_call call;
    struct fault_rule rule;
    CK_RV rv;

    if (fault_begin(&call, "C_GetAttributeValue", NUMBER_C_GetAttributeValue, session, &rv))
        return rv;
    for (CK_ULONG i = 0; i < count && i < 32; i++)
        rooms[i] = templ[i].ulValueLen;
    fault_hold_sessions();
    rv = fault_real()->C_GetAttributeValue(session, object, templ, count);
    fault_release_sessions();
    for (size_t action = 0; action < sizeof(actions) / sizeof(actions[0]); action++) {
        const char *cursor = NULL;

        while (fault_next(&call, call.function, actions[action], &cursor, &rule))
            for (CK_ULONG i = 0; i < count && i < 32; i++)
                if (templ[i].type == fault_number(&rule, 0)) {
                    CK_RV changed = change_attribute(&templ[i], rooms[i], actions[action], &rule);

                    rv = changed != CKR_OK ? changed : rv;
                }
    }
    return rv;
}

/* count N: so it says. flood: as many as there is room for, at each call. zero: handles are 0. */
static CK_RV
fault_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG max,
                    CK_ULONG_PTR count)
{
    struct fault_call call;
    struct fault_rule rule;
    CK_RV rv;

    if (fault_begin(&call, "C_FindObjects", NUMBER_C_FindObjects, session, &rv))
        return rv;
    fault_hold_sessions();
    rv = fault_real()->C_FindObjects(session, objects, max, count);
    fault_release_sessions();
    if (rv != CKR_OK)
        return rv;
    if (fault_has(&call, "flood", &rule)) {
        CK_OBJECT_HANDLE object = *count > 0 ? objects[0] : 1;

        for (*count = 0; *count < max; (*count)++)
            objects[*count] = object;
    }
    for (CK_ULONG i = 0; fault_has(&call, "zero", &rule) && i < *count; i++)
        objects[i] = CK_INVALID_HANDLE;
    if (fault_has(&call, "count", &rule))
        *count = fault_number(&rule, 0);
    return rv;
}

/* A DER SEQUENCE of two INTEGERs, as some modules give instead of r || s. */
static CK_ULONG
der_of(const uint8_t *signature, size_t len, uint8_t *out)
{
    size_t at = 2;

    for (size_t half = 0; half < 2; half++) {
        const uint8_t *number = signature + half * (len / 2);
        bool is_high = (number[0] & 0x80) != 0;

        out[at++] = 0x02;
        out[at++] = (uint8_t)(len / 2 + is_high);
        if (is_high)
            out[at++] = 0;
        memcpy(out + at, number, len / 2);
        at += len / 2;
    }
    out[0] = 0x30;
    out[1] = (uint8_t)(at - 2);
    return at;
}

/* What became of a signature: length N (a lie), der, flip (a bit), zero. */
static CK_RV
change_signature(struct fault_call *call, CK_BYTE_PTR signature, CK_ULONG room, CK_ULONG_PTR len)
{
    struct fault_rule rule;
    uint8_t der[256];

    if (fault_has(call, "flip", &rule) && *len > 0)
        signature[*len / 2] ^= 1;
    if (fault_has(call, "zero", &rule))
        memset(signature, 0, *len);
    if (fault_has(call, "der", &rule) && *len <= 96) {
        CK_ULONG der_len = der_of(signature, *len, der);

        *len = der_len;
        if (der_len > room)
            return CKR_BUFFER_TOO_SMALL;
        memcpy(signature, der, der_len);
    }
    if (fault_has(call, "length", &rule))
        *len = fault_number(&rule, 0);
    return CKR_OK;
}

static CK_RV
fault_C_Sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG data_len, CK_BYTE_PTR signature,
             CK_ULONG_PTR signature_len)
{
    struct fault_call call;
    CK_ULONG room = *signature_len;
    CK_RV rv;

    if (fault_begin(&call, "C_Sign", NUMBER_C_Sign, session, &rv))
        return rv;
    fault_hold_sessions();
    rv = fault_real()->C_Sign(session, data, data_len, signature, signature_len);
    fault_release_sessions();
    if (rv == CKR_OK && signature != NULL)
        rv = change_signature(&call, signature, room, signature_len);
    return rv;
}

/* ---- the module ---- */

#define MEMBER(name, parameters, arguments) .name = fault_##name,
static CK_RV fault_C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);
static CK_FUNCTION_LIST functions = {.version = {2, 40}, FAULT_FUNCTIONS(MEMBER, MEMBER, MEMBER)};

/* hole FUNCTION: it is NULL. */
static void
make_hole(const char *function)
{
#define HOLE(name, parameters, arguments)                                                          \
    if (strcmp(function, #name) == 0)                                                              \
        functions.name = NULL;
    FAULT_FUNCTIONS(HOLE, HOLE, HOLE)
}

/* null: CKR_OK and no list. version N: of Cryptoki. */
static CK_RV
fault_C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    struct fault_call call;
    struct fault_rule rule;
    const char *cursor = NULL;
    CK_RV rv;

    if (fault_real() == NULL)
        return CKR_GENERAL_ERROR;
    if (fault_begin(&call, "C_GetFunctionList", NUMBER_C_GetFunctionList, 0, &rv))
        return rv;
    *list = fault_has(&call, "null", &rule) ? NULL : &functions;
    if (fault_has(&call, "version", &rule))
        functions.version.major = (CK_BYTE)fault_number(&rule, 0);
    while (fault_next(&call, call.function, "hole", &cursor, &rule))
        make_hole(rule.words[0] != NULL ? rule.words[0] : "");
    return CKR_OK;
}

__attribute__((visibility("default"))) CK_RV
C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    return fault_C_GetFunctionList(list);
}
