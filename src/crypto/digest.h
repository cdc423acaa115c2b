/* SHA-256 (FIPS 180-4), HMAC-SHA-256 (RFC 2104), HKDF-SHA-256 (RFC 5869). Algorithms are fetched
 * once a process (crypto_init), because a fetch costs more than the hash. */
#ifndef CRYPTO_DIGEST_H
#define CRYPTO_DIGEST_H

#include "base/buf.h"
#include "base/secret.h"

#define SHA256_LEN 32
#define SHA384_LEN 48

/* Fetches what this layer uses; call once, before any thread is started. ATH_ERR_CRYPTO. */
ath_err crypto_init(void) ATH_MUST_USE;

/* Digest of bytes (sha256_2: of a, then b; sha384: 48 bytes), and HMAC with any key length. All:
 * ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err sha256(struct ath_slice bytes, uint8_t ret_digest[SHA256_LEN]) ATH_MUST_USE;
ath_err sha256_2(struct ath_slice a, struct ath_slice b,
                 uint8_t ret_digest[SHA256_LEN]) ATH_MUST_USE;
ath_err sha384(struct ath_slice bytes, uint8_t ret_digest[SHA384_LEN]) ATH_MUST_USE;
ath_err hmac_sha256(struct ath_slice key, struct ath_slice bytes,
                    uint8_t ret_mac[SHA256_LEN]) ATH_MUST_USE;

/* RFC 5869 2.2 and 2.3. extract makes *ret_prk (32 bytes, the caller's), an empty salt is one of
 * zeros. expand fills okm, which the caller made with ath_secret_init, to its length;
 * ATH_ERR_LIMIT_EXCEEDED above 255 * 32 bytes. Both: ATH_ERR_CRYPTO, ATH_ERR_NOMEM. */
ath_err hkdf_extract(struct ath_slice salt, struct ath_slice ikm,
                     struct ath_secret *ret_prk) ATH_MUST_USE;
ath_err hkdf_expand(struct ath_slice prk, const char *info, struct ath_secret *okm) ATH_MUST_USE;

#endif
