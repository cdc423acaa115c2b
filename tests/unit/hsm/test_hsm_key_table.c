#include "hsm/hsm_key_table.h"

#include "support.h"

struct hsm_key {
    uint32_t number;
};

#define COUNT 1000u

static struct hsm_key keys[HSM_KEY_TABLE_MAX + 1];

/* All numbers below COUNT in an order that is not theirs. */
static uint32_t
scattered(uint32_t i)
{
    return i * 617u % COUNT;
}

static void
test_what_was_put_is_found_until_it_is_removed(void **state)
{
    struct hsm_key_table table = {0};

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(hsm_key_table_put(&table, scattered(i), &keys[scattered(i)]), ATH_OK);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_ptr_equal(hsm_key_table_find(&table, i), &keys[i]);
    for (uint32_t i = 0; i < COUNT; i += 2)
        assert_ptr_equal(hsm_key_table_remove(&table, scattered(i)), &keys[scattered(i)]);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_ptr_equal(hsm_key_table_find(&table, scattered(i)),
                         i % 2 == 0 ? NULL : &keys[scattered(i)]);
    assert_null(hsm_key_table_remove(&table, scattered(0)));
    assert_null(hsm_key_table_find(&table, UINT32_MAX));
    hsm_key_table_done(&table);
}

static void
test_same_number_twice_is_refused(void **state)
{
    struct hsm_key_table table = {0};

    (void)state;
    assert_int_equal(hsm_key_table_put(&table, 5, &keys[0]), ATH_OK);
    assert_int_equal(hsm_key_table_put(&table, 5, &keys[1]), ATH_ERR_EXISTS);
    assert_ptr_equal(hsm_key_table_find(&table, 5), &keys[0]);
    hsm_key_table_done(&table);
}

static void
test_table_has_an_end(void **state)
{
    struct hsm_key_table table = {0};

    (void)state;
    for (uint32_t i = 0; i < HSM_KEY_TABLE_MAX; i++)
        assert_int_equal(hsm_key_table_put(&table, i, &keys[i]), ATH_OK);
    assert_int_equal(hsm_key_table_put(&table, HSM_KEY_TABLE_MAX, &keys[HSM_KEY_TABLE_MAX]),
                     ATH_ERR_LIMIT_EXCEEDED);
    hsm_key_table_done(&table);
}

static ath_err
put_some(void *ctx)
{
    struct hsm_key_table table = {0};
    ath_err err = ATH_OK;

    (void)ctx;
    for (uint32_t i = 0; err == ATH_OK && i < 40; i++)
        err = hsm_key_table_put(&table, i, &keys[i]);
    hsm_key_table_done(&table);
    return err;
}

static void
test_each_failing_allocation_is_survived(void **state)
{
    (void)state;
    each_allocation_failing(put_some, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_put_is_found_until_it_is_removed),
        cmocka_unit_test(test_same_number_twice_is_refused),
        cmocka_unit_test(test_table_has_an_end),
        cmocka_unit_test(test_each_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
