#include "protocol/session_keys.h"

#include <string.h>

#include "base/base64url.h"
#include "crypto/aead.h"
#include "crypto/digest.h"

#define SID_BYTES 16

static ath_err
expand(const struct ath_secret *prk, const char *info, size_t len, struct ath_secret *ret_key)
{
    struct ath_secret key = {0};
    ath_err err;

    if ((err = ath_secret_init(&key, len)) != ATH_OK)
        return err;
    if ((err = hkdf_expand(ath_secret_slice(prk), info, &key)) != ATH_OK) {
        ath_secret_done(&key);
        return err;
    }
    *ret_key = key;
    return ATH_OK;
}

ath_err
session_keys_derive(const struct ath_secret *z, const uint8_t transcript[32],
                    struct session_keys *ret_keys)
{
    struct session_keys keys = {0};
    struct ath_secret prk = {0}, sid = {0};
    ath_err err;

    if ((err = hkdf_extract(ath_slice_of(transcript, SHA256_LEN), ath_secret_slice(z), &prk)) !=
            ATH_OK ||
        (err = expand(&prk, "ATH-TB1 c2s", AEAD_KEY_LEN, &keys.c2s)) != ATH_OK ||
        (err = expand(&prk, "ATH-TB1 s2c", AEAD_KEY_LEN, &keys.s2c)) != ATH_OK ||
        (err = expand(&prk, "ATH-TB1 sid", SID_BYTES, &sid)) != ATH_OK)
        goto out;
    base64url_encode(ath_secret_slice(&sid), keys.sid);
    *ret_keys = keys;
    keys = (struct session_keys){0};
out:
    session_keys_done(&keys);
    ath_secret_done(&sid);
    ath_secret_done(&prk);
    return err;
}

void
session_keys_done(struct session_keys *keys)
{
    ath_secret_done(&keys->c2s);
    ath_secret_done(&keys->s2c);
    memset(keys->sid, 0, sizeof(keys->sid));
}
