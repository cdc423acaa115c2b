#include "protocol/audit_key.h"

static const struct json_limits jwk_limits = {AUDIT_KEY_MAX_LEN, 4, 16, JSON_INTEGERS};

void
audit_key_put_file(const struct public_key *key, struct ath_buf *out)
{
    struct json *jwk = NULL;
    ath_err err = public_key_jwk(key, &jwk);

    if (err == ATH_OK)
        json_canonical(jwk, out);
    else if (out->err == ATH_OK)
        out->err = err;
    ath_buf_put_byte(out, '\n');
    json_free(jwk);
}

static bool
is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static ath_err
decode_jwk(struct ath_slice text, struct why *why, struct public_key **ret_key)
{
    struct json *jwk = NULL;
    ath_err err = json_parse(text, &jwk_limits, why, &jwk);

    if (err == ATH_OK)
        err = public_key_from_jwk(jwk, why, ret_key);
    json_free(jwk);
    return err;
}

ath_err
audit_key_decode(struct ath_slice text, struct why *why, struct public_key **ret_key)
{
    struct public_key *key = NULL;
    ath_err err;

    while (text.len != 0 && is_space(text.data[text.len - 1]))
        text.len--;
    while (text.len != 0 && is_space(text.data[0]))
        text = ath_slice_of(text.data + 1, text.len - 1);
    if (text.len != 0 && text.data[0] == '{')
        err = decode_jwk(text, why, &key);
    else
        err = public_key_from_pem(text, why, &key);
    if (err == ATH_OK && public_key_algorithm(key) != KEY_ES256) {
        public_key_free(key);
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "an audit key is of P-256 (ES256)");
    }
    if (err == ATH_OK)
        *ret_key = key;
    return err;
}
