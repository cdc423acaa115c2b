/*
 * OpenSSL multiplies the generator of P-256 with a table, six times as fast as other points. A copy
 * of the group with the key's point as its generator gets such a table by
 * EC_GROUP_precompute_mult: deprecated since 3.0, for which there is nothing else; where it is
 * missing or does nothing there is no table, and signatures are verified as ever.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/point_table.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <openssl/bn.h>

#include "crypto/algorithms.h"
#include "crypto/order_inverse.h"

#define TABLES_MAX 16u
#define NUMBER_LEN 32

struct point_table {
    EC_GROUP *group; /* P-256, but for its generator */
    struct order_inverse inverse;
};

static atomic_uint tables;

static bool
precompute(EC_GROUP *group, struct ath_slice bytes)
{
#ifdef OPENSSL_NO_DEPRECATED_3_0
    (void)group;
    (void)bytes;
    return false;
#else
    EC_POINT *point = EC_POINT_new(group);
    bool done =
        point != NULL && EC_POINT_oct2point(group, point, bytes.data, bytes.len, NULL) == 1 &&
        EC_GROUP_set_generator(group, point, EC_GROUP_get0_order(group),
                               EC_GROUP_get0_cofactor(group)) == 1 &&
        EC_GROUP_precompute_mult(group, NULL) == 1 && EC_GROUP_have_precompute_mult(group) == 1;

    EC_POINT_free(point);
    return done;
#endif
}

static ath_err
prepare_inverse(struct point_table *table, const EC_GROUP *plain)
{
    BN_CTX *ctx = BN_CTX_new();
    ath_err err = ATH_ERR_NOMEM;

    if (ctx != NULL)
        err = order_inverse_init(&table->inverse, EC_GROUP_get0_order(plain), ctx);
    BN_CTX_free(ctx);
    return err;
}

ath_err
point_table_new(struct ath_slice point, struct point_table **ret_table)
{
    const struct algorithms *algorithms = algorithms_get();
    struct point_table *table;
    ath_err err;

    if (algorithms == NULL)
        return ATH_ERR_CRYPTO;
    if (atomic_fetch_add(&tables, 1) >= TABLES_MAX) {
        atomic_fetch_sub(&tables, 1);
        return ATH_ERR_LIMIT_EXCEEDED;
    }
    if ((table = calloc(1, sizeof(*table))) == NULL) {
        atomic_fetch_sub(&tables, 1);
        return ATH_ERR_NOMEM;
    }
    if ((table->group = EC_GROUP_dup(algorithms->p256)) == NULL ||
        !precompute(table->group, point)) {
        point_table_free(table);
        (void)openssl_failed("EC_GROUP_precompute_mult");
        return ATH_ERR_UNSUPPORTED_ALGORITHM;
    }
    if ((err = prepare_inverse(table, algorithms->p256)) != ATH_OK) {
        point_table_free(table);
        return err;
    }
    *ret_table = table;
    return ATH_OK;
}

void
point_table_free(struct point_table *table)
{
    if (table == NULL)
        return;
    order_inverse_done(&table->inverse);
    EC_GROUP_free(table->group);
    free(table);
    atomic_fetch_sub(&tables, 1);
}

struct numbers {
    BIGNUM *e, *r, *s, *w, *u1, *u2, *x, *z;
};

static bool
read_numbers(BN_CTX *ctx, const uint8_t *digest, const uint8_t *signature,
             struct numbers *ret_numbers)
{
    struct numbers n = {BN_CTX_get(ctx), BN_CTX_get(ctx), BN_CTX_get(ctx), BN_CTX_get(ctx),
                        BN_CTX_get(ctx), BN_CTX_get(ctx), BN_CTX_get(ctx), BN_CTX_get(ctx)};

    *ret_numbers = n;
    return n.z != NULL && /* the last: after a failure all are NULL */
           BN_bin2bn(digest, SHA256_LEN, n.e) != NULL &&
           BN_bin2bn(signature, NUMBER_LEN, n.r) != NULL &&
           BN_bin2bn(signature + NUMBER_LEN, NUMBER_LEN, n.s) != NULL;
}

/* u1 G + u2 Q, each with its own table. */
static bool
add_multiples(const struct point_table *table, const EC_GROUP *plain, const struct numbers *n,
              BN_CTX *ctx, EC_POINT *ret_sum)
{
    EC_POINT *second = EC_POINT_new(table->group);
    bool done = second != NULL && EC_POINT_mul(plain, ret_sum, n->u1, NULL, NULL, ctx) == 1 &&
                EC_POINT_mul(table->group, second, n->u2, NULL, NULL, ctx) == 1 &&
                EC_POINT_add(plain, ret_sum, ret_sum, second, ctx) == 1;

    EC_POINT_free(second);
    return done;
}

/* X / Z^2 for r + n, too, where that is less than p: a number modulo n has one or two of them
 * modulo p. Compared is X with r Z^2, which needs no division. 1: r is it, 0: it is not, -1:
 * openssl's failure. */
static int
is_r(const EC_GROUP *plain, const EC_POINT *sum, struct numbers *n, BN_CTX *ctx)
{
#ifdef OPENSSL_NO_DEPRECATED_3_0
    (void)plain, (void)sum, (void)n, (void)ctx;
    return -1; /* there are no tables */
#else
    const BIGNUM *order = EC_GROUP_get0_order(plain), *field = EC_GROUP_get0_field(plain);

    if (EC_POINT_get_Jprojective_coordinates_GFp(plain, sum, n->x, NULL, n->z, ctx) != 1 ||
        BN_mod_sqr(n->z, n->z, field, ctx) != 1 || BN_mod_mul(n->w, n->r, n->z, field, ctx) != 1 ||
        BN_add(n->u1, n->r, order) != 1)
        return -1;
    if (BN_cmp(n->w, n->x) == 0)
        return 1;
    if (BN_cmp(n->u1, field) >= 0)
        return 0;
    if (BN_mod_mul(n->w, n->u1, n->z, field, ctx) != 1)
        return -1;
    return BN_cmp(n->w, n->x) == 0;
#endif
}

static ath_err
verify(const struct point_table *table, const EC_GROUP *plain, struct numbers *n, BN_CTX *ctx,
       EC_POINT *sum)
{
    const BIGNUM *order = EC_GROUP_get0_order(plain);
    ath_err err;
    int result;

    if ((err = order_inverse(&table->inverse, n->s, ctx, n->w)) != ATH_OK)
        return err;
    if (BN_mod_mul(n->u1, n->e, n->w, order, ctx) != 1 ||
        BN_mod_mul(n->u2, n->r, n->w, order, ctx) != 1 || !add_multiples(table, plain, n, ctx, sum))
        return openssl_failed("EC_POINT_mul");
    if (EC_POINT_is_at_infinity(plain, sum) == 1)
        return ATH_ERR_INVALID_SIGNATURE;
    if ((result = is_r(plain, sum, n, ctx)) < 0)
        return openssl_failed("EC_POINT_get_Jprojective_coordinates_GFp");
    return result == 1 ? ATH_OK : ATH_ERR_INVALID_SIGNATURE;
}

ath_err
point_table_verify(const struct point_table *table, const uint8_t digest[SHA256_LEN],
                   const uint8_t signature[64])
{
    const struct algorithms *algorithms = algorithms_get();
    EC_POINT *sum = NULL;
    struct numbers n;
    BN_CTX *ctx;
    ath_err err = ATH_ERR_NOMEM;

    if (algorithms == NULL || (ctx = BN_CTX_new()) == NULL)
        return ATH_ERR_NOMEM;
    BN_CTX_start(ctx);
    if ((sum = EC_POINT_new(algorithms->p256)) != NULL && read_numbers(ctx, digest, signature, &n))
        err = verify(table, algorithms->p256, &n, ctx, sum);
    EC_POINT_free(sum);
    BN_CTX_end(ctx);
    BN_CTX_free(ctx);
    return err;
}
