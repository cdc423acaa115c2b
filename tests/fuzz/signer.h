/* A fixed Ed25519 key pair for fuzz targets: they sign what the fuzzer made, so that it reaches
 * what lies behind the verification. (Ed25519, because its signatures are the same each time.) */
#ifndef TESTS_FUZZ_SIGNER_H
#define TESTS_FUZZ_SIGNER_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/base64url.h"
#include "crypto/public_key.h"

struct signer {
    EVP_PKEY *pair;
    struct public_key *key;
};

static inline const struct signer *
signer_get(void)
{
    static struct signer signer;
    uint8_t seed[32], raw[32];
    size_t len = sizeof(raw);

    if (signer.pair != NULL)
        return &signer;
    memset(seed, 1, sizeof(seed));
    signer.pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
    if (signer.pair == NULL || EVP_PKEY_get_raw_public_key(signer.pair, raw, &len) != 1 ||
        public_key_from_point(KEY_EDDSA, ath_slice_of(raw, len), (struct ath_slice){0}, NULL,
                              &signer.key) != ATH_OK)
        abort();
    return &signer;
}

static inline void
signer_sign(struct ath_slice message, uint8_t ret_signature[64])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = 64;

    if (ctx == NULL || EVP_DigestSignInit(ctx, NULL, NULL, NULL, signer_get()->pair) != 1 ||
        EVP_DigestSign(ctx, ret_signature, &len, message.data, message.len) != 1)
        abort();
    EVP_MD_CTX_free(ctx);
}

/* Takes a line (without its end) off the front of input. */
static inline struct ath_slice
take_line(struct ath_slice *input)
{
    const uint8_t *end = input->len != 0 ? memchr(input->data, '\n', input->len) : NULL;
    struct ath_slice line = *input;

    if (end == NULL) {
        *input = ath_slice_of(NULL, 0);
        return line;
    }
    line.len = (size_t)(end - line.data);
    *input = ath_slice_of(end + 1, input->len - line.len - 1);
    return line;
}

/* Input is a header in one line, then claims: a token of theirs, signed. */
static inline void
put_signed_token(struct ath_slice input, struct ath_buf *token)
{
    struct ath_slice header = take_line(&input);
    uint8_t signature[64];

    base64url_put(token, header);
    ath_buf_put_byte(token, '.');
    base64url_put(token, input);
    if (token->err != ATH_OK)
        return;
    signer_sign(ath_buf_slice(token), signature);
    ath_buf_put_byte(token, '.');
    base64url_put(token, ath_slice_of(signature, sizeof(signature)));
}

#endif
