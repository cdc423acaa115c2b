/*
 * The almost inverse of B. S. Kaliski Jr., "The Montgomery Inverse and Its Applications", IEEE
 * Transactions on Computers 44(8), 1995: the inverse times a power of two, by subtractions and
 * shifts alone; a multiplication takes the power out. Whatever it gives is multiplied with the
 * number once more: what is returned is the inverse.
 */
#include "crypto/order_inverse.h"

#include <string.h>

#include "crypto/algorithms.h"

#define LIMB_BITS 64u
#define NUMBER_LEN (ORDER_LIMBS * sizeof(uint64_t))
#define SHIFT_MAX (2u * ORDER_LIMBS * LIMB_BITS) /* the power of two is less */

/* ---- numbers ---- */

static bool
load(const BIGNUM *number, uint64_t ret[ORDER_LIMBS])
{
    uint8_t bytes[NUMBER_LEN];

    if (BN_bn2lebinpad(number, bytes, sizeof(bytes)) != (int)sizeof(bytes))
        return false;
    memset(ret, 0, NUMBER_LEN);
    for (size_t i = 0; i < sizeof(bytes); i++)
        ret[i / 8] |= (uint64_t)bytes[i] << (8 * (i % 8));
    return true;
}

static bool
store(const uint64_t number[ORDER_LIMBS], BIGNUM *ret)
{
    uint8_t bytes[NUMBER_LEN];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(number[i / 8] >> (8 * (i % 8)));
    return BN_lebin2bn(bytes, sizeof(bytes), ret) != NULL;
}

static bool
is_zero(const uint64_t number[ORDER_LIMBS])
{
    return (number[0] | number[1] | number[2] | number[3]) == 0;
}

static bool
is_one(const uint64_t number[ORDER_LIMBS])
{
    return number[0] == 1 && (number[1] | number[2] | number[3]) == 0;
}

/* a - b, and whether it is negative. */
static bool
subtract(const uint64_t a[ORDER_LIMBS], const uint64_t b[ORDER_LIMBS], uint64_t ret[ORDER_LIMBS])
{
    uint64_t borrow = 0;

    for (size_t i = 0; i < ORDER_LIMBS; i++) {
        uint64_t difference = a[i] - b[i];
        bool is_less = a[i] < b[i]; /* looked at first: ret may be one of them */

        ret[i] = difference - borrow;
        borrow = is_less || difference < borrow;
    }
    return borrow != 0;
}

static void
add(uint64_t a[ORDER_LIMBS], const uint64_t b[ORDER_LIMBS])
{
    uint64_t carry = 0;

    for (size_t i = 0; i < ORDER_LIMBS; i++) {
        uint64_t sum = a[i] + carry;

        carry = sum < carry;
        a[i] = sum + b[i];
        carry += a[i] < b[i];
    }
}

/* Both by 1 to 63 bits. */
static void
shift_right(uint64_t number[ORDER_LIMBS], unsigned bits)
{
    for (size_t i = 0; i + 1 < ORDER_LIMBS; i++)
        number[i] = number[i] >> bits | number[i + 1] << (LIMB_BITS - bits);
    number[ORDER_LIMBS - 1] >>= bits;
}

static void
shift_left(uint64_t number[ORDER_LIMBS], unsigned bits)
{
    for (size_t i = ORDER_LIMBS - 1; i > 0; i--)
        number[i] = number[i] << bits | number[i - 1] >> (LIMB_BITS - bits);
    number[0] <<= bits;
}

/* ---- the inverse ---- */

/* Makes `even`, which is not 0, odd, and its partner as many times greater; how many. */
static unsigned
make_odd(uint64_t even[ORDER_LIMBS], uint64_t partner[ORDER_LIMBS])
{
    unsigned bits = 0, by;

    for (; (even[0] & 1) == 0; bits += by) {
        by = even[0] == 0 ? LIMB_BITS - 1 : (unsigned)ffsll((long long)even[0]) - 1;
        shift_right(even, by);
        shift_left(partner, by);
    }
    return bits;
}

/* number * *ret = 2^*ret_shift mod order. All along order = r * v + s * u, so that r and s are less
 * than the order while u and v are not 0, and number * s = v * 2^shift (Kaliski, section 2). False:
 * number and order have a common divisor. */
static bool
almost_inverse(const uint64_t number[ORDER_LIMBS], const uint64_t order[ORDER_LIMBS],
               uint64_t ret[ORDER_LIMBS], unsigned *ret_shift)
{
    uint64_t u[ORDER_LIMBS], v[ORDER_LIMBS], r[ORDER_LIMBS] = {0}, s[ORDER_LIMBS] = {1};
    uint64_t difference[ORDER_LIMBS];
    unsigned shift;

    memcpy(u, order, sizeof(u));
    memcpy(v, number, sizeof(v));
    shift = make_odd(v, r);
    for (;;) {
        if (subtract(u, v, difference)) {
            (void)subtract(v, u, v);
            add(s, r);
            shift += make_odd(v, r);
        } else if (!is_zero(difference)) {
            memcpy(u, difference, sizeof(u));
            add(r, s);
            shift += make_odd(u, s);
        } else {
            break;
        }
    }
    memcpy(ret, s, sizeof(s));
    *ret_shift = shift;
    return is_one(u);
}

ath_err
order_inverse_init(struct order_inverse *inverse, const BIGNUM *order, BN_CTX *ctx)
{
    *inverse = (struct order_inverse){.order = order};
    if (!BN_is_odd(order) || !load(order, inverse->limbs))
        return ATH_ERR_CRYPTO;
    if ((inverse->unshift = BN_new()) == NULL)
        return ATH_ERR_NOMEM;
    if (BN_set_bit(inverse->unshift, (int)SHIFT_MAX) != 1 ||
        BN_mod(inverse->unshift, inverse->unshift, order, ctx) != 1 ||
        BN_mod_inverse(inverse->unshift, inverse->unshift, order, ctx) == NULL)
        return openssl_failed("BN_mod_inverse");
    return ATH_OK;
}

void
order_inverse_done(struct order_inverse *inverse)
{
    BN_free(inverse->unshift);
    inverse->unshift = NULL;
}

static ath_err
check(const struct order_inverse *inverse, const BIGNUM *number, BN_CTX *ctx, const BIGNUM *found)
{
    BIGNUM *product;
    ath_err err = ATH_ERR_CRYPTO;

    BN_CTX_start(ctx);
    if ((product = BN_CTX_get(ctx)) == NULL ||
        BN_mod_mul(product, number, found, inverse->order, ctx) != 1)
        err = openssl_failed("BN_mod_mul");
    else if (BN_is_one(product))
        err = ATH_OK;
    BN_CTX_end(ctx);
    return err;
}

ath_err
order_inverse(const struct order_inverse *inverse, const BIGNUM *number, BN_CTX *ctx, BIGNUM *ret)
{
    uint64_t limbs[ORDER_LIMBS], found[ORDER_LIMBS];
    unsigned shift = 0;

    if (BN_is_zero(number) || !load(number, limbs) ||
        !almost_inverse(limbs, inverse->limbs, found, &shift) || shift > SHIFT_MAX)
        return ATH_ERR_CRYPTO;
    if (!store(found, ret) || BN_lshift(ret, ret, (int)(SHIFT_MAX - shift)) != 1 ||
        BN_mod_mul(ret, ret, inverse->unshift, inverse->order, ctx) != 1)
        return openssl_failed("BN_mod_mul");
    return check(inverse, number, ctx, ret);
}
