#include "protocol/claims.h"

#include <string.h>

#include "protocol/did.h"
#include "protocol/protocol_limits.h"

const char *
claims_text(const struct json *claims, const char *name, size_t max_len)
{
    const char *text = json_get_string(claims, name);

    return text != NULL && text[0] != '\0' && strlen(text) <= max_len ? text : NULL;
}

const char *
claims_did(const struct json *claims, const char *name)
{
    const char *did = json_get_string(claims, name);

    return did_is_valid(did) ? did : NULL;
}

static bool
is_filled(const struct json *value)
{
    const char *text = json_string(value);

    return text != NULL && text[0] != '\0';
}

bool
claims_audience_is_valid(const struct json *aud)
{
    if (!json_is_array(aud))
        return is_filled(aud);
    if (json_count(aud) == 0 || json_count(aud) > AUDIENCES_MAX)
        return false;
    for (const struct json *entry = json_first(aud); entry != NULL; entry = json_next(entry))
        if (!is_filled(entry))
            return false;
    return true;
}

bool
claims_audience_has(const struct json *aud, const char *audience)
{
    const char *text = json_string(aud);

    if (text != NULL)
        return strcmp(text, audience) == 0;
    if (!json_is_array(aud))
        return false;
    for (const struct json *entry = json_first(aud); entry != NULL; entry = json_next(entry))
        if ((text = json_string(entry)) != NULL && strcmp(text, audience) == 0)
            return true;
    return false;
}

bool
claims_times_decode(const struct json *claims, struct claims_times *ret_times)
{
    struct claims_times times = {.not_before = INT64_MIN};

    if (!json_get_int(claims, "iat", &times.issued_at) ||
        !json_get_int(claims, "exp", &times.expires_at))
        return false;
    if (json_get(claims, "nbf") != NULL && !json_get_int(claims, "nbf", &times.not_before))
        return false;
    *ret_times = times;
    return times.issued_at >= 0 && times.issued_at < times.expires_at;
}

bool
claims_times_hold(const struct claims_times *times, int64_t now)
{
    return times->expires_at > now && times->issued_at <= now + TIMESTAMP_LEEWAY_S &&
           times->not_before <= now + TIMESTAMP_LEEWAY_S;
}
