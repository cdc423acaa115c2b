/* Verification with a table says what OpenSSL's own says. */
#include "crypto/point_table.h"

#include <stdio.h>
#include <string.h>

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

/* A point whose x is r + n, not r, as one of 2^128 is: a key and a signature are made to fit it, by
 * Q = (s R - e G) / r. */
static void
make_rare(uint8_t ret_point[POINT_LEN], uint8_t digest[SHA256_LEN], uint8_t signature[64])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    const BIGNUM *order = EC_GROUP_get0_order(group);
    BIGNUM *x = BN_dup(order), *r = BN_new(), *s = BN_new(), *e = BN_new();
    EC_POINT *point = EC_POINT_new(group), *base = EC_POINT_new(group);
    BN_CTX *ctx = BN_CTX_new();

    assert_non_null(ctx);
    BN_zero(r);
    do {
        assert_int_equal(BN_add_word(x, 1) & BN_add_word(r, 1), 1);
    } while (EC_POINT_set_compressed_coordinates(group, point, x, 0, NULL) != 1);
    assert_int_equal(BN_set_word(s, 7) & BN_set_word(e, 5), 1);
    assert_int_equal(BN_bn2binpad(e, digest, SHA256_LEN), SHA256_LEN);
    assert_int_equal(BN_bn2binpad(r, signature, 32), 32);
    assert_int_equal(BN_bn2binpad(s, signature + 32, 32), 32);
    assert_int_equal(EC_POINT_mul(group, base, e, NULL, NULL, NULL), 1);
    assert_int_equal(EC_POINT_invert(group, base, NULL), 1);
    assert_int_equal(EC_POINT_mul(group, point, NULL, point, s, NULL), 1);
    assert_int_equal(EC_POINT_add(group, point, point, base, NULL), 1);
    assert_non_null(BN_mod_inverse(r, r, order, ctx));
    assert_int_equal(EC_POINT_mul(group, point, NULL, point, r, NULL), 1);
    assert_int_equal(
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, ret_point, POINT_LEN, NULL),
        POINT_LEN);
    EC_POINT_free(base);
    EC_POINT_free(point);
    BN_free(e);
    BN_free(s);
    BN_free(r);
    BN_free(x);
    BN_CTX_free(ctx);
    EC_GROUP_free(group);
}

static void
test_x_greater_than_the_order_is_taken_modulo_it(void **state)
{
    uint8_t point[POINT_LEN], digest[SHA256_LEN], signature[64];
    struct point_table *table = NULL;

    (void)state;
    make_rare(point, digest, signature);
    assert_int_equal(point_table_new(ath_slice_of(point, POINT_LEN), &table), ATH_OK);
    assert_int_equal(point_table_verify(table, digest, signature), ATH_OK);
    signature[31] ^= 1;
    assert_int_equal(point_table_verify(table, digest, signature), ATH_ERR_INVALID_SIGNATURE);
    point_table_free(table);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_signatures_are_good),
        cmocka_unit_test(test_each_flipped_bit_is_noticed),
        cmocka_unit_test(test_signature_of_another_key_is_bad),
        cmocka_unit_test(test_x_greater_than_the_order_is_taken_modulo_it),
        cmocka_unit_test(test_tables_are_limited_and_come_free),
        cmocka_unit_test(test_what_is_no_point_gives_no_table),
        cmocka_unit_test(test_own_signatures_are_judged_alike_however_many_there_were),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
