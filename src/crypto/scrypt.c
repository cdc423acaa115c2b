#include "crypto/scrypt.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "crypto/algorithms.h"

#define P_MAX 16u
#define SLACK (1024u * 1024u) /* what OpenSSL counts besides: blocks that grow with r and p */

bool
scrypt_cost_is_valid(const struct scrypt_cost *cost)
{
    return cost->n >= 2 && (cost->n & (cost->n - 1)) == 0 && cost->r >= 1 && cost->p >= 1 &&
           cost->p <= P_MAX && cost->r <= SCRYPT_MEMORY_MAX / 128 / cost->n;
}

/* OSSL_PARAM has no const: OpenSSL only reads what a setter is given (OSSL_PARAM(3)). */
static void *
read_only(const void *data)
{
    return (void *)(uintptr_t)data;
}

ath_err
scrypt(struct ath_slice passphrase, struct ath_slice salt, const struct scrypt_cost *cost,
       struct ath_secret *okm)
{
    uint64_t n = cost->n, memory = SCRYPT_MEMORY_MAX + SLACK;
    uint32_t r = cost->r, p = cost->p;
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PASSWORD, read_only(passphrase.data),
                                passphrase.len),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, read_only(salt.data), salt.len),
        OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
        OSSL_PARAM_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
        OSSL_PARAM_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
        OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory),
        OSSL_PARAM_END,
    };
    EVP_KDF_CTX *context = NULL;
    EVP_KDF *kdf = NULL;
    ath_err err = ATH_OK;

    if (!scrypt_cost_is_valid(cost) || passphrase.len == 0 || salt.len == 0)
        return ATH_ERR_CRYPTO;
    if ((kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL)) == NULL ||
        (context = EVP_KDF_CTX_new(kdf)) == NULL)
        err = openssl_failed("EVP_KDF_fetch(SCRYPT)");
    else if (EVP_KDF_derive(context, okm->data, okm->len, params) != 1)
        err = openssl_failed("EVP_KDF_derive(SCRYPT)");
    EVP_KDF_CTX_free(context); /* wipes its copies (OpenSSL 3, scrypt.c) */
    EVP_KDF_free(kdf);
    return err;
}
