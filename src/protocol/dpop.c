#include "protocol/dpop.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"
#include "crypto/digest.h"
#include "protocol/claims.h"
#include "protocol/protocol_limits.h"

#define URI_MAX_LEN 2048u

static ath_err
refuse(struct why *why, const char *what)
{
    return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the proof %s", what);
}

/* RFC 9449 4.2: b64u of the SHA-256 of the token's ASCII. */
static ath_err
check_token(const struct json *claims, struct ath_slice access_token, struct why *why)
{
    char text[BASE64URL_LEN(SHA256_LEN) + 1];
    const char *ath = json_get_string(claims, "ath");
    uint8_t digest[SHA256_LEN];
    ath_err err;

    if ((err = sha256(access_token, digest)) != ATH_OK)
        return err;
    base64url_encode(ath_slice_of(digest, sizeof(digest)), text);
    return ath != NULL && strcmp(ath, text) == 0 ? ATH_OK : refuse(why, "is for another token");
}

/* htu is compared without query and fragment (RFC 9449 4.3, 9). */
static bool
is_same_uri(const char *htu, const char *uri)
{
    size_t len = strcspn(uri, "?#");

    return strlen(htu) == len && strncmp(htu, uri, len) == 0;
}

static ath_err
check_request(const struct json *claims, const struct dpop_expected *expected, struct why *why)
{
    const char *htm = claims_text(claims, "htm", 64),
               *htu = claims_text(claims, "htu", URI_MAX_LEN);

    if (htm == NULL || htu == NULL)
        return refuse(why, "names no HTTP request");
    if (expected->method != NULL && strcmp(htm, expected->method) != 0)
        return refuse(why, "is for another HTTP method");
    if (expected->uri != NULL && !is_same_uri(htu, expected->uri))
        return refuse(why, "is for another URI");
    return ATH_OK;
}

static ath_err
check_time(const struct json *claims, int64_t now, struct why *why, int64_t *ret_fresh_until)
{
    int64_t issued_at;

    if (!json_get_int(claims, "iat", &issued_at) || issued_at < 0)
        return refuse(why, "has no iat");
    if (issued_at > now + TIMESTAMP_LEEWAY_S || issued_at < now - TIMESTAMP_LEEWAY_S)
        return why_set(why, ATH_ERR_TIMESTAMP_SKEW, "the proof's iat is more than %d s from now",
                       TIMESTAMP_LEEWAY_S);
    *ret_fresh_until = issued_at + TIMESTAMP_LEEWAY_S;
    return ATH_OK;
}

static ath_err
check_key(const struct jws *jws, const char *jkt, struct why *why)
{
    struct public_key *key = NULL;
    ath_err err;

    if (jws_header_key(jws, why, &key) != ATH_OK)
        return refuse(why, "holds no public key in its header");
    if (strcmp(public_key_jkt(key), jkt) != 0)
        err = refuse(why, "is by another key than the token's");
    else
        err = jws_verify_signature(jws, key, why);
    public_key_free(key);
    return err;
}

ath_err
dpop_check(struct ath_slice proof, const struct dpop_expected *expected, struct why *why,
           char **ret_jti, int64_t *ret_fresh_until)
{
    struct jws jws = {0};
    const char *jti;
    ath_err err;

    if ((err = jws_decode(proof, DPOP_TYP, why, &jws)) != ATH_OK)
        return err == ATH_ERR_PARSE ? ATH_ERR_INVALID_CREDENTIAL : err;
    if ((err = check_key(&jws, expected->jkt, why)) != ATH_OK ||
        (err = check_token(jws.claims, expected->access_token, why)) != ATH_OK ||
        (err = check_request(jws.claims, expected, why)) != ATH_OK ||
        (err = check_time(jws.claims, expected->now, why, ret_fresh_until)) != ATH_OK)
        goto out;
    if ((jti = claims_text(jws.claims, "jti", DPOP_JTI_MAX_LEN)) == NULL)
        err = refuse(why, "has no jti");
    else if ((*ret_jti = ath_strdup(jti)) == NULL)
        err = ATH_ERR_NOMEM;
out:
    jws_done(&jws);
    return err;
}
