#include "protocol/jws.h"

#include <string.h>

#include "base/base64url.h"

static const struct json_limits limits = {MESSAGE_MAX_LEN, MESSAGE_MAX_DEPTH, MESSAGE_MAX_MEMBERS,
                                          JSON_INTEGERS};

static ath_err
make_header(const struct public_key *key, const char *typ, bool with_jwk, struct json **ret_header)
{
    struct json_maker maker = {0};
    struct json *jwk = NULL;

    json_object_begin(&maker);
    json_put_string(&maker, "alg", key_algorithm_name(public_key_algorithm(key)));
    json_put_string(&maker, "typ", typ);
    json_put_string(&maker, "kid", public_key_jkt(key));
    if (with_jwk) {
        ath_err err = public_key_jwk(key, &jwk);

        if (err != ATH_OK) {
            json_maker_done(&maker);
            return err;
        }
        json_put_take(&maker, "jwk", jwk);
    }
    return json_maker_end(&maker, ret_header);
}

static ath_err
put_segment(const struct json *json, struct ath_buf *out)
{
    struct ath_buf text = {.max = MESSAGE_MAX_LEN};
    ath_err err;

    json_write(json, &text);
    if ((err = text.err) == ATH_OK) {
        base64url_put(out, ath_buf_slice(&text));
        err = out->err;
    }
    ath_buf_done(&text);
    return err;
}

ath_err
jws_signing_input(const struct public_key *key, const char *typ, bool with_jwk,
                  const struct json *claims, struct ath_buf *out)
{
    struct json *header = NULL;
    ath_err err;

    if ((err = make_header(key, typ, with_jwk, &header)) != ATH_OK ||
        (err = put_segment(header, out)) != ATH_OK)
        goto out;
    ath_buf_put_byte(out, '.');
    err = put_segment(claims, out);
out:
    json_free(header);
    return err;
}

void
jws_join(struct ath_slice signing_input, struct ath_slice signature, struct ath_buf *out)
{
    ath_buf_put_slice(out, signing_input);
    ath_buf_put_byte(out, '.');
    base64url_put(out, signature);
}

/* ---- reading ---- */

struct segments {
    struct ath_slice header, claims, signature, signing_input;
};

static bool
split(struct ath_slice text, struct segments *ret)
{
    const uint8_t *first, *second, *end;

    if (text.len == 0 || text.len > JWS_MAX_LEN ||
        (first = memchr(text.data, '.', text.len)) == NULL)
        return false;
    end = text.data + text.len;
    if ((second = memchr(first + 1, '.', (size_t)(end - first - 1))) == NULL ||
        memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
        return false;
    ret->header = ath_slice_of(text.data, (size_t)(first - text.data));
    ret->claims = ath_slice_of(first + 1, (size_t)(second - first - 1));
    ret->signature = ath_slice_of(second + 1, (size_t)(end - second - 1));
    ret->signing_input = ath_slice_of(text.data, (size_t)(second - text.data));
    return true;
}

static ath_err
parse_object(struct ath_slice text, struct why *why, struct json **ret_object)
{
    struct json *object = NULL;
    ath_err err;

    if (ret_object == NULL)
        return json_check_object(text, &limits, why);
    if ((err = json_parse(text, &limits, why, &object)) != ATH_OK)
        return err;
    if (!json_is_object(object)) {
        json_free(object);
        return ATH_ERR_PARSE;
    }
    *ret_object = object;
    return ATH_OK;
}

ath_err
jws_decode_object(struct ath_slice segment, const char *what, struct why *why,
                  struct json **ret_object)
{
    struct ath_buf text = {.max = MESSAGE_MAX_LEN};
    struct why inner = {""};
    ath_err err;

    if ((err = base64url_decode(segment, &text)) == ATH_OK)
        err = parse_object(ath_buf_slice(&text), &inner, ret_object);
    ath_buf_done(&text);
    if (err == ATH_OK || err == ATH_ERR_NOMEM)
        return err;
    return why_set(why, ATH_ERR_PARSE, "the token's %s is no strict JSON object in base64url%s%s",
                   what, inner.text[0] != '\0' ? ": " : "", inner.text);
}

ath_err
jws_check_header(const struct json *header, const char *typ, struct why *why,
                 enum key_algorithm *ret_algorithm)
{
    static const char *const refused[] = {"crit", "b64", "zip", "jku", "x5u", "x5c"};
    const char *its_typ = json_get_string(header, "typ");

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (json_get(header, refused[i]) != NULL)
            return why_set(why, ATH_ERR_PARSE, "the token's header has \"%s\"", refused[i]);
    if (!key_algorithm_parse(json_get_string(header, "alg"), ret_algorithm))
        return why_set(why, ATH_ERR_PARSE, "the token's alg is none of ES256, ES384, EdDSA");
    if (typ != NULL && (its_typ == NULL || strcmp(its_typ, typ) != 0))
        return why_set(why, ATH_ERR_PARSE, "the token's typ is not %s", typ);
    return ATH_OK;
}

static ath_err
decode_signature(struct ath_slice segment, struct jws *jws, struct why *why)
{
    jws->signature_len = key_algorithm_signature_len(jws->algorithm);
    if (base64url_decode_exact(segment, jws->signature, jws->signature_len) != ATH_OK)
        return why_set(why, ATH_ERR_PARSE, "the token's signature is not %zu bytes in base64url",
                       jws->signature_len);
    return ATH_OK;
}

ath_err
jws_decode(struct ath_slice text, const char *typ, struct why *why, struct jws *ret_jws)
{
    struct segments segments;
    struct jws jws = {0};
    ath_err err;

    if (!split(text, &segments))
        return why_set(why, ATH_ERR_PARSE, "a token has three segments and at most %u bytes",
                       JWS_MAX_LEN);
    jws.signing_input = segments.signing_input;
    if ((err = jws_decode_object(segments.header, "header", why, &jws.header)) != ATH_OK ||
        (err = jws_check_header(jws.header, typ, why, &jws.algorithm)) != ATH_OK ||
        (err = jws_decode_object(segments.claims, "claims", why, &jws.claims)) != ATH_OK ||
        (err = decode_signature(segments.signature, &jws, why)) != ATH_OK)
        goto out;
    *ret_jws = jws;
    jws = (struct jws){0};
out:
    jws_done(&jws);
    return err;
}

void
jws_done(struct jws *jws)
{
    json_free(jws->claims);
    json_free(jws->header);
    *jws = (struct jws){0};
}

ath_err
jws_verify_signature(const struct jws *jws, const struct public_key *key, struct why *why)
{
    ath_err err;

    if (jws->algorithm != public_key_algorithm(key))
        return why_set(why, ATH_ERR_INVALID_SIGNATURE, "the token's alg is not the key's");
    err = public_key_verify(key, jws->signing_input,
                            ath_slice_of(jws->signature, jws->signature_len));
    return err == ATH_ERR_INVALID_SIGNATURE
               ? why_set(why, err, "the token's signature does not hold under the key")
               : err;
}

ath_err
jws_verify(const struct jws *jws, const struct public_key *key, struct why *why)
{
    const char *kid = json_get_string(jws->header, "kid");

    if (kid == NULL || strcmp(kid, public_key_jkt(key)) != 0)
        return why_set(why, ATH_ERR_INVALID_SIGNATURE,
                       "the token's kid is not the key's thumbprint");
    return jws_verify_signature(jws, key, why);
}

ath_err
jws_header_key(const struct jws *jws, struct why *why, struct public_key **ret_key)
{
    const struct json *jwk = json_get(jws->header, "jwk");

    if (jwk == NULL)
        return why_set(why, ATH_ERR_NOT_FOUND, "the token's header has no jwk");
    return public_key_from_jwk(jwk, why, ret_key);
}
