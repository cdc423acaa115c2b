/* AES-256-GCM (NIST SP 800-38D), 12-byte IV, 16-byte tag. */
#ifndef CRYPTO_AEAD_H
#define CRYPTO_AEAD_H

#include "base/buf.h"
#include "base/secret.h"

#define AEAD_KEY_LEN 32
#define AEAD_IV_LEN 12
#define AEAD_TAG_LEN 16

/* Appends ciphertext to `ciphertext` and writes the tag. ATH_ERR_CRYPTO, ATH_ERR_NOMEM. */
ath_err aead_seal(const struct ath_secret *key, const uint8_t iv[AEAD_IV_LEN], struct ath_slice aad,
                  struct ath_slice plaintext, struct ath_buf *ciphertext,
                  uint8_t ret_tag[AEAD_TAG_LEN]) ATH_MUST_USE;

/* Appends plaintext only after the tag held. ATH_ERR_DECRYPT_FAILED if it did not. */
ath_err aead_open(const struct ath_secret *key, const uint8_t iv[AEAD_IV_LEN], struct ath_slice aad,
                  struct ath_slice ciphertext, const uint8_t tag[AEAD_TAG_LEN],
                  struct ath_buf *plaintext) ATH_MUST_USE;

#endif
