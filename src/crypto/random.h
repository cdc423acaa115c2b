/* Randomness: OpenSSL's CSPRNG, private instance. */
#ifndef CRYPTO_RANDOM_H
#define CRYPTO_RANDOM_H

#include "base/buf.h"

/* ATH_ERR_CRYPTO if the generator fails: nothing may go on then. */
ath_err random_bytes(uint8_t *ret_bytes, size_t len) ATH_MUST_USE;

/* len random bytes as base64url text with its NUL: BASE64URL_LEN(len) + 1 characters; len <= 64. */
ath_err random_base64url(size_t len, char *ret_text) ATH_MUST_USE;

#endif
