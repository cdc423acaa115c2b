#include "athd/wall_timer.h"

#include "tests/support/support.h"

#define NOW 1700000000

static uv_loop_t loop;
static struct wall_timer *timer;
static int dues;

static void
on_due(void *ctx)
{
    assert_ptr_equal(ctx, &dues);
    dues++;
}

static int
begin(void **state)
{
    (void)state;
    dues = 0;
    fake_clock_set(NOW);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(wall_timer_new(&loop, on_due, &dues, &timer), ATH_OK);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    wall_timer_free(timer);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_clock_set(0);
    return 0;
}

/* In seconds; UINT64_MAX: no timer runs. */
static uint64_t
waits(void)
{
    int ms;

    uv_update_time(&loop);
    ms = uv_backend_timeout(&loop);
    return uv_loop_alive(&loop) == 0 ? UINT64_MAX : ((uint64_t)ms + 999) / 1000;
}

static void
test_it_is_not_set_at_first_nor_for_what_never_comes(void **state)
{
    (void)state;
    assert_true(waits() == UINT64_MAX);
    wall_timer_set(timer, WALL_TIMER_NEVER);
    assert_true(waits() == UINT64_MAX);
}

/* The loop's clock goes on while this runs: what is waited for can only be less. */
static void
test_it_waits_until_then_but_no_longer_than_a_minute(void **state)
{
    (void)state;
    wall_timer_set(timer, NOW + 3600);
    assert_in_range(waits(), 0, 60);
    wall_timer_set(timer, NOW + 30);
    assert_in_range(waits(), 0, 30);
}

static void
test_the_earlier_time_counts(void **state)
{
    (void)state;
    wall_timer_set(timer, NOW + 10);
    wall_timer_set(timer, NOW + 50);
    wall_timer_set(timer, WALL_TIMER_NEVER);
    assert_in_range(waits(), 0, 10);
}

static void
test_what_is_over_is_due_and_it_can_be_set_again(void **state)
{
    (void)state;
    wall_timer_set(timer, NOW - 100);
    while (uv_run(&loop, UV_RUN_ONCE) != 0)
        ;
    assert_int_equal(dues, 1);
    wall_timer_set(timer, NOW - 100);
    while (uv_run(&loop, UV_RUN_ONCE) != 0)
        ;
    assert_int_equal(dues, 2);
}

static void
test_one_that_is_freed_is_not_due(void **state)
{
    (void)state;
    wall_timer_set(timer, NOW - 100);
    wall_timer_free(timer);
    timer = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(dues, 0);
    wall_timer_set(timer, NOW);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_is_not_set_at_first_nor_for_what_never_comes, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_it_waits_until_then_but_no_longer_than_a_minute, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_the_earlier_time_counts, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_over_is_due_and_it_can_be_set_again, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_one_that_is_freed_is_not_due, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
