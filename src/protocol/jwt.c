#include "protocol/jwt.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"

static ath_err
make_claims(const struct access_token *token, struct json **ret_claims)
{
    struct ath_buf scope = {.max = SCOPES_MAX * (SCOPE_MAX_LEN + 1)};
    struct json_maker maker = {0}, cnf = {0};
    ath_err err;

    scope_list_put_joined(&token->scopes, &scope);
    if ((err = scope.err) != ATH_OK)
        goto out;
    json_object_begin(&cnf);
    json_put_string(&cnf, "jkt", token->client_jkt);
    json_object_begin(&maker);
    json_put_string(&maker, "iss", token->server_did);
    json_put_string(&maker, "sub", token->client_did);
    json_put_string(&maker, "aud", token->server_did);
    json_put_string(&maker, "user_did", token->user_did);
    json_put_slice(&maker, "scope", ath_buf_slice(&scope));
    json_put_int(&maker, "iat", token->issued_at);
    json_put_int(&maker, "exp", token->expires_at);
    json_put_string(&maker, "jti", token->jti);
    json_put_maker(&maker, "cnf", &cnf);
    if (token->restrictions != NULL)
        json_put_copy(&maker, "restrictions", token->restrictions);
    json_put_base64url(&maker, "ath_th", ath_slice_of(token->transcript, SHA256_LEN));
    err = json_maker_end(&maker, ret_claims);
out:
    ath_buf_done(&scope);
    return err;
}

ath_err
access_token_signing_input(const struct access_token *token, const struct public_key *server_key,
                           struct ath_buf *out)
{
    struct json *claims = NULL;
    ath_err err;

    if ((err = make_claims(token, &claims)) == ATH_OK)
        err = jws_signing_input(server_key, ACCESS_TOKEN_TYP, false, claims, out);
    json_free(claims);
    return err;
}

/* ---- reading ---- */

static ath_err
refuse(struct why *why, const char *reason)
{
    return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the access token's %s", reason);
}

static ath_err
take_text(const char *text, char **ret_copy)
{
    return (*ret_copy = ath_strdup(text)) != NULL ? ATH_OK : ATH_ERR_NOMEM;
}

static ath_err
read_parties(const struct json *claims, struct why *why, struct access_token *token)
{
    const char *iss = claims_did(claims, "iss"), *aud = json_get_string(claims, "aud");
    const char *sub = claims_did(claims, "sub"), *user = claims_did(claims, "user_did");
    ath_err err;

    if (iss == NULL || sub == NULL || user == NULL)
        return refuse(why, "iss, sub and user_did must be DIDs");
    if (aud == NULL || strcmp(iss, aud) != 0)
        return refuse(why, "iss and aud differ");
    if ((err = take_text(iss, &token->server_did)) != ATH_OK ||
        (err = take_text(sub, &token->client_did)) != ATH_OK)
        return err;
    return take_text(user, &token->user_did);
}

static ath_err
read_scope(const struct json *claims, struct why *why, struct access_token *token)
{
    const char *text = json_get_string(claims, "scope");
    struct why inner = {""};
    ath_err err;

    if (text == NULL)
        return refuse(why, "scope is missing");
    if ((err = scope_list_split(text, &inner, &token->scopes)) == ATH_ERR_PARSE)
        return refuse(why, "scope is no list of scopes joined by single spaces");
    return err;
}

static ath_err
read_restrictions(const struct json *claims, struct why *why, struct access_token *token)
{
    const struct json *restrictions = json_get(claims, "restrictions");

    if (restrictions == NULL)
        return ATH_OK;
    if (!json_is_object(restrictions))
        return refuse(why, "restrictions are no object");
    return (token->restrictions = json_clone(restrictions)) != NULL ? ATH_OK : ATH_ERR_NOMEM;
}

static ath_err
read_bindings(const struct json *claims, struct why *why, struct access_token *token)
{
    const char *jkt = json_get_string(json_get(claims, "cnf"), "jkt");
    const char *transcript = json_get_string(claims, "ath_th");
    const char *jti = claims_text(claims, "jti", JTI_MAX_LEN);

    if (!claims_times_decode(claims, &token->times))
        return refuse(why, "iat, exp or nbf is missing or wrong");
    token->issued_at = token->times.issued_at;
    token->expires_at = token->times.expires_at;
    if (token->expires_at - token->issued_at > TTL_MAX_S)
        return refuse(why, "life is longer than an hour");
    if (jkt == NULL || !base64url_is_alphabet(ath_slice_of_string(jkt), JKT_LEN, JKT_LEN))
        return refuse(why, "cnf.jkt is no thumbprint");
    memcpy(token->client_jkt, jkt, JKT_LEN + 1);
    if (transcript == NULL || base64url_decode_exact(ath_slice_of_string(transcript),
                                                     token->transcript, SHA256_LEN) != ATH_OK)
        return refuse(why, "ath_th is not 32 bytes in base64url");
    if (jti == NULL)
        return refuse(why, "jti is missing or too long");
    return take_text(jti, &token->jti);
}

static ath_err
read_claims(struct jws *jws, struct why *why, struct access_token *ret_token)
{
    struct access_token token = {0};
    ath_err err;

    if ((err = read_parties(jws->claims, why, &token)) != ATH_OK ||
        (err = read_scope(jws->claims, why, &token)) != ATH_OK ||
        (err = read_restrictions(jws->claims, why, &token)) != ATH_OK ||
        (err = read_bindings(jws->claims, why, &token)) != ATH_OK) {
        access_token_done(&token);
        return err;
    }
    token.claims = jws->claims; /* taken */
    jws->claims = NULL;
    *ret_token = token;
    return ATH_OK;
}

ath_err
access_token_read(struct ath_slice text, const struct public_key *server_key, struct why *why,
                  struct access_token *ret_token)
{
    struct jws jws = {0};
    ath_err err;

    if ((err = jws_decode(text, ACCESS_TOKEN_TYP, why, &jws)) != ATH_OK)
        return err == ATH_ERR_PARSE ? ATH_ERR_INVALID_CREDENTIAL : err;
    if ((err = jws_verify(&jws, server_key, why)) == ATH_OK)
        err = read_claims(&jws, why, ret_token);
    jws_done(&jws);
    return err;
}

bool
access_token_is_current(const struct access_token *token, int64_t now)
{
    return claims_times_hold(&token->times, now);
}

void
access_token_done(struct access_token *token)
{
    free(token->server_did);
    free(token->client_did);
    free(token->user_did);
    scope_list_done(&token->scopes);
    free(token->jti);
    json_free(token->restrictions);
    json_free(token->claims);
    *token = (struct access_token){0};
}

ath_err
access_token_claims(const struct access_token *token, struct json **ret_claims)
{
    if (token->claims == NULL)
        return make_claims(token, ret_claims);
    return (*ret_claims = json_clone(token->claims)) != NULL ? ATH_OK : ATH_ERR_NOMEM;
}
