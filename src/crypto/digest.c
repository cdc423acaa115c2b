#include "crypto/digest.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "crypto/algorithms.h"

#define HKDF_MAX_LEN (255u * SHA256_LEN) /* RFC 5869 2.3 */

/* OpenSSL takes a NULL key or input as "not given", which an empty one is not. */
static const void *
data_of(struct ath_slice slice)
{
    return slice.len != 0 ? (const void *)slice.data : "";
}

static ath_err
digest_parts(const EVP_MD *md, const struct ath_slice *parts, size_t count, uint8_t *ret_digest)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ath_err err = ATH_OK;

    if (ctx == NULL)
        return ATH_ERR_NOMEM;
    if (EVP_DigestInit_ex2(ctx, md, NULL) != 1)
        err = openssl_failed("EVP_DigestInit_ex2");
    for (size_t i = 0; err == ATH_OK && i < count; i++)
        if (EVP_DigestUpdate(ctx, data_of(parts[i]), parts[i].len) != 1)
            err = openssl_failed("EVP_DigestUpdate");
    if (err == ATH_OK && EVP_DigestFinal_ex(ctx, ret_digest, NULL) != 1)
        err = openssl_failed("EVP_DigestFinal_ex");
    EVP_MD_CTX_free(ctx);
    return err;
}

ath_err
sha256(struct ath_slice bytes, uint8_t ret_digest[SHA256_LEN])
{
    const struct algorithms *algorithms = algorithms_get();

    return algorithms != NULL ? digest_parts(algorithms->sha256, &bytes, 1, ret_digest)
                              : ATH_ERR_CRYPTO;
}

ath_err
sha256_2(struct ath_slice a, struct ath_slice b, uint8_t ret_digest[SHA256_LEN])
{
    const struct algorithms *algorithms = algorithms_get();
    const struct ath_slice parts[2] = {a, b};

    return algorithms != NULL ? digest_parts(algorithms->sha256, parts, 2, ret_digest)
                              : ATH_ERR_CRYPTO;
}

ath_err
sha384(struct ath_slice bytes, uint8_t ret_digest[SHA384_LEN])
{
    const struct algorithms *algorithms = algorithms_get();

    return algorithms != NULL ? digest_parts(algorithms->sha384, &bytes, 1, ret_digest)
                              : ATH_ERR_CRYPTO;
}

static ath_err
hmac_init(struct ath_slice key, EVP_MAC_CTX **ret_ctx)
{
    const struct algorithms *algorithms = algorithms_get();
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *ctx;

    if (algorithms == NULL)
        return ATH_ERR_CRYPTO;
    if ((ctx = EVP_MAC_CTX_new(algorithms->hmac)) == NULL)
        return ATH_ERR_NOMEM;
    if (EVP_MAC_init(ctx, data_of(key), key.len, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        return openssl_failed("EVP_MAC_init");
    }
    *ret_ctx = ctx;
    return ATH_OK;
}

static ath_err
hmac_parts(struct ath_slice key, const struct ath_slice *parts, size_t count,
           uint8_t ret_mac[SHA256_LEN])
{
    EVP_MAC_CTX *ctx = NULL;
    size_t len = 0;
    ath_err err;

    if ((err = hmac_init(key, &ctx)) != ATH_OK)
        return err;
    for (size_t i = 0; err == ATH_OK && i < count; i++)
        if (EVP_MAC_update(ctx, data_of(parts[i]), parts[i].len) != 1)
            err = openssl_failed("EVP_MAC_update");
    if (err == ATH_OK && (EVP_MAC_final(ctx, ret_mac, &len, SHA256_LEN) != 1 || len != SHA256_LEN))
        err = openssl_failed("EVP_MAC_final");
    EVP_MAC_CTX_free(ctx);
    return err;
}

ath_err
hmac_sha256(struct ath_slice key, struct ath_slice bytes, uint8_t ret_mac[SHA256_LEN])
{
    return hmac_parts(key, &bytes, 1, ret_mac);
}

ath_err
hkdf_extract(struct ath_slice salt, struct ath_slice ikm, struct ath_secret *ret_prk)
{
    struct ath_secret prk = {0};
    ath_err err;

    if ((err = ath_secret_init(&prk, SHA256_LEN)) != ATH_OK)
        return err;
    /* No salt is one of zeros (RFC 5869 2.2), and HMAC pads a key with zeros: the empty one will
     * do. */
    if ((err = hmac_sha256(salt, ikm, prk.data)) != ATH_OK) {
        ath_secret_done(&prk);
        return err;
    }
    *ret_prk = prk;
    return ATH_OK;
}

ath_err
hkdf_expand(struct ath_slice prk, const char *info, struct ath_secret *okm)
{
    uint8_t block[SHA256_LEN] = {0}; /* T(n) of RFC 5869 2.3 */
    uint8_t counter = 0;
    ath_err err = ATH_OK;

    if (okm->len > HKDF_MAX_LEN)
        return ATH_ERR_LIMIT_EXCEEDED;
    for (size_t done = 0; done < okm->len; done += SHA256_LEN) {
        const struct ath_slice parts[3] = {ath_slice_of(block, counter == 0 ? 0 : SHA256_LEN),
                                           ath_slice_of_string(info), ath_slice_of(&counter, 1)};
        size_t rest = okm->len - done;

        counter++;
        if ((err = hmac_parts(prk, parts, 3, block)) != ATH_OK)
            break;
        memcpy(okm->data + done, block, rest < SHA256_LEN ? rest : SHA256_LEN);
    }
    explicit_bzero(block, sizeof(block));
    return err;
}
