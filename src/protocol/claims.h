/* Claims that every token of the profile has, read in one way (profile sections 1 and 2). Internal
 * to the decoders of src/protocol; strings point into the claims. */
#ifndef PROTOCOL_CLAIMS_H
#define PROTOCOL_CLAIMS_H

#include "base/json.h"

/* A string of 1 to max_len bytes; NULL otherwise. */
const char *claims_text(const struct json *claims, const char *name, size_t max_len);
/* A DID; NULL otherwise. */
const char *claims_did(const struct json *claims, const char *name);

/* `aud` is valid: a string, or an array of 1 to AUDIENCES_MAX strings, each not empty. */
bool claims_audience_is_valid(const struct json *aud);
/* It equals, or it is a list that holds, this text. */
bool claims_audience_has(const struct json *aud, const char *audience);

struct claims_times {
    int64_t issued_at, expires_at;
    int64_t not_before; /* INT64_MIN: no nbf */
};

/* iat and exp (required whole numbers, 0 <= iat < exp) and nbf (a whole number where there is
 * one). */
bool claims_times_decode(const struct json *claims, struct claims_times *ret_times);
/* exp > now; iat and nbf at most TIMESTAMP_LEEWAY_S ahead. */
bool claims_times_hold(const struct claims_times *times, int64_t now);

#endif
