/* Members of a message, described by a table and decoded into a plain struct at once: type, grammar
 * and limits are checked here, so that nothing behind it sees a member of another form. */
#ifndef PROTOCOL_HANDSHAKE_FIELD_H
#define PROTOCOL_HANDSHAKE_FIELD_H

#include <stddef.h>

#include "base/json.h"
#include "base/why.h"

enum field_kind {
    FIELD_TEXT,     /* const char *: a string of min to max bytes */
    FIELD_ALPHABET, /* const char *: min to max characters of [A-Za-z0-9_-] */
    FIELD_BASE64,   /* const char *: strict base64url of exactly max bytes */
    FIELD_NONCE,    /* const char *: as profile section 1; INVALID_NONCE */
    FIELD_DID,      /* const char * */
    FIELD_TRACE,    /* const char *: W3C traceparent */
    FIELD_KEY,      /* struct public_key *, owned: PEM; INVALID_PUBLIC_KEY */
    FIELD_INT,      /* int64_t: min to max */
    FIELD_TIME,     /* int64_t: seconds since 1970, not negative */
    FIELD_BOOL,     /* bool */
    FIELD_SCOPES,   /* struct scope_list, owned: min (0 or 1) to 64 entries */
    FIELD_STRINGS,  /* const struct json *: an array of at most max strings */
    FIELD_ARRAY,    /* const struct json * */
    FIELD_OBJECT,   /* const struct json * */
    FIELD_ANY,      /* const struct json *: the caller checks it */
};

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset; /* in the struct that is filled */
    int64_t min, max;
    bool optional; /* may be absent (never null) */
};

#define FIELDS_COUNT(fields) (sizeof(fields) / sizeof((fields)[0]))

/* Fills *decoded, which the caller has zeroed; on an error nothing in it is left owned. Strings point
 * into the object. ATH_ERR_INVALID_MESSAGE, ATH_ERR_INVALID_NONCE, ATH_ERR_INVALID_PUBLIC_KEY,
 * ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err fields_decode(const struct field *fields, size_t count, const struct json *object,
                      struct why *why, void *decoded) ATH_MUST_USE;
void fields_done(const struct field *fields, size_t count, void *decoded);

#endif
