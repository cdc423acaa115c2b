#include "athd/key_export.h"

#include <string.h>

#include "base/bytes.h"
#include "protocol/attestation.h"

static ath_err
string_json(struct ath_slice text, struct json **ret_json)
{
    *ret_json = json_string_new(text);
    return *ret_json == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

static ath_err
export_jwk(const struct key *key, struct json **ret_data)
{
    struct json_maker jwk = {0};
    ath_err err;

    if ((err = public_key_jwk(key->public_key, &jwk.root)) != ATH_OK)
        return err;
    json_put_string(&jwk, "kid", public_key_jkt(key->public_key));
    json_put_string(&jwk, "alg", key_algorithm_name(public_key_algorithm(key->public_key)));
    json_put_string(&jwk, "use", "sig");
    return json_maker_end(&jwk, ret_data);
}

/* The SEC1 point (or Ed25519 key) at the end of the three permitted DER forms. */
static struct ath_slice
point_of(const struct public_key *key)
{
    struct ath_slice der = public_key_der(key);
    size_t len = public_key_algorithm(key) == KEY_ES256   ? 65
                 : public_key_algorithm(key) == KEY_ES384 ? 97
                                                          : 32;

    return ath_slice_of(der.data + der.len - len, len);
}

static void
put_base64(struct ath_buf *out, struct ath_slice bytes)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t v = (uint32_t)bytes.data[i] << 16;

        v |= n > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        v |= n > 2 ? bytes.data[i + 2] : 0;
        ath_buf_put_byte(out, (uint8_t)alphabet[v >> 18]);
        ath_buf_put_byte(out, (uint8_t)alphabet[v >> 12 & 63]);
        ath_buf_put_byte(out, n > 1 ? (uint8_t)alphabet[v >> 6 & 63] : (uint8_t)'=');
        ath_buf_put_byte(out, n > 2 ? (uint8_t)alphabet[v & 63] : (uint8_t)'=');
    }
}

static ath_err
export_ssh(const struct key *key, struct json **ret_data)
{
    enum key_algorithm algorithm = public_key_algorithm(key->public_key);
    const char *curve = algorithm == KEY_ES256 ? "nistp256" : "nistp384";
    struct ath_buf type = {.max = 64}, blob = {.max = 256}, line = {.max = 512};
    ath_err err;

    if (algorithm == KEY_EDDSA)
        ath_buf_put_string(&type, "ssh-ed25519");
    else
        ath_buf_printf(&type, "ecdsa-sha2-%s", curve);
    bytes_put_field(&blob, ath_buf_slice(&type));
    if (algorithm != KEY_EDDSA)
        bytes_put_field(&blob, ath_slice_of_string(curve));
    bytes_put_field(&blob, point_of(key->public_key));
    ath_buf_put_slice(&line, ath_buf_slice(&type));
    ath_buf_put_byte(&line, ' ');
    put_base64(&line, ath_buf_slice(&blob));
    ath_buf_printf(&line, " %s", key->name);
    err = type.err != ATH_OK ? type.err : blob.err != ATH_OK ? blob.err : line.err;
    if (err == ATH_OK)
        err = string_json(ath_buf_slice(&line), ret_data);
    ath_buf_done(&line);
    ath_buf_done(&blob);
    ath_buf_done(&type);
    return err;
}

static ath_err
export_pem(const struct key *key, struct json **ret_data)
{
    struct ath_buf pem = {.max = 1024};
    ath_err err;

    public_key_put_pem(key->public_key, &pem);
    if ((err = pem.err) == ATH_OK)
        err = string_json(ath_buf_slice(&pem), ret_data);
    ath_buf_done(&pem);
    return err;
}

static ath_err
export_tss2(const struct key *key, struct why *why, struct json **ret_data)
{
    if (key->is_token)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "key \"%s\" lives in a PKCS#11 token: only a TPM's key has a TSS2 file "
                       "(key.get shows its URI)",
                       key->name);
    return string_json(ath_buf_slice(&key->blob), ret_data);
}

static ath_err
export_agent(const struct key *key, struct why *why, struct json **ret_data)
{
    if (key->agent_id == NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "key \"%s\" has no agent_id", key->name);
    return identity_document_build(key->agent_id, &key->display, key->public_key, ret_data);
}

ath_err
key_export(const struct key *key, const char *format, struct why *why, struct json **ret_data)
{
    if (strcmp(format, "jwk") == 0)
        return export_jwk(key, ret_data);
    if (strcmp(format, "pem") == 0)
        return export_pem(key, ret_data);
    if (strcmp(format, "did") == 0)
        return string_json(ath_slice_of_string(key->did), ret_data);
    if (strcmp(format, "ssh") == 0)
        return export_ssh(key, ret_data);
    if (strcmp(format, "tss2") == 0)
        return export_tss2(key, why, ret_data);
    if (strcmp(format, "agent.json") == 0)
        return export_agent(key, why, ret_data);
    return why_set(why, ATH_ERR_INVALID_PARAMS, "there is no format \"%s\"", format);
}
