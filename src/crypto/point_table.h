/* Multiples of one P-256 point, computed beforehand: ECDSA signatures of this key are then verified
 * in a third of the time. For a signer that verifies all it signs; making one takes some 20 ms and
 * 150 KiB. */
#ifndef CRYPTO_POINT_TABLE_H
#define CRYPTO_POINT_TABLE_H

#include "base/buf.h"
#include "crypto/digest.h"

struct point_table; /* immutable: for any number of threads */

/* point: 04 || X || Y, on the curve. ATH_ERR_UNSUPPORTED_ALGORITHM: this OpenSSL makes no tables;
 * ATH_ERR_LIMIT_EXCEEDED: there are enough of them; ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err point_table_new(struct ath_slice point, struct point_table **ret_table) ATH_MUST_USE;
void point_table_free(struct point_table *table); /* NULL is fine */

/* FIPS 186-5, 6.4.2, for r || s that lie in [1, n-1]. ATH_ERR_INVALID_SIGNATURE, ATH_ERR_NOMEM,
 * ATH_ERR_CRYPTO. */
ath_err point_table_verify(const struct point_table *table, const uint8_t digest[SHA256_LEN],
                           const uint8_t signature[64]) ATH_MUST_USE;

#endif
