#include "protocol/user_grant.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/claims.h"
#include "protocol/handshake_transcript.h"

static void
put_audiences(struct json_maker *claims, const struct user_grant *grant)
{
    struct json_maker array = {0};

    if (grant->audiences == NULL)
        return;
    if (grant->audience_count == 1) {
        json_put_string(claims, "aud", grant->audiences[0]);
        return;
    }
    json_array_begin(&array);
    for (size_t i = 0; i < grant->audience_count; i++)
        json_put_string(&array, NULL, grant->audiences[i]);
    json_put_maker(claims, "aud", &array);
}

ath_err
user_grant_signing_input(const struct user_grant *grant, struct ath_buf *out)
{
    struct json *scopes = NULL, *claims = NULL;
    struct json_maker maker = {0};
    ath_err err;

    if ((err = scope_list_encode(&grant->scopes, &scopes)) != ATH_OK)
        return err;
    json_object_begin(&maker);
    json_put_string(&maker, "iss", grant->user_did);
    json_put_string(&maker, "user_did", grant->user_did);
    json_put_string(&maker, "sub", grant->client_did);
    json_put_string(&maker, "client_did", grant->client_did);
    put_audiences(&maker, grant);
    json_put_take(&maker, "scopes", scopes);
    json_put_int(&maker, "iat", grant->issued_at);
    json_put_int(&maker, "exp", grant->expires_at);
    json_put_int(&maker, "expires_at", grant->expires_at);
    json_put_string(&maker, "jti", grant->jti);
    if ((err = json_maker_end(&maker, &claims)) == ATH_OK)
        err = jws_signing_input(grant->user_key, USER_GRANT_TYP, true, claims, out);
    json_free(claims);
    return err;
}

/* ---- reading: what both forms have ---- */

static ath_err
refuse(struct why *why, const char *reason)
{
    return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the grant's %s", reason);
}

static ath_err
add_audience(struct user_grant *grant, const char *did, struct why *why)
{
    if (!did_is_valid(did))
        return refuse(why, "aud must be a DID or a list of 1 to 16");
    if ((grant->audiences[grant->audience_count] = ath_strdup(did)) == NULL)
        return ATH_ERR_NOMEM;
    grant->audience_count++;
    return ATH_OK;
}

/* An empty string or array, null or another type is refused, and not taken for "any server". */
static ath_err
read_audiences(const struct json *object, struct user_grant *grant, struct why *why)
{
    const struct json *aud = json_get(object, "aud");
    size_t count = json_is_array(aud) ? json_count(aud) : 1;
    ath_err err = ATH_OK;

    if (aud == NULL)
        return ATH_OK;
    if (count == 0 || count > AUDIENCES_MAX)
        return refuse(why, "aud must be a DID or a list of 1 to 16");
    if ((grant->audiences = calloc(count, sizeof(*grant->audiences))) == NULL)
        return ATH_ERR_NOMEM;
    if (!json_is_array(aud))
        return add_audience(grant, json_string(aud), why);
    for (const struct json *entry = json_first(aud); err == ATH_OK && entry != NULL;
         entry = json_next(entry))
        err = add_audience(grant, json_string(entry), why);
    return err;
}

static bool
is_absent_or(const struct json *object, const char *name, const char *expected, bool may_be_absent)
{
    const char *text = json_get_string(object, name);

    if (json_get(object, name) == NULL)
        return may_be_absent;
    return text != NULL && strcmp(text, expected) == 0;
}

/* The object form names the parties once; what it says twice must agree there too. */
static ath_err
read_parties(const struct json *object, bool is_jws, struct user_grant *grant, struct why *why)
{
    const char *user = claims_did(object, "user_did"), *client = claims_did(object, "client_did");

    if (user == NULL || client == NULL)
        return refuse(why, "user_did and client_did must be DIDs");
    if (!is_absent_or(object, "iss", user, !is_jws))
        return refuse(why, "iss is not its user_did");
    if (!is_absent_or(object, "sub", client, !is_jws))
        return refuse(why, "sub is not its client_did");
    grant->user_did = ath_strdup(user);
    grant->client_did = ath_strdup(client);
    return grant->user_did != NULL && grant->client_did != NULL ? ATH_OK : ATH_ERR_NOMEM;
}

static bool
read_times(const struct json *object, bool is_jws, struct claims_times *times)
{
    int64_t expires_at = 0, exp = 0;

    *times = (struct claims_times){.not_before = INT64_MIN};
    if (!json_get_int(object, "expires_at", &expires_at))
        return false;
    if (is_jws || json_get(object, "iat") != NULL)
        if (!json_get_int(object, "iat", &times->issued_at))
            return false;
    if (is_jws || json_get(object, "exp") != NULL)
        if (!json_get_int(object, "exp", &exp) || exp != expires_at)
            return false;
    if (json_get(object, "nbf") != NULL && !json_get_int(object, "nbf", &times->not_before))
        return false;
    times->expires_at = expires_at;
    return times->issued_at >= 0 && times->issued_at < expires_at;
}

static ath_err
check_times(const struct json *object, bool is_jws, int64_t now, struct user_grant *grant,
            struct why *why)
{
    struct claims_times times;

    if (!read_times(object, is_jws, &times))
        return refuse(why, "iat, exp and expires_at are missing or do not agree");
    if (times.expires_at <= now)
        return refuse(why, "time is over");
    if (!claims_times_hold(&times, now))
        return refuse(why, "iat or nbf lies too far ahead");
    grant->issued_at = times.issued_at;
    grant->expires_at = times.expires_at;
    return ATH_OK;
}

static ath_err
read_jti(const struct json *object, bool is_jws, struct user_grant *grant, struct why *why)
{
    const char *jti = claims_text(object, "jti", JTI_MAX_LEN);

    if (jti == NULL)
        return is_jws || json_get(object, "jti") != NULL ? refuse(why, "jti is missing or too long")
                                                         : ATH_OK;
    return (grant->jti = ath_strdup(jti)) != NULL ? ATH_OK : ATH_ERR_NOMEM;
}

static ath_err
read_common(const struct json *object, bool is_jws, int64_t now, struct user_grant *grant,
            struct why *why)
{
    ath_err err;

    if ((err = read_parties(object, is_jws, grant, why)) != ATH_OK ||
        (err = read_audiences(object, grant, why)) != ATH_OK ||
        (err = scope_list_decode(json_get(object, "scopes"), 1, why, &grant->scopes)) != ATH_OK ||
        (err = check_times(object, is_jws, now, grant, why)) != ATH_OK)
        return err;
    return read_jti(object, is_jws, grant, why);
}

/* ---- the JWS form ---- */

static ath_err
read_jws(const char *text, const struct did_pins *pins, int64_t now, struct user_grant *grant,
         struct why *why)
{
    struct jws jws = {0};
    ath_err err;

    if ((err = jws_decode(ath_slice_of_string(text), USER_GRANT_TYP, why, &jws)) != ATH_OK ||
        (err = jws_header_key(&jws, why, &grant->user_key)) != ATH_OK ||
        (err = jws_verify(&jws, grant->user_key, why)) != ATH_OK ||
        (err = read_common(jws.claims, true, now, grant, why)) != ATH_OK)
        goto out;
    err = did_check(grant->user_did, DID_USER, grant->user_key, pins, why);
out:
    jws_done(&jws);
    return err;
}

/* ---- the object form ---- */

static ath_err
read_object_key(const struct json *object, const struct did_pins *pins, struct user_grant *grant,
                struct why *why)
{
    const struct json *member = json_get(object, "user_pubkey");
    const char *pem = json_string(member);

    if (member != NULL && pem == NULL)
        return refuse(why, "user_pubkey is no string");
    if (pem != NULL)
        return public_key_from_pem(ath_slice_of_string(pem), why, &grant->user_key);
    grant->user_key = did_resolve(grant->user_did, pins);
    return grant->user_key != NULL
               ? ATH_OK
               : refuse(why, "user_pubkey is missing, and its user_did has no key by itself");
}

static ath_err
verify_object(const struct json *object, const struct public_key *key, struct why *why)
{
    const char *signature = json_get_string(object, "signature");
    uint8_t t0[SHA256_LEN];
    struct json *body;
    ath_err err;

    if (signature == NULL)
        return refuse(why, "signature is missing");
    if ((body = json_clone(object)) == NULL)
        return ATH_ERR_NOMEM;
    json_remove(body, "signature");
    transcript_start(t0);
    err = handshake_signature_verify(key, USER_GRANT_LABEL, t0, body, signature, false);
    json_free(body);
    return err == ATH_ERR_INVALID_SIGNATURE ? refuse(why, "signature does not hold") : err;
}

static ath_err
read_object(const struct json *object, const struct did_pins *pins, int64_t now,
            struct user_grant *grant, struct why *why)
{
    ath_err err;

    if ((err = read_common(object, false, now, grant, why)) != ATH_OK ||
        (err = read_object_key(object, pins, grant, why)) != ATH_OK ||
        (err = did_check(grant->user_did, DID_USER, grant->user_key, pins, why)) != ATH_OK)
        return err;
    return verify_object(object, grant->user_key, why);
}

/* What a deeper decoder refused is the grant's fault; what went wrong here is not. */
static ath_err
as_refusal(ath_err err)
{
    return err == ATH_OK || err == ATH_ERR_NOMEM || err == ATH_ERR_CRYPTO
               ? err
               : ATH_ERR_INVALID_CREDENTIAL;
}

ath_err
user_grant_read(const struct json *credential, const struct did_pins *pins, int64_t now,
                struct why *why, struct user_grant *ret_grant)
{
    const char *text = json_string(credential);
    struct user_grant grant = {0};
    ath_err err;

    if (text != NULL)
        err = read_jws(text, pins, now, &grant, why);
    else if (json_is_object(credential))
        err = read_object(credential, pins, now, &grant, why);
    else
        err = refuse(why, "form is neither a token nor an object");
    if (err != ATH_OK) {
        user_grant_done(&grant);
        return as_refusal(err);
    }
    *ret_grant = grant;
    return ATH_OK;
}

/* ---- whom it is for ---- */

static bool
has_audience(const struct user_grant *grant, const char *server_did)
{
    for (size_t i = 0; i < grant->audience_count; i++)
        if (strcmp(grant->audiences[i], server_did) == 0)
            return true;
    return grant->audiences == NULL;
}

ath_err
user_grant_check(const struct user_grant *grant, const char *client_did, const char *server_did,
                 struct why *why)
{
    if (strcmp(grant->client_did, client_did) != 0)
        return refuse(why, "client is another one");
    if (server_did != NULL && !has_audience(grant, server_did))
        return refuse(why, "aud does not name this server");
    return ATH_OK;
}

bool
user_grant_is_for(const struct user_grant *grant, const char *client_did, const char *server_did)
{
    return user_grant_check(grant, client_did, server_did, NULL) == ATH_OK;
}

void
user_grant_done(struct user_grant *grant)
{
    free(grant->user_did);
    free(grant->client_did);
    for (size_t i = 0; i < grant->audience_count; i++)
        free(grant->audiences[i]);
    free(grant->audiences);
    scope_list_done(&grant->scopes);
    free(grant->jti);
    public_key_free(grant->user_key);
    *grant = (struct user_grant){0};
}
