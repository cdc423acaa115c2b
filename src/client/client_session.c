/* Attestations, sessions and tokens, typed. */
#include "client/client_private.h"

#include "base/base64url.h"

/* Calls; the result's `name` becomes *ret_text, and expires_at *ret_expires_at (may be NULL). */
static ath_err
call_for_text(struct ath_client *client, const char *method, struct json_maker *params,
              const char *name, char **ret_text, int64_t *ret_expires_at)
{
    struct json *result = NULL;
    int64_t expires_at = 0;
    ath_err err;

    if ((err = client_call(client, method, params, &result)) != ATH_OK)
        goto out;
    if (ret_expires_at != NULL && !json_get_int(result, "expires_at", &expires_at)) {
        err = client_fail(client, ATH_ERR_INTERNAL, NULL, "athd's answer lacks expires_at");
        goto out;
    }
    if ((err = client_take_string(client, result, name, ret_text)) != ATH_OK)
        goto out;
    if (ret_expires_at != NULL)
        *ret_expires_at = expires_at;
out:
    json_free(result);
    return err;
}

ath_err
ath_attestation_create(struct ath_client *client, const char *key, const char *audience, int ttl_s,
                       char **ret_jwt, int64_t *ret_expires_at)
{
    struct json_maker params;

    json_object_begin(&params);
    json_put_string(&params, "key", key);
    json_put_string(&params, "audience", audience);
    if (ttl_s != 0)
        json_put_int(&params, "ttl", ttl_s);
    return call_for_text(client, "attestation.create", &params, "jwt", ret_jwt, ret_expires_at);
}

/* A number of a result; absent: `without`. number may be NULL. */
static void
take_number(const struct json *result, const char *name, int64_t without, int64_t *ret_number)
{
    if (ret_number != NULL && !json_get_int(result, name, ret_number))
        *ret_number = without;
}

ath_err
ath_session_seal(struct ath_client *client, const char *session, const void *plaintext, size_t len,
                 int64_t re, char **ret_jwe, int64_t *ret_seq)
{
    struct json_maker params;
    struct json *result = NULL;
    ath_err err;

    json_object_begin(&params);
    json_put_string(&params, "session", session);
    json_put_base64url(&params, "plaintext", ath_slice_of(plaintext, len));
    if (re >= 0)
        json_put_int(&params, "re", re);
    if ((err = client_call(client, "session.seal", &params, &result)) != ATH_OK)
        return err;
    err = client_take_string(client, result, "jwe", ret_jwe);
    if (err == ATH_OK)
        take_number(result, "seq", 0, ret_seq);
    json_free(result);
    return err;
}

/* The member `plaintext` as bytes on the heap. */
static ath_err
take_plaintext(struct ath_client *client, const struct json *result, void **ret_plaintext,
               size_t *ret_len)
{
    struct ath_buf plaintext = {.max = 65536};
    const char *text = json_get_string(result, "plaintext");
    char *copy;
    ath_err err = ATH_OK;

    if (text == NULL || base64url_decode(ath_slice_of_string(text), &plaintext) != ATH_OK) {
        err = client_fail(client, ATH_ERR_INTERNAL, NULL, "athd's plaintext is not base64url");
        goto out;
    }
    if ((copy = ath_slice_dup(ath_buf_slice(&plaintext))) == NULL) {
        err = client_fail(client, ATH_ERR_NOMEM, NULL, NULL);
        goto out;
    }
    *ret_plaintext = copy;
    *ret_len = plaintext.len;
out:
    ath_buf_done(&plaintext);
    return err;
}

ath_err
ath_session_open(struct ath_client *client, const char *session, const char *jwe,
                 void **ret_plaintext, size_t *ret_len, int64_t *ret_seq, int64_t *ret_re)
{
    struct json_maker params;
    struct json *result = NULL;
    ath_err err;

    json_object_begin(&params);
    json_put_string(&params, "session", session);
    json_put_string(&params, "jwe", jwe);
    if ((err = client_call(client, "session.open", &params, &result)) != ATH_OK)
        return err;
    err = take_plaintext(client, result, ret_plaintext, ret_len);
    if (err == ATH_OK) {
        take_number(result, "seq", 0, ret_seq);
        take_number(result, "re", -1, ret_re);
    }
    json_free(result);
    return err;
}

ath_err
ath_session_token(struct ath_client *client, const char *session, char **ret_token,
                  int64_t *ret_expires_at)
{
    struct json_maker params;

    json_object_begin(&params);
    json_put_string(&params, "session", session);
    return call_for_text(client, "session.token", &params, "access_token", ret_token,
                         ret_expires_at);
}

ath_err
ath_session_close(struct ath_client *client, const char *session)
{
    struct json_maker params;

    json_object_begin(&params);
    json_put_string(&params, "session", session);
    return client_call(client, "session.close", &params, NULL);
}

ath_err
ath_token_verify(struct ath_client *client, const char *service, const char *token,
                 const char *scope, const char *session, const char *proof, char **ret_claims)
{
    struct json_maker params;
    struct json *result = NULL;
    ath_err err;

    json_object_begin(&params);
    json_put_string(&params, "service", service);
    json_put_string(&params, "token", token);
    json_put_string(&params, "scope", scope);
    json_put_string(&params, "session", session);
    json_put_string(&params, "proof", session == NULL ? proof : NULL);
    if ((err = client_call(client, "token.verify", &params, &result)) != ATH_OK)
        return err;
    if (!json_is_object(json_get(result, "claims")))
        err = client_fail(client, ATH_ERR_INTERNAL, NULL, "athd's answer lacks claims");
    else if ((*ret_claims = client_json_text(json_get(result, "claims"))) == NULL)
        err = client_fail(client, ATH_ERR_NOMEM, NULL, NULL);
    json_free(result);
    return err;
}
