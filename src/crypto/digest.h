/* SHA-256 (FIPS 180-4), HMAC-SHA-256 (RFC 2104), HKDF-SHA-256 (RFC 5869). Algorithms are fetched once
 * a process (crypto_init), because a fetch costs more than the hash. */
#ifndef CRYPTO_DIGEST_H
#define CRYPTO_DIGEST_H

#include "base/buf.h"
#include "base/secret.h"

#define SHA256_LEN 32

/* Fetches what this layer uses; call once, before any thread is started. ATH_ERR_CRYPTO. */
ath_err crypto_init(void) ATH_MUST_USE;

ath_err sha256(struct ath_slice bytes, uint8_t ret_digest[SHA256_LEN]) ATH_MUST_USE;
ath_err sha256_2(struct ath_slice a, struct ath_slice b, uint8_t ret_digest[SHA256_LEN]) ATH_MUST_USE;
ath_err sha384(struct ath_slice bytes, uint8_t ret_digest[48]) ATH_MUST_USE;
ath_err hmac_sha256(struct ath_slice key, struct ath_slice bytes, uint8_t ret_mac[SHA256_LEN]) ATH_MUST_USE;

/* RFC 5869 2.2 and 2.3; ret_okm->len bytes are made, at most 255 * 32; ret_okm is initialised by the caller. */
ath_err hkdf_extract(struct ath_slice salt, struct ath_slice ikm, struct ath_secret *ret_prk) ATH_MUST_USE;
ath_err hkdf_expand(struct ath_slice prk, const char *info, struct ath_secret *okm) ATH_MUST_USE;

#endif
