/* The inverse is the one that BN_mod_inverse finds. */
#include "crypto/order_inverse.h"

#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#include "tests/support/support.h"

struct scene {
    EC_GROUP *group;
    const BIGNUM *order;
    BN_CTX *ctx;
    BIGNUM *number, *expected, *found;
    struct order_inverse inverse;
};

static int
setup(void **state)
{
    static struct scene scene;

    scene.group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    assert_non_null(scene.group);
    scene.order = EC_GROUP_get0_order(scene.group);
    scene.ctx = BN_CTX_new();
    scene.number = BN_new();
    scene.expected = BN_new();
    scene.found = BN_new();
    assert_true(scene.ctx != NULL && scene.number != NULL && scene.expected != NULL &&
                scene.found != NULL);
    assert_int_equal(order_inverse_init(&scene.inverse, scene.order, scene.ctx), ATH_OK);
    *state = &scene;
    return 0;
}

static int
teardown(void **state)
{
    struct scene *scene = *state;

    order_inverse_done(&scene->inverse);
    BN_free(scene->found);
    BN_free(scene->expected);
    BN_free(scene->number);
    BN_CTX_free(scene->ctx);
    EC_GROUP_free(scene->group);
    return 0;
}

static void
assert_same(struct scene *scene)
{
    assert_non_null(BN_mod_inverse(scene->expected, scene->number, scene->order, scene->ctx));
    assert_int_equal(order_inverse(&scene->inverse, scene->number, scene->ctx, scene->found),
                     ATH_OK);
    assert_int_equal(BN_cmp(scene->found, scene->expected), 0);
}

static void
test_inverses_of_any_number_are_openssls(void **state)
{
    struct scene *scene = *state;

    for (int i = 0; i < 5000; i++) {
        do {
            assert_int_equal(BN_rand_range(scene->number, scene->order), 1);
        } while (BN_is_zero(scene->number));
        assert_same(scene);
    }
}

/* 1, 2, 4 ... and their neighbours; likewise below the order: words of zeros and of ones. */
static void
test_inverses_of_extreme_numbers_are_openssls(void **state)
{
    struct scene *scene = *state;

    for (int bit = 0; bit < 255; bit++) {
        for (unsigned long more = 0; more < 3; more++) {
            BN_zero(scene->number);
            assert_int_equal(BN_set_bit(scene->number, bit), 1);
            assert_int_equal(BN_add_word(scene->number, more), 1);
            assert_same(scene);
            assert_int_equal(BN_sub(scene->number, scene->order, scene->number), 1);
            assert_same(scene);
        }
    }
}

static void
test_what_has_no_inverse_is_told(void **state)
{
    struct scene *scene = *state;
    struct order_inverse of_15 = {0};
    BIGNUM *order = BN_new();

    assert_non_null(order);
    BN_zero(scene->number);
    assert_int_equal(order_inverse(&scene->inverse, scene->number, scene->ctx, scene->found),
                     ATH_ERR_CRYPTO);
    assert_int_equal(BN_set_word(order, 15), 1);
    assert_int_equal(order_inverse_init(&of_15, order, scene->ctx), ATH_OK);
    assert_int_equal(BN_set_word(scene->number, 6), 1);
    assert_int_equal(order_inverse(&of_15, scene->number, scene->ctx, scene->found),
                     ATH_ERR_CRYPTO);
    assert_int_equal(BN_set_word(scene->number, 7), 1);
    assert_int_equal(order_inverse(&of_15, scene->number, scene->ctx, scene->found), ATH_OK);
    assert_true(BN_is_word(scene->found, 13));
    order_inverse_done(&of_15);
    BN_free(order);
}

static void
test_an_order_that_is_even_or_too_long_is_refused(void **state)
{
    struct scene *scene = *state;
    struct order_inverse refused = {0};
    BIGNUM *order = BN_new();

    assert_non_null(order);
    assert_int_equal(BN_set_word(order, 16), 1);
    assert_int_equal(order_inverse_init(&refused, order, scene->ctx), ATH_ERR_CRYPTO);
    assert_int_equal(BN_set_bit(order, 256), 1);
    assert_int_equal(BN_set_bit(order, 0), 1);
    assert_int_equal(order_inverse_init(&refused, order, scene->ctx), ATH_ERR_CRYPTO);
    order_inverse_done(&refused);
    BN_free(order);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_inverses_of_any_number_are_openssls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inverses_of_extreme_numbers_are_openssls, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_has_no_inverse_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_order_that_is_even_or_too_long_is_refused, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
