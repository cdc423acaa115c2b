/* Apart from random.c, so that a test which replaces random_bytes at link time reaches this caller.
 */
#include "crypto/random.h"

#include <string.h>

#include "base/base64url.h"

ath_err
random_base64url(size_t len, char *ret_text)
{
    uint8_t bytes[64];
    ath_err err;

    if (len > sizeof(bytes))
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((err = random_bytes(bytes, len)) != ATH_OK)
        goto out;
    base64url_encode(ath_slice_of(bytes, len), ret_text);
out:
    explicit_bzero(bytes, sizeof(bytes));
    return err;
}
