/* What OpenSSL is asked for once a process: a fetch walks the providers under a lock and costs more
 * than a hash of a short message. Internal to src/crypto. */
#ifndef CRYPTO_ALGORITHMS_H
#define CRYPTO_ALGORITHMS_H

#include <openssl/ec.h>
#include <openssl/evp.h>

#include "ath/err.h"

struct algorithms {
    EVP_MD *sha256;
    EVP_MD *sha384;
    EVP_MAC *hmac;
    EVP_CIPHER *aes_256_gcm;
    EC_GROUP *p256;
    EC_GROUP *p384;
};

/* Fetched by the first call of any thread; NULL if this OpenSSL lacks one of them. Never freed. */
const struct algorithms *algorithms_get(void);

/* Logs OpenSSL's last error at debug as that of `what`, empties this thread's error queue and
 * returns ATH_ERR_CRYPTO (ATH_ERR_NOMEM where memory was the reason). */
ath_err openssl_failed(const char *what);

#endif
