#include "crypto/random.h"

#include <openssl/rand.h>

#include "crypto/algorithms.h"

ath_err
random_bytes(uint8_t *ret_bytes, size_t len)
{
    /* the private instance: its output is never seen on the wire by way of the public one */
    if (RAND_priv_bytes_ex(NULL, ret_bytes, len, 256) != 1)
        return openssl_failed("RAND_priv_bytes_ex");
    return ATH_OK;
}
