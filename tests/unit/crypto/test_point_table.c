/* Verification with a table says what OpenSSL's own says. */
#define OPENSSL_SUPPRESS_DEPRECATED /* the judge is OpenSSL's own ECDSA_do_verify */
#include "crypto/point_table.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#include "crypto/public_key.h"
#include "tests/support/support.h"
#include "tests/support/test_key.h"

#define POINT_LEN 65u
#define TABLES 16 /* at once */

static struct ath_slice
point_of(const struct test_key *key)
{
    struct ath_slice der = test_key_der(key);

    return ath_slice_of(der.data + der.len - POINT_LEN, POINT_LEN);
}

static void
sign(const struct test_key *key, const char *message, uint8_t ret_signature[64])
{
    struct ath_buf signature = {0};

    test_key_sign(key, ath_slice_of_string(message), &signature);
    assert_int_equal(signature.len, 64);
    memcpy(ret_signature, signature.data, 64);
    ath_buf_done(&signature);
}

static void
test_good_signatures_are_good(void **state)
{
    struct test_key *key = test_key_new(TEST_KEY_P256, "table");
    struct point_table *table = NULL;
    uint8_t digest[SHA256_LEN], signature[64];
    char message[32];

    (void)state;
    assert_int_equal(point_table_new(point_of(key), &table), ATH_OK);
    for (int i = 0; i < 200; i++) {
        snprintf(message, sizeof(message), "message %d", i);
        sign(key, message, signature);
        assert_int_equal(sha256(ath_slice_of_string(message), digest), ATH_OK);
        assert_int_equal(point_table_verify(table, digest, signature), ATH_OK);
    }
    point_table_free(table);
    test_key_free(key);
}

static void
test_each_flipped_bit_is_noticed(void **state)
{
    struct test_key *key = test_key_new(TEST_KEY_P256, "table");
    struct point_table *table = NULL;
    uint8_t digest[SHA256_LEN], signature[64];

    (void)state;
    assert_int_equal(point_table_new(point_of(key), &table), ATH_OK);
    sign(key, "text", signature);
    assert_int_equal(sha256(ath_slice_of_string("text"), digest), ATH_OK);
    for (unsigned bit = 0; bit < 8 * (64 + SHA256_LEN); bit++) {
        uint8_t *byte = bit < 512 ? &signature[bit / 8] : &digest[bit / 8 - 64];

        *byte ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(point_table_verify(table, digest, signature), ATH_ERR_INVALID_SIGNATURE);
        *byte ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(point_table_verify(table, digest, signature), ATH_OK);
    point_table_free(table);
    test_key_free(key);
}

static void
test_signature_of_another_key_is_bad(void **state)
{
    struct test_key *key = test_key_new(TEST_KEY_P256, "table"),
                    *other = test_key_new(TEST_KEY_P256, "other");
    struct point_table *table = NULL;
    uint8_t digest[SHA256_LEN], signature[64];

    (void)state;
    assert_int_equal(point_table_new(point_of(key), &table), ATH_OK);
    sign(other, "text", signature);
    assert_int_equal(sha256(ath_slice_of_string("text"), digest), ATH_OK);
    assert_int_equal(point_table_verify(table, digest, signature), ATH_ERR_INVALID_SIGNATURE);
    point_table_free(table);
    test_key_free(key);
    test_key_free(other);
}

static void
test_tables_are_limited_and_come_free(void **state)
{
    struct test_key *key = test_key_new(TEST_KEY_P256, "table");
    struct point_table *held[TABLES], *more = NULL;

    (void)state;
    for (int i = 0; i < TABLES; i++)
        assert_int_equal(point_table_new(point_of(key), &held[i]), ATH_OK);
    assert_int_equal(point_table_new(point_of(key), &more), ATH_ERR_LIMIT_EXCEEDED);
    point_table_free(held[0]);
    assert_int_equal(point_table_new(point_of(key), &held[0]), ATH_OK);
    for (int i = 0; i < TABLES; i++)
        point_table_free(held[i]);
    test_key_free(key);
}

static void
test_what_is_no_point_gives_no_table(void **state)
{
    uint8_t point[POINT_LEN] = {0x04, 1};
    struct point_table *table = NULL;

    (void)state;
    for (int i = 0; i < 2 * TABLES; i++)
        assert_int_equal(point_table_new(ath_slice_of(point, POINT_LEN), &table),
                         ATH_ERR_UNSUPPORTED_ALGORITHM);
    assert_null(table);
}

/* Before, at and behind the moment when the key prepares itself. */
static void
test_own_signatures_are_judged_alike_however_many_there_were(void **state)
{
    static const enum test_key_kind kinds[] = {TEST_KEY_P256, TEST_KEY_P384, TEST_KEY_ED25519};

    (void)state;
    for (size_t kind = 0; kind < 3; kind++) {
        struct test_key *key = test_key_new(kinds[kind], "own");
        const struct ath_slice text = ath_slice_of_string("text");
        struct public_key *public = NULL;
        struct ath_buf good = {0};

        assert_int_equal(public_key_from_der(test_key_der(key), NULL, &public), ATH_OK);
        test_key_sign(key, text, &good);
        for (int i = 0; i < 300; i++) {
            assert_int_equal(public_key_verify_own(public, text, ath_buf_slice(&good)), ATH_OK);
            good.data[i % 64] ^= 1;
            assert_int_equal(public_key_verify_own(public, text, ath_buf_slice(&good)),
                             ATH_ERR_INVALID_SIGNATURE);
            good.data[i % 64] ^= 1;
        }
        assert_int_equal(public_key_verify_own(public, text, ath_slice_of(good.data, good.len - 1)),
                         ATH_ERR_INVALID_SIGNATURE);
        memset(good.data, 0, good.len);
        assert_int_equal(public_key_verify_own(public, text, ath_buf_slice(&good)),
                         ATH_ERR_INVALID_SIGNATURE);
        memset(good.data, 0xff, good.len);
        assert_int_equal(public_key_verify_own(public, text, ath_buf_slice(&good)),
                         ATH_ERR_INVALID_SIGNATURE);
        ath_buf_done(&good);
        public_key_free(public);
        test_key_free(key);
    }
}

/* ---- numbers that no ordinary signature has ---- */

#define ORDER "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551"

struct curve_math {
    EC_GROUP *group;
    BN_CTX *ctx;
    BIGNUM *n, *d, *e, *r, *s, *t;
    EC_POINT *key, *point;
    struct point_table *table;
};

static void
math_begin(struct curve_math *m)
{
    m->group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    m->ctx = BN_CTX_new();
    BN_CTX_start(m->ctx);
    m->n = BN_CTX_get(m->ctx);
    m->d = BN_CTX_get(m->ctx);
    m->e = BN_CTX_get(m->ctx);
    m->r = BN_CTX_get(m->ctx);
    m->s = BN_CTX_get(m->ctx);
    m->t = BN_CTX_get(m->ctx);
    m->key = EC_POINT_new(m->group);
    m->point = EC_POINT_new(m->group);
    m->table = NULL;
    assert_true(BN_hex2bn(&m->n, ORDER) > 0);
    assert_int_equal(BN_set_word(m->d, 0x5eed), 1);
    assert_int_equal(EC_POINT_mul(m->group, m->key, m->d, NULL, NULL, m->ctx), 1);
}

static void
math_end(struct curve_math *m)
{
    point_table_free(m->table);
    EC_POINT_free(m->point);
    EC_POINT_free(m->key);
    BN_CTX_end(m->ctx);
    BN_CTX_free(m->ctx);
    EC_GROUP_free(m->group);
}

/* What both say to (r, s) over the digest e, with the key m->key: they must say the same. */
static ath_err
judge(struct curve_math *m)
{
    uint8_t point[POINT_LEN], digest[SHA256_LEN], signature[64];
    ECDSA_SIG *both = ECDSA_SIG_new();
    EC_KEY *key = EC_KEY_new();
    int theirs;
    ath_err err;

    assert_int_equal(EC_POINT_point2oct(m->group, m->key, POINT_CONVERSION_UNCOMPRESSED, point,
                                        POINT_LEN, m->ctx),
                     POINT_LEN);
    point_table_free(m->table);
    assert_int_equal(point_table_new(ath_slice_of(point, POINT_LEN), &m->table), ATH_OK);
    assert_int_equal(BN_bn2binpad(m->e, digest, SHA256_LEN), SHA256_LEN);
    assert_int_equal(BN_bn2binpad(m->r, signature, 32), 32);
    assert_int_equal(BN_bn2binpad(m->s, signature + 32, 32), 32);
    assert_int_equal(EC_KEY_set_group(key, m->group), 1);
    assert_int_equal(EC_KEY_set_public_key(key, m->key), 1);
    assert_int_equal(ECDSA_SIG_set0(both, BN_dup(m->r), BN_dup(m->s)), 1);
    theirs = ECDSA_do_verify(digest, SHA256_LEN, both, key);
    err = point_table_verify(m->table, digest, signature);
    assert_int_equal(err == ATH_OK, theirs == 1);
    ECDSA_SIG_free(both);
    EC_KEY_free(key);
    return err;
}

/* r of the point k G; m->point is that point. */
static void
set_r(struct curve_math *m, BN_ULONG k)
{
    assert_int_equal(BN_set_word(m->t, k), 1);
    assert_int_equal(EC_POINT_mul(m->group, m->point, m->t, NULL, NULL, m->ctx), 1);
    assert_int_equal(EC_POINT_get_affine_coordinates(m->group, m->point, m->r, NULL, m->ctx), 1);
    assert_int_equal(BN_nnmod(m->r, m->r, m->n, m->ctx), 1);
}

/* s = (e + r d) / k */
static void
set_s(struct curve_math *m, BN_ULONG k)
{
    BIGNUM *inverse = BN_CTX_get(m->ctx);

    assert_int_equal(BN_set_word(m->t, k), 1);
    assert_non_null(BN_mod_inverse(inverse, m->t, m->n, m->ctx));
    assert_int_equal(BN_mod_mul(m->s, m->r, m->d, m->n, m->ctx), 1);
    assert_int_equal(BN_mod_add(m->s, m->s, m->e, m->n, m->ctx), 1);
    assert_int_equal(BN_mod_mul(m->s, m->s, inverse, m->n, m->ctx), 1);
}

/* The digest is 0, or n, or greater: u1 is 0, or the number is taken modulo n. */
static void
test_digests_at_the_order_are_taken_modulo_it(void **state)
{
    struct curve_math m;

    (void)state;
    math_begin(&m);
    for (BN_ULONG over = 0; over < 4; over++) {
        BN_zero(m.e);
        assert_true(over == 0 || BN_add(m.e, m.n, m.e) == 1);
        assert_int_equal(BN_add_word(m.e, over > 0 ? over - 1 : 0), 1);
        set_r(&m, 77 + over);
        set_s(&m, 77 + over);
        assert_int_equal(judge(&m), ATH_OK);
        assert_int_equal(BN_add_word(m.s, 1), 1);
        assert_int_equal(judge(&m), ATH_ERR_INVALID_SIGNATURE);
    }
    math_end(&m);
}

/* u1 G = u2 Q (e = r d): their sum is a doubling. u1 G = -u2 Q: it is no point. */
static void
test_halves_that_are_equal_or_opposite_are_added_rightly(void **state)
{
    struct curve_math m;

    (void)state;
    math_begin(&m);
    set_r(&m, 4711);
    assert_int_equal(BN_mod_mul(m.e, m.r, m.d, m.n, m.ctx), 1);
    set_s(&m, 4711);
    assert_int_equal(judge(&m), ATH_OK);
    assert_int_equal(BN_sub(m.e, m.n, m.e), 1);
    assert_int_equal(judge(&m), ATH_ERR_INVALID_SIGNATURE);
    math_end(&m);
}

/* The point's x is n or greater: r is what is left of it. Q is made to fit: (s R - e G) / r. */
static void
test_x_beyond_the_order_is_taken_modulo_it(void **state)
{
    struct curve_math m;
    BN_ULONG over = 0;

    (void)state;
    math_begin(&m);
    do {
        assert_int_equal(BN_set_word(m.r, ++over), 1);
        assert_int_equal(BN_add(m.t, m.n, m.r), 1);
    } while (EC_POINT_set_compressed_coordinates(m.group, m.point, m.t, 1, m.ctx) != 1);
    assert_int_equal(BN_set_word(m.e, 12345), 1);
    assert_int_equal(BN_set_word(m.s, 999), 1);
    assert_non_null(BN_mod_inverse(m.t, m.r, m.n, m.ctx));
    assert_int_equal(BN_mod_mul(m.d, m.s, m.t, m.n, m.ctx), 1); /* s / r */
    assert_int_equal(BN_mod_mul(m.t, m.e, m.t, m.n, m.ctx), 1);
    assert_int_equal(BN_sub(m.t, m.n, m.t), 1); /* -e / r */
    assert_int_equal(EC_POINT_mul(m.group, m.key, m.t, m.point, m.d, m.ctx), 1);
    assert_int_equal(judge(&m), ATH_OK);
    assert_int_equal(BN_add_word(m.r, 1), 1);
    assert_int_equal(judge(&m), ATH_ERR_INVALID_SIGNATURE);
    math_end(&m);
}

/* ---- several threads ---- */

struct verifying {
    struct public_key *public;
    struct ath_slice text, signature;
    unsigned good;
};

static void *
verify_often(void *arg)
{
    struct verifying *work = arg;

    for (int i = 0; i < 200; i++)
        work->good += public_key_verify_own(work->public, work->text, work->signature) == ATH_OK;
    return NULL;
}

static void
test_threads_share_a_key_while_it_prepares_itself(void **state)
{
    struct test_key *key = test_key_new(TEST_KEY_P256, "threads");
    const struct ath_slice text = ath_slice_of_string("text");
    struct public_key *public = NULL;
    struct verifying work[3];
    struct ath_buf signature = {0};
    pthread_t threads[3];

    (void)state;
    test_key_sign(key, text, &signature);
    assert_int_equal(public_key_from_der(test_key_der(key), NULL, &public), ATH_OK);
    for (int i = 0; i < 3; i++) {
        work[i] = (struct verifying){public, text, ath_buf_slice(&signature), 0};
        assert_int_equal(pthread_create(&threads[i], NULL, verify_often, &work[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(work[i].good, 200);
    public_key_free(public);
    ath_buf_done(&signature);
    test_key_free(key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_signatures_are_good),
        cmocka_unit_test(test_each_flipped_bit_is_noticed),
        cmocka_unit_test(test_signature_of_another_key_is_bad),
        cmocka_unit_test(test_tables_are_limited_and_come_free),
        cmocka_unit_test(test_what_is_no_point_gives_no_table),
        cmocka_unit_test(test_own_signatures_are_judged_alike_however_many_there_were),
        cmocka_unit_test(test_digests_at_the_order_are_taken_modulo_it),
        cmocka_unit_test(test_halves_that_are_equal_or_opposite_are_added_rightly),
        cmocka_unit_test(test_x_beyond_the_order_is_taken_modulo_it),
        cmocka_unit_test(test_threads_share_a_key_while_it_prepares_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
