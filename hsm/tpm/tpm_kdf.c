#include "hsm/tpm/tpm_kdf.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#include "base/base64url.h"
#include "crypto/key_agreement.h"

#define KDFA_MAX 192
#define COORDINATE_LEN 32

ath_err
tpm_kdfa(struct ath_slice key, const char *label, struct ath_slice context_u,
         struct ath_slice context_v, uint8_t ret_bits[TPM_KDF_LEN])
{
    static const uint8_t counter[4] = {0, 0, 0, 1}, bits[4] = {0, 0, 1, 0};
    const struct ath_slice parts[] = {{counter, sizeof(counter)},
                                      ath_slice_of(label, strlen(label) + 1),
                                      context_u,
                                      context_v,
                                      {bits, sizeof(bits)}};
    uint8_t input[KDFA_MAX];
    size_t len = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].len > sizeof(input) - len)
            return ATH_ERR_LIMIT_EXCEEDED;
        memcpy(input + len, parts[i].data, parts[i].len);
        len += parts[i].len;
    }
    return hmac_sha256(key, ath_slice_of(input, len), ret_bits);
}

/* KDFe (part 1, 11.4.10.3): H(1 || Z || "SECRET" || 0 || x of the ephemeral key || x of the key).
 */
static ath_err
kdfe_secret(const struct ath_secret *z, const uint8_t *ephemeral_x, const uint8_t *static_x,
            uint8_t ret_salt[TPM_KDF_LEN])
{
    static const char label[] = "SECRET";
    uint8_t input[4 + COORDINATE_LEN + sizeof(label) + 2 * COORDINATE_LEN] = {0, 0, 0, 1};
    size_t len = 4;
    ath_err err;

    if (z->len != COORDINATE_LEN)
        return ATH_ERR_CRYPTO;
    memcpy(input + len, z->data, COORDINATE_LEN);
    len += COORDINATE_LEN;
    memcpy(input + len, label, sizeof(label));
    len += sizeof(label);
    memcpy(input + len, ephemeral_x, COORDINATE_LEN);
    len += COORDINATE_LEN;
    memcpy(input + len, static_x, COORDINATE_LEN);
    len += COORDINATE_LEN;
    err = sha256(ath_slice_of(input, len), ret_salt);
    explicit_bzero(input, sizeof(input));
    return err;
}

/* SEC1 point of the public area: coordinates padded on the left, as a TPM may shorten them. */
static ath_err
point_of_public(const TPMT_PUBLIC *public, uint8_t ret_point[KEY_SHARE_LEN])
{
    const TPM2B_ECC_PARAMETER *x = &public->unique.ecc.x, *y = &public->unique.ecc.y;

    if (public->type != TPM2_ALG_ECC ||
        public->parameters.eccDetail.curveID != TPM2_ECC_NIST_P256 || x->size > COORDINATE_LEN ||
        y->size > COORDINATE_LEN)
        return ATH_ERR_INVALID_PUBLIC_KEY;
    memset(ret_point, 0, KEY_SHARE_LEN);
    ret_point[0] = 4;
    memcpy(ret_point + 1 + COORDINATE_LEN - x->size, x->buffer, x->size);
    memcpy(ret_point + 1 + 2 * COORDINATE_LEN - y->size, y->buffer, y->size);
    return ATH_OK;
}

static ath_err
marshal_point(const uint8_t point[KEY_SHARE_LEN], TPM2B_ENCRYPTED_SECRET *ret_encrypted)
{
    TPMS_ECC_POINT ecc = {.x.size = COORDINATE_LEN, .y.size = COORDINATE_LEN};
    size_t len = 0;

    memcpy(ecc.x.buffer, point + 1, COORDINATE_LEN);
    memcpy(ecc.y.buffer, point + 1 + COORDINATE_LEN, COORDINATE_LEN);
    if (Tss2_MU_TPMS_ECC_POINT_Marshal(&ecc, ret_encrypted->secret, sizeof(ret_encrypted->secret),
                                       &len) != TSS2_RC_SUCCESS)
        return ATH_ERR_INTERNAL;
    ret_encrypted->size = (UINT16)len;
    return ATH_OK;
}

ath_err
tpm_salt_new(const TPMT_PUBLIC *public, TPM2B_ENCRYPTED_SECRET *ret_encrypted,
             uint8_t ret_salt[TPM_KDF_LEN])
{
    uint8_t static_point[KEY_SHARE_LEN], ephemeral_point[KEY_SHARE_LEN];
    char static_share[KEY_SHARE_TEXT_LEN + 1];
    struct key_agreement *agreement = NULL;
    struct ath_secret z = {0};
    ath_err err;

    if ((err = point_of_public(public, static_point)) != ATH_OK)
        goto out;
    base64url_encode(ath_slice_of(static_point, sizeof(static_point)), static_share);
    if ((err = key_agreement_new(&agreement)) != ATH_OK)
        goto out;
    if ((err = key_agreement_derive(agreement, static_share, &z)) != ATH_OK)
        goto out;
    err = base64url_decode_exact(ath_slice_of_string(key_agreement_share(agreement)),
                                 ephemeral_point, sizeof(ephemeral_point));
    if (err != ATH_OK)
        goto out;
    if ((err = kdfe_secret(&z, ephemeral_point + 1, static_point + 1, ret_salt)) != ATH_OK)
        goto out;
    err = marshal_point(ephemeral_point, ret_encrypted);
out:
    ath_secret_done(&z);
    key_agreement_free(agreement);
    return err == ATH_ERR_INVALID_KEY_SHARE ? ATH_ERR_INVALID_PUBLIC_KEY : err;
}
