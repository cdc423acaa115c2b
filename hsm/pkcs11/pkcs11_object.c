#include "hsm/pkcs11/pkcs11_object.h"

#include <string.h>

static const char doing_find[] = "look for the key";
static const char doing_read[] = "read the key's attributes";

static CK_ATTRIBUTE
attribute_of(CK_ATTRIBUTE_TYPE type, struct ath_slice value)
{
    /* the module's parameter lacks a const */
    return (CK_ATTRIBUTE){type, (void *)(uintptr_t)value.data, value.len};
}

/* FindObjectsInit has succeeded. A module may give fewer than there are in one call. */
static ath_err
collect(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *ret_objects,
        size_t max, size_t *ret_count, struct hsm_fault *fault)
{
    size_t found = 0;

    while (found < max) {
        CK_ULONG count = 0;
        CK_RV rv = token->module->f->C_FindObjects(session, ret_objects + found,
                                                   (CK_ULONG)(max - found), &count);

        if (rv != CKR_OK)
            return pkcs11_error_report(rv, doing_find, fault);
        if (count > max - found)
            return pkcs11_error_nonsense(doing_find, "gives more objects than were asked for",
                                         fault);
        if (count == 0)
            break;
        for (size_t i = 0; i < count; i++) {
            if (ret_objects[found + i] == CK_INVALID_HANDLE)
                return pkcs11_error_nonsense(doing_find, "gives an object without a handle", fault);
        }
        found += count;
    }
    *ret_count = found;
    return ATH_OK;
}

ath_err
pkcs11_object_find(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                   const struct pkcs11_object_query *query, CK_OBJECT_HANDLE *ret_objects,
                   size_t max, size_t *ret_count, struct hsm_fault *fault)
{
    CK_OBJECT_CLASS class = query->class;
    CK_ATTRIBUTE template[3] = {{CKA_CLASS, &class, sizeof(class)}};
    CK_ULONG count = 1;
    ath_err err;
    CK_RV rv;

    if (query->id.len > 0)
        template[count++] = attribute_of(CKA_ID, query->id);
    if (query->label.len > 0)
        template[count++] = attribute_of(CKA_LABEL, query->label);
    memset(ret_objects, 0, max * sizeof(*ret_objects));
    rv = token->module->f->C_FindObjectsInit(session, template, count);
    if (rv != CKR_OK)
        return pkcs11_error_report(rv, doing_find, fault);
    err = collect(token, session, ret_objects, max, ret_count, fault);
    (void)token->module->f->C_FindObjectsFinal(session);
    return err;
}

ath_err
pkcs11_object_bytes(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                    CK_ATTRIBUTE_TYPE type, uint8_t *ret_bytes, size_t size, size_t *ret_len,
                    struct hsm_fault *fault)
{
    CK_ATTRIBUTE attribute = {type, ret_bytes, (CK_ULONG)size};
    CK_RV rv;

    memset(ret_bytes, 0, size);
    rv = token->module->f->C_GetAttributeValue(session, object, &attribute, 1);
    if (rv != CKR_OK && pkcs11_error_of(rv)->action != PKCS11_ACTION_REPORT)
        return pkcs11_error_report(rv, doing_read, fault);
    /* CK_UNAVAILABLE_INFORMATION is greater, too */
    if (rv != CKR_OK || attribute.ulValueLen > size)
        return ATH_ERR_NOT_FOUND;
    *ret_len = attribute.ulValueLen;
    return ATH_OK;
}

ath_err
pkcs11_object_bool(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                   CK_ATTRIBUTE_TYPE type, bool if_unknown, struct hsm_fault *fault,
                   bool *ret_value)
{
    uint8_t value[sizeof(CK_BBOOL)];
    size_t len = 0;
    ath_err err;

    err = pkcs11_object_bytes(token, session, object, type, value, sizeof(value), &len, fault);
    if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
        return err;
    *ret_value = err == ATH_OK && len == sizeof(value) ? value[0] != CK_FALSE : if_unknown;
    return ATH_OK;
}

ath_err
pkcs11_object_number(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                     CK_ATTRIBUTE_TYPE type, struct hsm_fault *fault, CK_ULONG *ret_value)
{
    uint8_t value[sizeof(CK_ULONG)];
    size_t len = 0;
    ath_err err;

    err = pkcs11_object_bytes(token, session, object, type, value, sizeof(value), &len, fault);
    if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
        return err;
    *ret_value = CK_UNAVAILABLE_INFORMATION;
    if (err == ATH_OK && len == sizeof(value))
        memcpy(ret_value, value, sizeof(value));
    return ATH_OK;
}
