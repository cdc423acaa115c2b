#include "protocol/attestation.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/claims.h"
#include "protocol/origin.h"

/* Where the path or query begins. */
static size_t
origin_len(const char *agent_id)
{
    const char *host = strstr(agent_id, "://");

    return host != NULL ? (size_t)(host + 3 - agent_id) + strcspn(host + 3, "/?") : 0;
}

bool
agent_id_is_valid(const char *agent_id)
{
    char origin[AGENT_ID_MAX_LEN + 1];
    size_t len;

    if (agent_id == NULL || strnlen(agent_id, AGENT_ID_MAX_LEN + 1) > AGENT_ID_MAX_LEN)
        return false;
    /* RFC 3986 2: what may not stand in a URI, and the '#' of a fragment */
    for (const char *c = agent_id; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || strchr("\"#<>\\^`{|}", *c) != NULL)
            return false;
    len = origin_len(agent_id);
    memcpy(origin, agent_id, len);
    origin[len] = '\0';
    return len > 0 && origin_is_valid(origin);
}

void
agent_id_origin(const char *agent_id, struct ath_buf *out)
{
    ath_buf_put(out, agent_id, origin_len(agent_id));
}

/* ---- writing ---- */

static bool
params_are_valid(const struct attestation_params *params)
{
    if (!agent_id_is_valid(params->agent_id) || params->audience_count == 0 ||
        params->audience_count > AUDIENCES_MAX || params->ttl < 1 ||
        params->ttl > ATTESTATION_TTL_MAX_S || params->jti == NULL)
        return false;
    for (size_t i = 0; i < params->audience_count; i++)
        if (params->audiences[i] == NULL || params->audiences[i][0] == '\0')
            return false;
    if (params->capabilities == NULL)
        return true;
    for (const struct json *c = json_first(params->capabilities); c != NULL; c = json_next(c))
        if (json_string(c) == NULL)
            return false;
    return json_is_array(params->capabilities);
}

static void
put_audiences(struct json_maker *claims, const struct attestation_params *params)
{
    struct json_maker array = {0};

    if (params->audience_count == 1 && !params->audience_is_array) {
        json_put_string(claims, "aud", params->audiences[0]);
        return;
    }
    json_array_begin(&array);
    for (size_t i = 0; i < params->audience_count; i++)
        json_put_string(&array, NULL, params->audiences[i]);
    json_put_maker(claims, "aud", &array);
}

static ath_err
make_claims(const struct attestation_params *params, struct json **ret_claims)
{
    struct ath_buf issuer = {.max = AGENT_ID_MAX_LEN};
    struct json_maker maker = {0};
    ath_err err;

    if (params->issuer_is_origin)
        agent_id_origin(params->agent_id, &issuer);
    else
        ath_buf_put_string(&issuer, params->agent_id);
    if ((err = issuer.err) != ATH_OK)
        goto out;
    json_object_begin(&maker);
    json_put_slice(&maker, "iss", ath_buf_slice(&issuer));
    json_put_string(&maker, "sub", params->agent_id);
    put_audiences(&maker, params);
    json_put_int(&maker, "iat", params->issued_at);
    json_put_int(&maker, "exp", params->issued_at + params->ttl);
    json_put_string(&maker, "jti", params->jti);
    if (params->capabilities != NULL)
        json_put_copy(&maker, "capabilities", params->capabilities);
    if (params->log != NULL)
        json_put_copy(&maker, "ath_log", params->log);
    err = json_maker_end(&maker, ret_claims);
out:
    ath_buf_done(&issuer);
    return err;
}

ath_err
attestation_signing_input(const struct attestation_params *params, const struct public_key *key,
                          struct ath_buf *out)
{
    struct json *claims = NULL;
    ath_err err;

    if (!params_are_valid(params))
        return ATH_ERR_INVALID_PARAMS;
    if ((err = make_claims(params, &claims)) == ATH_OK)
        err = jws_signing_input(key, ATTESTATION_TYP, false, claims, out);
    json_free(claims);
    return err;
}

/* ---- verifying ---- */

static ath_err
refuse(struct why *why, const char *reason)
{
    return why_set(why, ATH_ERR_INVALID_ATTESTATION, "the attestation's %s", reason);
}

/* An attestation's iss and sub are URIs and never DIDs, so that no other token of the same key can
 * stand for one, even where a verifier forgets typ (profile section 2). */
static ath_err
check_subject(const struct json *claims, const char *agent_id, struct why *why)
{
    const char *iss = json_get_string(claims, "iss"), *sub = json_get_string(claims, "sub");

    if (!agent_id_is_valid(sub))
        return refuse(why, "sub is no agent_id (an https URI)");
    if (agent_id != NULL && strcmp(sub, agent_id) != 0)
        return refuse(why, "sub is another agent_id");
    if (iss == NULL || (strcmp(iss, sub) != 0 && (strlen(iss) != origin_len(sub) ||
                                                  strncmp(iss, sub, origin_len(sub)) != 0)))
        return refuse(why, "iss is neither sub nor its origin");
    return ATH_OK;
}

static ath_err
check_audience(const struct json *claims, const char *audience, struct why *why)
{
    const struct json *aud = json_get(claims, "aud");

    if (!claims_audience_is_valid(aud))
        return refuse(why, "aud must be a string or a list of 1 to 16");
    if (!claims_audience_has(aud, audience))
        return refuse(why, "aud does not name this verifier");
    return ATH_OK;
}

static ath_err
check_times(const struct json *claims, int64_t now, struct why *why,
            struct attestation *attestation)
{
    struct claims_times times;

    if (!claims_times_decode(claims, &times))
        return refuse(why, "iat or exp is missing or wrong");
    if (times.expires_at <= now)
        return refuse(why, "time is over");
    if (times.issued_at > now + TIMESTAMP_LEEWAY_S || times.issued_at < now - TIMESTAMP_LEEWAY_S)
        return why_set(why, ATH_ERR_TIMESTAMP_SKEW,
                       "the attestation's iat is not within %d s of now", TIMESTAMP_LEEWAY_S);
    if (!claims_times_hold(&times, now))
        return refuse(why, "nbf lies too far ahead");
    attestation->expires_at = times.expires_at;
    attestation->fresh_until = times.issued_at + TIMESTAMP_LEEWAY_S;
    if (attestation->fresh_until > times.expires_at)
        attestation->fresh_until = times.expires_at;
    return ATH_OK;
}

static ath_err
check_claims(const struct json *claims, const char *audience, const char *agent_id, int64_t now,
             struct why *why, struct attestation *attestation)
{
    const char *jti = claims_text(claims, "jti", JTI_MAX_LEN);
    ath_err err;

    if ((err = check_subject(claims, agent_id, why)) != ATH_OK ||
        (err = check_audience(claims, audience, why)) != ATH_OK ||
        (err = check_times(claims, now, why, attestation)) != ATH_OK)
        return err;
    if (jti == NULL)
        return refuse(why, "jti is missing or too long");
    return (attestation->jti = ath_strdup(jti)) != NULL ? ATH_OK : ATH_ERR_NOMEM;
}

/* Official clients leave typ out; any other typ is another kind of token. */
static bool
has_attestation_typ(const struct json *header)
{
    const struct json *typ = json_get(header, "typ");

    return typ == NULL ||
           (json_string(typ) != NULL && strcmp(json_string(typ), ATTESTATION_TYP) == 0);
}

ath_err
attestation_verify(struct ath_slice jwt, const struct public_key *key, const char *audience,
                   const char *agent_id, int64_t now, struct why *why,
                   struct attestation *ret_attestation)
{
    struct attestation attestation = {0};
    struct jws jws = {0};
    ath_err err;

    if ((err = jws_decode(jwt, NULL, why, &jws)) != ATH_OK)
        return err == ATH_ERR_PARSE ? ATH_ERR_INVALID_ATTESTATION : err;
    if (!has_attestation_typ(jws.header)) {
        err = refuse(why, "typ is not JWT");
        goto out;
    }
    if ((err = jws_verify_signature(&jws, key, why)) != ATH_OK ||
        (err = check_claims(jws.claims, audience, agent_id, now, why, &attestation)) != ATH_OK)
        goto out;
    memcpy(attestation.kid, public_key_jkt(key), JKT_LEN + 1);
    attestation.claims = jws.claims; /* taken */
    jws.claims = NULL;
    *ret_attestation = attestation;
    attestation = (struct attestation){0};
out:
    attestation_done(&attestation);
    jws_done(&jws);
    return err;
}

void
attestation_done(struct attestation *attestation)
{
    json_free(attestation->claims);
    free(attestation->jti);
    *attestation = (struct attestation){0};
}
