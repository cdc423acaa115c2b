/* Inverses modulo the order of a 256-bit curve, four times as fast as BN_mod_inverse. For public
 * numbers only: how long it takes tells the number. */
#ifndef CRYPTO_ORDER_INVERSE_H
#define CRYPTO_ORDER_INVERSE_H

#include <stdint.h>

#include <openssl/bn.h>

#include "base/buf.h"

#define ORDER_LIMBS 4

struct order_inverse {           /* immutable between init and done: for any number of threads */
    const BIGNUM *order;         /* borrowed */
    uint64_t limbs[ORDER_LIMBS]; /* the order's, the least significant first */
    BIGNUM *unshift;             /* the inverse of 2^512 */
};

/* order: odd, of at most 256 bits. ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err order_inverse_init(struct order_inverse *inverse, const BIGNUM *order,
                           BN_CTX *ctx) ATH_MUST_USE;
void order_inverse_done(struct order_inverse *inverse); /* one of zeros is fine */

/* number: in [1, order - 1]. ATH_ERR_CRYPTO: it has no inverse; ATH_ERR_NOMEM. */
ath_err order_inverse(const struct order_inverse *inverse, const BIGNUM *number, BN_CTX *ctx,
                      BIGNUM *ret) ATH_MUST_USE;

#endif
