#include "crypto/aead.h"

#include <limits.h>
#include <string.h>

#include "crypto/algorithms.h"

struct gcm {
    EVP_CIPHER_CTX *ctx;
    bool seals;
};

static ath_err
gcm_init(struct gcm *gcm, const struct ath_secret *key, const uint8_t iv[AEAD_IV_LEN])
{
    const struct algorithms *algorithms = algorithms_get();

    if (algorithms == NULL || key->len != AEAD_KEY_LEN)
        return ATH_ERR_CRYPTO;
    if ((gcm->ctx = EVP_CIPHER_CTX_new()) == NULL)
        return ATH_ERR_NOMEM;
    /* 12 bytes is the IV length that OpenSSL's GCM has unless told otherwise */
    if (EVP_CipherInit_ex2(gcm->ctx, algorithms->aes_256_gcm, key->data, iv, gcm->seals ? 1 : 0,
                           NULL) != 1)
        return openssl_failed("EVP_CipherInit_ex2");
    return ATH_OK;
}

/* ret NULL: the input is additional data. */
static ath_err
gcm_update(struct gcm *gcm, struct ath_slice input, uint8_t *ret)
{
    int len = 0;

    if (input.len == 0)
        return ATH_OK;
    if (input.len > INT_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    if (EVP_CipherUpdate(gcm->ctx, ret, &len, input.data, (int)input.len) != 1)
        return openssl_failed("EVP_CipherUpdate");
    return (size_t)len == input.len ? ATH_OK : ATH_ERR_CRYPTO;
}

ath_err
aead_seal(const struct ath_secret *key, const uint8_t iv[AEAD_IV_LEN], struct ath_slice aad,
          struct ath_slice plaintext, struct ath_buf *ciphertext, uint8_t ret_tag[AEAD_TAG_LEN])
{
    struct gcm gcm = {.seals = true};
    uint8_t rest[AEAD_TAG_LEN];
    uint8_t *out = NULL;
    int rest_len = 0;
    ath_err err;

    if (plaintext.len != 0 && (out = ath_buf_reserve(ciphertext, plaintext.len)) == NULL)
        return ciphertext->err;
    if ((err = gcm_init(&gcm, key, iv)) != ATH_OK ||
        (err = gcm_update(&gcm, aad, NULL)) != ATH_OK ||
        (err = gcm_update(&gcm, plaintext, out)) != ATH_OK)
        goto out;
    if (EVP_CipherFinal_ex(gcm.ctx, rest, &rest_len) != 1 || rest_len != 0 ||
        EVP_CIPHER_CTX_ctrl(gcm.ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, ret_tag) != 1) {
        err = openssl_failed("EVP_CipherFinal_ex");
        goto out;
    }
    ciphertext->len += plaintext.len;
out:
    EVP_CIPHER_CTX_free(gcm.ctx);
    return err;
}

ath_err
aead_open(const struct ath_secret *key, const uint8_t iv[AEAD_IV_LEN], struct ath_slice aad,
          struct ath_slice ciphertext, const uint8_t tag[AEAD_TAG_LEN], struct ath_buf *plaintext)
{
    struct gcm gcm = {.seals = false};
    uint8_t expected[AEAD_TAG_LEN], rest[AEAD_TAG_LEN];
    uint8_t *out = NULL;
    int rest_len = 0;
    ath_err err;

    if (ciphertext.len != 0 && (out = ath_buf_reserve(plaintext, ciphertext.len)) == NULL)
        return plaintext->err;
    memcpy(expected, tag, AEAD_TAG_LEN); /* the control call takes no const */
    if ((err = gcm_init(&gcm, key, iv)) != ATH_OK ||
        (err = gcm_update(&gcm, aad, NULL)) != ATH_OK ||
        (err = gcm_update(&gcm, ciphertext, out)) != ATH_OK)
        goto out;
    if (EVP_CIPHER_CTX_ctrl(gcm.ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, expected) != 1) {
        err = openssl_failed("EVP_CTRL_AEAD_SET_TAG");
        goto out;
    }
    if (EVP_CipherFinal_ex(gcm.ctx, rest, &rest_len) != 1 || rest_len != 0) {
        err = ATH_ERR_DECRYPT_FAILED;
        goto out;
    }
    plaintext->len += ciphertext.len;
out:
    if (err != ATH_OK && out != NULL)
        explicit_bzero(out, ciphertext.len); /* nothing unauthenticated is left to be seen */
    EVP_CIPHER_CTX_free(gcm.ctx);
    return err;
}
