#include "protocol/handshake_field.h"

#include <string.h>

#include "base/base64url.h"
#include "base/traceparent.h"
#include "crypto/public_key.h"
#include "protocol/did.h"
#include "protocol/protocol_limits.h"
#include "protocol/scope.h"

#define FIELD_BASE64_MAX 128 /* bytes: more than any member of fixed length has */

static ath_err
malformed(const struct field *field, struct why *why, const char *what)
{
    return why_set(why, ATH_ERR_INVALID_MESSAGE, "member \"%s\" %s", field->name, what);
}

static bool
is_base64_of(struct ath_slice text, size_t len)
{
    uint8_t bytes[FIELD_BASE64_MAX];

    return len <= sizeof(bytes) && base64url_decode_exact(text, bytes, len) == ATH_OK;
}

static ath_err
text_check(const struct field *field, const char *text, struct why *why)
{
    struct ath_slice slice = ath_slice_of_string(text);
    size_t min = (size_t)field->min, max = (size_t)field->max;
    bool good = false;

    switch (field->kind) {
    case FIELD_TEXT:
        good = slice.len >= min && slice.len <= max;
        break;
    case FIELD_ALPHABET:
        good = base64url_is_alphabet(slice, min, max);
        break;
    case FIELD_BASE64:
        good = is_base64_of(slice, max);
        break;
    case FIELD_DID:
        good = did_is_valid(text);
        break;
    case FIELD_TRACE:
        good = traceparent_is_valid(text);
        break;
    case FIELD_NONCE:
        if (!base64url_is_alphabet(slice, NONCE_MIN_LEN, NONCE_MAX_LEN))
            return why_set(why, ATH_ERR_INVALID_NONCE,
                           "a nonce has 22 to 128 characters of [A-Za-z0-9_-]");
        good = true;
        break;
    default:
        break;
    }
    return good ? ATH_OK : malformed(field, why, "does not have the form it must have");
}

static ath_err
text_decode(const struct field *field, const struct json *value, struct why *why, char *slot)
{
    const char *text = json_string(value);
    ath_err err;

    if (text == NULL)
        return malformed(field, why, "is not a string");
    if ((err = text_check(field, text, why)) != ATH_OK)
        return err;
    memcpy(slot, &text, sizeof(text));
    return ATH_OK;
}

static ath_err
key_decode(const struct field *field, const struct json *value, struct why *why, char *slot)
{
    const char *pem = json_string(value);
    struct public_key *key = NULL;
    ath_err err;

    if (pem == NULL)
        return malformed(field, why, "is not a string");
    if ((err = public_key_from_pem(ath_slice_of_string(pem), why, &key)) != ATH_OK)
        return err;
    memcpy(slot, &key, sizeof(key));
    return ATH_OK;
}

static ath_err
number_decode(const struct field *field, const struct json *value, struct why *why, char *slot)
{
    int64_t number = 0;

    if (!json_int(value, &number))
        return malformed(field, why, "is not a whole number");
    if (number < (field->kind == FIELD_TIME ? 0 : field->min) ||
        (field->kind == FIELD_INT && number > field->max))
        return malformed(field, why, "is out of range");
    memcpy(slot, &number, sizeof(number));
    return ATH_OK;
}

static ath_err
bool_decode(const struct field *field, const struct json *value, struct why *why, char *slot)
{
    bool is_true = json_is_true(value);

    if (!json_is_bool(value))
        return malformed(field, why, "is neither true nor false");
    memcpy(slot, &is_true, sizeof(is_true));
    return ATH_OK;
}

static ath_err
scopes_decode(const struct field *field, const struct json *value, struct why *why, char *slot)
{
    struct scope_list list = {0};
    struct why inner = {{0}};
    ath_err err = scope_list_decode(value, (size_t)field->min, &inner, &list);

    if (err == ATH_ERR_NOMEM)
        return err;
    if (err != ATH_OK)
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "member \"%s\": %s", field->name,
                       why_text(&inner, err));
    memcpy(slot, &list, sizeof(list));
    return ATH_OK;
}

static bool
is_short_strings(const struct json *array, size_t max)
{
    if (!json_is_array(array) || json_count(array) > max)
        return false;
    for (const struct json *item = json_first(array); item != NULL; item = json_next(item)) {
        const char *text = json_string(item);

        if (text == NULL || strlen(text) > CAPABILITY_MAX_LEN)
            return false;
    }
    return true;
}

static ath_err
tree_decode(const struct field *field, const struct json *value, struct why *why, char *slot)
{
    if (field->kind == FIELD_STRINGS && !is_short_strings(value, (size_t)field->max))
        return malformed(field, why, "is not a list of short strings");
    if (field->kind == FIELD_ARRAY && !json_is_array(value))
        return malformed(field, why, "is not an array");
    if (field->kind == FIELD_OBJECT && !json_is_object(value))
        return malformed(field, why, "is not an object");
    memcpy(slot, &value, sizeof(value));
    return ATH_OK;
}

static ath_err
field_decode(const struct field *field, const struct json *object, struct why *why, char *slot)
{
    const struct json *value = json_get(object, field->name);

    if (value == NULL)
        return field->optional ? ATH_OK : malformed(field, why, "is missing");
    switch (field->kind) {
    case FIELD_KEY:
        return key_decode(field, value, why, slot);
    case FIELD_INT:
    case FIELD_TIME:
        return number_decode(field, value, why, slot);
    case FIELD_BOOL:
        return bool_decode(field, value, why, slot);
    case FIELD_SCOPES:
        return scopes_decode(field, value, why, slot);
    case FIELD_STRINGS:
    case FIELD_ARRAY:
    case FIELD_OBJECT:
    case FIELD_ANY:
        return tree_decode(field, value, why, slot);
    default:
        return text_decode(field, value, why, slot);
    }
}

ath_err
fields_decode(const struct field *fields, size_t count, const struct json *object, struct why *why,
              void *decoded)
{
    for (size_t i = 0; i < count; i++) {
        ath_err err = field_decode(&fields[i], object, why, (char *)decoded + fields[i].offset);

        if (err != ATH_OK) {
            fields_done(fields, count, decoded);
            return err;
        }
    }
    return ATH_OK;
}

void
fields_done(const struct field *fields, size_t count, void *decoded)
{
    for (size_t i = 0; i < count; i++) {
        char *slot = (char *)decoded + fields[i].offset;

        if (fields[i].kind == FIELD_KEY) {
            struct public_key *key;

            memcpy(&key, slot, sizeof(key));
            public_key_free(key);
            memset(slot, 0, sizeof(key));
        } else if (fields[i].kind == FIELD_SCOPES) {
            struct scope_list list;

            memcpy(&list, slot, sizeof(list));
            scope_list_done(&list);
            memset(slot, 0, sizeof(list));
        }
    }
}
