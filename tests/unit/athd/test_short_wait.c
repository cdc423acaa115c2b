#include "athd/short_wait.h"

#include "base/clock.h"
#include "tests/support/support.h"

#define PATIENCE_MS 100000

static uv_loop_t loop;
static struct short_wait *wait_of_test;
static uv_timer_t patience;
static int overs;
static bool is_out_of_patience;

static void
on_over(void *ctx)
{
    assert_ptr_equal(ctx, &overs);
    overs++;
}

static void
on_out_of_patience(uv_timer_t *timer)
{
    (void)timer;
    is_out_of_patience = true;
}

static int
begin(void **state)
{
    (void)state;
    overs = 0;
    is_out_of_patience = false;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_timer_init(&loop, &patience), 0);
    assert_int_equal(short_wait_new(&loop, on_over, &overs, &wait_of_test), ATH_OK);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    short_wait_free(wait_of_test);
    uv_close((uv_handle_t *)&patience, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static void
run_until_over_or(uint64_t patience_ms)
{
    is_out_of_patience = false;
    uv_timer_start(&patience, on_out_of_patience, patience_ms, 0);
    while (overs == 0 && !is_out_of_patience)
        uv_run(&loop, UV_RUN_ONCE);
    uv_timer_stop(&patience);
}

static void
test_it_is_over_once_and_not_before_its_time(void **state)
{
    uint64_t began_us;

    (void)state;
    for (uint64_t us = 1; us <= 10000; us *= 10) {
        overs = 0;
        began_us = clock_monotonic_us();
        short_wait_begin(wait_of_test, us);
        run_until_over_or(PATIENCE_MS);
        assert_int_equal(overs, 1);
        assert_true(clock_monotonic_us() - began_us >= us);
    }
    overs = 0;
    run_until_over_or(20);
    assert_int_equal(overs, 0);
}

static void
test_one_that_was_ended_is_never_over(void **state)
{
    (void)state;
    short_wait_end(wait_of_test);
    short_wait_begin(wait_of_test, 100);
    short_wait_end(wait_of_test);
    run_until_over_or(20);
    assert_int_equal(overs, 0);
}

static void
test_the_last_one_counts(void **state)
{
    uint64_t began_us;

    (void)state;
    began_us = clock_monotonic_us();
    short_wait_begin(wait_of_test, 100);
    short_wait_begin(wait_of_test, 20000);
    run_until_over_or(PATIENCE_MS);
    assert_int_equal(overs, 1);
    assert_true(clock_monotonic_us() - began_us >= 20000);
}

static void
test_freed_under_way_it_is_never_over(void **state)
{
    (void)state;
    short_wait_begin(wait_of_test, 100);
    short_wait_free(wait_of_test);
    wait_of_test = NULL;
    run_until_over_or(20);
    assert_int_equal(overs, 0);
    short_wait_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_is_over_once_and_not_before_its_time, begin, end),
        cmocka_unit_test_setup_teardown(test_one_that_was_ended_is_never_over, begin, end),
        cmocka_unit_test_setup_teardown(test_the_last_one_counts, begin, end),
        cmocka_unit_test_setup_teardown(test_freed_under_way_it_is_never_over, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
