/* scrypt (RFC 7914): from a passphrase to bytes that cost time and memory to guess. */
#ifndef CRYPTO_SCRYPT_H
#define CRYPTO_SCRYPT_H

#include "base/buf.h"
#include "base/secret.h"

struct scrypt_cost {
    uint32_t n; /* a power of two, 2 at least */
    uint32_t r, p;
};

/* So much memory it takes, and no more is given: 64 MiB. */
#define SCRYPT_MEMORY_MAX (64u * 1024u * 1024u)

/* Is it a cost that scrypt has, within SCRYPT_MEMORY_MAX (128 * n * r bytes; RFC 7914, 2 and 5)? */
bool scrypt_cost_is_valid(const struct scrypt_cost *cost);

/* Fills okm, which the caller made with ath_secret_init, to its length (RFC 7914, 6). Takes some
 * tenths of a second: not for the event loop. The passphrase lies in OpenSSL's heap while it is
 * worked on and is wiped there. ATH_ERR_CRYPTO (also a cost that is not valid), ATH_ERR_NOMEM. */
ath_err scrypt(struct ath_slice passphrase, struct ath_slice salt, const struct scrypt_cost *cost,
               struct ath_secret *okm) ATH_MUST_USE;

#endif
