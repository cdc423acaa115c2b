/* Ephemeral ECDH on P-256 (SP 800-56A, cofactor 1): one key pair a handshake, used once. */
#ifndef CRYPTO_KEY_AGREEMENT_H
#define CRYPTO_KEY_AGREEMENT_H

#include "base/buf.h"
#include "base/secret.h"

#define KEY_SHARE_LEN 65      /* uncompressed SEC1 point */
#define KEY_SHARE_TEXT_LEN 87 /* its base64url */

struct key_agreement; /* the private half, in locked memory */

/* Draws the scalar with random_bytes (so tests can repeat it). ATH_ERR_CRYPTO, ATH_ERR_NOMEM. */
ath_err key_agreement_new(struct key_agreement **ret_agreement) ATH_MUST_USE;
void key_agreement_free(struct key_agreement *agreement); /* wipes; NULL is fine */

/* Our share as base64url (profile section 1), 87 characters; lives as long as the agreement. */
const char *key_agreement_share(const struct key_agreement *agreement);

/* Z, 32 bytes, leading zeros kept. ATH_ERR_INVALID_KEY_SHARE: not 87 characters of strict
 * base64url, first byte not 4, not on the curve, or our own share. */
ath_err key_agreement_derive(const struct key_agreement *agreement, const char *peer_share,
                             struct ath_secret *ret_z) ATH_MUST_USE;

#endif
