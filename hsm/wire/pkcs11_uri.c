#include "hsm/wire/pkcs11_uri.h"

#include <string.h>

#include "base/bytes.h"
#include "base/name.h"

#define SCHEME "pkcs11:"

enum part { PART_PATH, PART_QUERY };

enum attribute_kind {
    KIND_TOKEN,
    KIND_MANUFACTURER,
    KIND_MODEL,
    KIND_SERIAL,
    KIND_OBJECT,
    KIND_ID,
    KIND_TYPE,
    KIND_MODULE_PATH,
    KIND_MODULE_NAME,
    KIND_PIN_SOURCE,
};

/* RFC 7512 2.3. Lengths are of the decoded value: CK_TOKEN_INFO's fields, what we allow. */
static const struct attribute {
    const char *name;
    enum part part;
    size_t max;
} attributes[] = {
    [KIND_TOKEN] = {"token", PART_PATH, 32},
    [KIND_MANUFACTURER] = {"manufacturer", PART_PATH, 32},
    [KIND_MODEL] = {"model", PART_PATH, 16},
    [KIND_SERIAL] = {"serial", PART_PATH, 16},
    [KIND_OBJECT] = {"object", PART_PATH, 255},
    [KIND_ID] = {"id", PART_PATH, PKCS11_URI_ID_MAX},
    [KIND_TYPE] = {"type", PART_PATH, 16},
    [KIND_MODULE_PATH] = {"module-path", PART_QUERY, 1023},
    [KIND_MODULE_NAME] = {"module-name", PART_QUERY, 64},
    [KIND_PIN_SOURCE] = {"pin-source", PART_QUERY, 1023},
};

#define ATTRIBUTE_COUNT (sizeof(attributes) / sizeof(attributes[0]))
#define VALUE_MAX 1023u

struct parsing {
    struct pkcs11_uri *uri;
    unsigned seen; /* bit 1 << enum attribute_kind */
    struct why *why;
};

static bool
begins_with(struct ath_slice text, const char *prefix)
{
    size_t len = strlen(prefix);

    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

static ath_err
refuse_unknown(struct ath_slice name, struct why *why)
{
    if (ath_slice_is(name, "pin-value"))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the PKCS#11 URI holds a PIN (pin-value), which everybody could read: leave "
                       "it out and be asked, or use pin-source=file:/PATH");
    if (begins_with(name, "slot-"))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the PKCS#11 URI names a slot, but slots change: name the token (token=, "
                       "serial=)");
    return why_set(why, ATH_ERR_INVALID_PARAMS,
                   "the PKCS#11 URI has an unknown attribute; known are token, serial, "
                   "manufacturer, model, object, id, type=private and, after '?', module-path, "
                   "module-name, pin-source");
}

/* ---- characters ---- */

static bool
is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("-._~", c) != NULL);
}

/* RFC 7512 2.3: pk11-res-avail, and what path and query allow besides. */
static bool
is_allowed(uint8_t c, enum part part)
{
    if (c == 0)
        return false;
    return is_unreserved(c) || strchr(":[]@!$'()*+,=", c) != NULL ||
           (part == PART_PATH ? c == '&' : strchr("/?|", c) != NULL);
}

/* One byte off the front of text; false for what must not stand there. */
static bool
take_byte(struct ath_slice *text, enum part part, uint8_t *ret_byte)
{
    size_t len = 1;
    int high, low;

    *ret_byte = text->data[0];
    if (text->data[0] == '%') {
        if (text->len < 3 || (high = hex_digit(text->data[1])) < 0 ||
            (low = hex_digit(text->data[2])) < 0)
            return false;
        *ret_byte = (uint8_t)(high << 4 | low);
        len = 3;
    } else if (!is_allowed(text->data[0], part)) {
        return false;
    }
    text->data += len;
    text->len -= len;
    return true;
}

/* At most attribute->max bytes, which is VALUE_MAX or less. */
static ath_err
decode_value(const struct attribute *attribute, struct ath_slice text, struct why *why,
             uint8_t ret_value[VALUE_MAX + 1], size_t *ret_len)
{
    size_t len = 0;

    while (text.len > 0) {
        if (len == attribute->max)
            return why_set(why, ATH_ERR_INVALID_PARAMS,
                           "the PKCS#11 URI's %s is longer than %zu bytes", attribute->name,
                           attribute->max);
        if (!take_byte(&text, attribute->part, &ret_value[len++]))
            return why_set(why, ATH_ERR_INVALID_PARAMS,
                           "the PKCS#11 URI's %s has a character that must be written as %%XX "
                           "(a space is %%20, '/' before the '?' is %%2F, '%%' is %%25)",
                           attribute->name);
    }
    if (len == 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "the PKCS#11 URI's %s is empty",
                       attribute->name);
    ret_value[len] = 0;
    *ret_len = len;
    return ATH_OK;
}

/* ---- values ---- */

static ath_err
set_pin_source(struct pkcs11_uri *uri, const char *value, struct why *why)
{
    static const char file[] = "file:", credential[] = "credential:";

    if (strncmp(value, file, strlen(file)) == 0 && value[strlen(file)] == '/') {
        value += strlen(file);
        memcpy(uri->pin_file, value, strlen(value) + 1);
        return ATH_OK;
    }
    if (strncmp(value, credential, strlen(credential)) == 0 &&
        name_is_valid(value + strlen(credential))) {
        value += strlen(credential);
        memcpy(uri->pin_credential, value, strlen(value) + 1);
        return ATH_OK;
    }
    return why_set(why, ATH_ERR_INVALID_PARAMS,
                   "the PKCS#11 URI's pin-source is neither file:/ABSOLUTE/PATH nor "
                   "credential:NAME");
}

/* value is NUL-terminated and no longer than the attribute allows. */
static ath_err
set_text(struct pkcs11_uri *uri, enum attribute_kind kind, const char *value, struct why *why)
{
    char *const targets[ATTRIBUTE_COUNT] = {
        [KIND_TOKEN] = uri->token,
        [KIND_MANUFACTURER] = uri->manufacturer,
        [KIND_MODEL] = uri->model,
        [KIND_SERIAL] = uri->serial,
        [KIND_OBJECT] = uri->object,
        [KIND_MODULE_PATH] = uri->module_path,
        [KIND_MODULE_NAME] = uri->module_name,
    };

    if (kind == KIND_TYPE && strcmp(value, "private") != 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the PKCS#11 URI's type is not private: athd uses private keys");
    if (kind == KIND_MODULE_PATH && value[0] != '/')
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the PKCS#11 URI's module-path is not absolute; a module that p11-kit "
                       "knows is named by module-name");
    if (kind == KIND_MODULE_NAME && !name_is_valid(value))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the PKCS#11 URI's module-name is not a name (letters, digits, '.', '_', "
                       "'-'); a file is named by module-path");
    if (kind == KIND_PIN_SOURCE)
        return set_pin_source(uri, value, why);
    if (targets[kind] != NULL)
        memcpy(targets[kind], value, strlen(value) + 1);
    return ATH_OK;
}

static ath_err
set_value(struct parsing *parsing, enum attribute_kind kind, struct ath_slice text)
{
    uint8_t value[VALUE_MAX + 1];
    size_t len = 0;
    ath_err err;

    if ((parsing->seen & 1u << kind) != 0)
        return why_set(parsing->why, ATH_ERR_INVALID_PARAMS, "the PKCS#11 URI says %s twice",
                       attributes[kind].name);
    parsing->seen |= 1u << kind;
    if ((err = decode_value(&attributes[kind], text, parsing->why, value, &len)) != ATH_OK)
        return err;
    if (kind == KIND_ID) {
        memcpy(parsing->uri->id, value, len);
        parsing->uri->id_len = len;
        return ATH_OK;
    }
    if (memchr(value, 0, len) != NULL)
        return why_set(parsing->why, ATH_ERR_INVALID_PARAMS, "the PKCS#11 URI's %s contains %%00",
                       attributes[kind].name);
    return set_text(parsing->uri, kind, (const char *)value, parsing->why);
}

/* ---- structure ---- */

static ath_err
parse_attribute(struct parsing *parsing, enum part part, struct ath_slice text)
{
    const uint8_t *equals = text.len > 0 ? memchr(text.data, '=', text.len) : NULL;
    struct ath_slice name, value;

    if (equals == NULL)
        return why_set(parsing->why, ATH_ERR_INVALID_PARAMS,
                       "the PKCS#11 URI is not pkcs11:NAME=VALUE;...?NAME=VALUE&...");
    name = ath_slice_of(text.data, (size_t)(equals - text.data));
    value = ath_slice_of(equals + 1, text.len - name.len - 1);
    for (size_t i = 0; i < ATTRIBUTE_COUNT; i++) {
        if (!ath_slice_is(name, attributes[i].name))
            continue;
        if (attributes[i].part != part)
            return why_set(parsing->why, ATH_ERR_INVALID_PARAMS,
                           "the PKCS#11 URI's %s belongs %s the '?'", attributes[i].name,
                           part == PART_QUERY ? "before" : "behind");
        return set_value(parsing, (enum attribute_kind)i, value);
    }
    return refuse_unknown(name, parsing->why);
}

static ath_err
parse_part(struct parsing *parsing, enum part part, struct ath_slice text)
{
    const uint8_t separator = part == PART_PATH ? ';' : '&';
    ath_err err;

    for (;;) {
        const uint8_t *end = text.len > 0 ? memchr(text.data, separator, text.len) : NULL;
        size_t len = end != NULL ? (size_t)(end - text.data) : text.len;

        if ((err = parse_attribute(parsing, part, ath_slice_of(text.data, len))) != ATH_OK)
            return err;
        if (end == NULL)
            return ATH_OK;
        text = ath_slice_of(end + 1, text.len - len - 1);
    }
}

ath_err
pkcs11_uri_parse(struct ath_slice text, struct why *why, struct pkcs11_uri *ret_uri)
{
    struct pkcs11_uri uri = {.id_len = 0};
    struct parsing parsing = {.uri = &uri, .why = why};
    struct ath_slice path, query = {NULL, 0};
    const uint8_t *mark;
    ath_err err = ATH_OK;

    if (text.len > PKCS11_URI_MAX || !begins_with(text, SCHEME))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "this is no PKCS#11 URI: it begins with pkcs11: and has at most %u "
                       "characters",
                       PKCS11_URI_MAX);
    path = ath_slice_of(text.data + strlen(SCHEME), text.len - strlen(SCHEME));
    if (path.len > 0 && (mark = memchr(path.data, '?', path.len)) != NULL) {
        query = ath_slice_of(mark + 1, path.len - (size_t)(mark - path.data) - 1);
        path.len = (size_t)(mark - path.data);
    } else {
        mark = NULL;
    }
    if (path.len > 0)
        err = parse_part(&parsing, PART_PATH, path);
    if (err == ATH_OK && mark != NULL)
        err = parse_part(&parsing, PART_QUERY, query);
    if (err == ATH_OK && uri.module_path[0] != '\0' && uri.module_name[0] != '\0')
        err = why_set(why, ATH_ERR_INVALID_PARAMS,
                      "the PKCS#11 URI says module-path and module-name: one of them is enough");
    if (err == ATH_OK)
        *ret_uri = uri;
    return err;
}

/* ---- the canonical form ---- */

static void
put_percent(struct ath_buf *out, uint8_t byte)
{
    static const char digits[] = "0123456789ABCDEF";

    ath_buf_put_byte(out, '%');
    ath_buf_put_byte(out, (uint8_t)digits[byte >> 4]);
    ath_buf_put_byte(out, (uint8_t)digits[byte & 15]);
}

static void
begin_attribute(struct ath_buf *out, bool *first, const char *name)
{
    if (!*first)
        ath_buf_put_byte(out, ';');
    *first = false;
    ath_buf_put_string(out, name);
    ath_buf_put_byte(out, '=');
}

static void
put_text(struct ath_buf *out, bool *first, enum attribute_kind kind, const char *value)
{
    if (value[0] == '\0')
        return;
    begin_attribute(out, first, attributes[kind].name);
    for (; *value != '\0'; value++) {
        if (is_unreserved((uint8_t)*value))
            ath_buf_put_byte(out, (uint8_t)*value);
        else
            put_percent(out, (uint8_t)*value);
    }
}

void
pkcs11_uri_put_path(const struct pkcs11_uri *uri, struct ath_buf *out)
{
    bool first = true;

    ath_buf_put_string(out, SCHEME);
    put_text(out, &first, KIND_TOKEN, uri->token);
    put_text(out, &first, KIND_MANUFACTURER, uri->manufacturer);
    put_text(out, &first, KIND_MODEL, uri->model);
    put_text(out, &first, KIND_SERIAL, uri->serial);
    if (uri->id_len > 0) {
        begin_attribute(out, &first, attributes[KIND_ID].name);
        for (size_t i = 0; i < uri->id_len; i++)
            put_percent(out, uri->id[i]); /* RFC 7512 2.3: "id" SHOULD be percent-encoded whole */
    }
    put_text(out, &first, KIND_OBJECT, uri->object);
}

static bool
agrees(const char *wanted, const char *is)
{
    return wanted[0] == '\0' || strcmp(wanted, is) == 0;
}

bool
pkcs11_uri_token_matches(const struct pkcs11_uri *wanted, const struct pkcs11_uri *is)
{
    return agrees(wanted->token, is->token) && agrees(wanted->manufacturer, is->manufacturer) &&
           agrees(wanted->model, is->model) && agrees(wanted->serial, is->serial);
}
