#include "crypto/algorithms.h"

#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <pthread.h>

#include "base/log.h"
#include "crypto/digest.h"

static struct algorithms fetched;
static bool is_complete;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
fetch(void)
{
    fetched.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    fetched.sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
    fetched.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    fetched.aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    fetched.p256 = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    fetched.p384 = EC_GROUP_new_by_curve_name(NID_secp384r1);
    is_complete = fetched.sha256 != NULL && fetched.sha384 != NULL && fetched.hmac != NULL &&
                  fetched.aes_256_gcm != NULL && fetched.p256 != NULL && fetched.p384 != NULL;
}

const struct algorithms *
algorithms_get(void)
{
    if (pthread_once(&once, fetch) != 0 || !is_complete)
        return NULL;
    return &fetched;
}

ath_err
crypto_init(void)
{
    return algorithms_get() != NULL ? ATH_OK : openssl_failed("EVP fetch");
}

ath_err
openssl_failed(const char *what)
{
    unsigned long code = ERR_peek_last_error();
    char text[160];

    ERR_error_string_n(code, text, sizeof(text));
    log_debug("event=openssl what=%s err=\"%s\"", what, text);
    ERR_clear_error();
    return ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE ? ATH_ERR_NOMEM : ATH_ERR_CRYPTO;
}
