/* Calls put off to the loop's next turn and to the end of this one. */
#include "athd/deferred.h"

#include "tests/support/support.h"

static uv_loop_t loop;
static struct deferred_queue queue;
static unsigned ran, turns_seen;
static struct deferred other;

static int
set_up(void **state)
{
    (void)state;
    ran = turns_seen = 0;
    other = (struct deferred){0};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(deferred_queue_init(&queue, &loop), ATH_OK);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    deferred_queue_close(&queue);
    deferred_queue_close(&queue); /* again is fine */
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    return uv_loop_close(&loop);
}

static void
count(void *ctx)
{
    (void)ctx;
    ran++;
}

static void
count_and_add_another(void *ctx)
{
    (void)ctx;
    ran++;
    deferred_add_at_end(&queue, &other, count, NULL);
}

static void
add_at_end_of_turn(void *ctx)
{
    turns_seen++;
    deferred_add_at_end(&queue, ctx, count, NULL);
}

static void
on_timer(uv_timer_t *timer)
{
    add_at_end_of_turn(timer->data);
}

static void
test_what_was_added_outside_of_a_turn_runs_once_in_the_next(void **state)
{
    struct deferred deferred = {0};

    (void)state;
    deferred_add_at_end(&queue, &deferred, count, NULL);
    assert_int_equal(ran, 0);
    assert_true(deferred.waiting);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(ran, 1);
    assert_false(deferred.waiting);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(ran, 1);
}

/* A loop that waits for sockets must not do so with bytes unwritten. */
static void
test_what_timers_and_deferred_calls_add_runs_before_the_loop_waits(void **state)
{
    struct deferred first = {0}, second = {0}, third = {0};
    uv_timer_t timer;

    (void)state;
    assert_int_equal(uv_timer_init(&loop, &timer), 0);
    timer.data = &first;
    assert_int_equal(uv_timer_start(&timer, on_timer, 0, 0), 0);
    deferred_add(&queue, &second, add_at_end_of_turn, &third);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(turns_seen, 2);
    assert_int_equal(ran, 2);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void
test_what_is_added_at_the_end_of_a_turn_is_of_the_same_turn(void **state)
{
    struct deferred deferred = {0};

    (void)state;
    deferred_add_at_end(&queue, &deferred, count_and_add_another, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(ran, 2);
}

static void
test_what_was_removed_does_not_run(void **state)
{
    struct deferred deferred[3] = {{0}};

    (void)state;
    for (int i = 0; i < 3; i++)
        deferred_add_at_end(&queue, &deferred[i], count, NULL);
    deferred_remove(&queue, &deferred[1]);
    deferred_remove(&queue, &deferred[1]); /* not waiting: fine */
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(ran, 2);
    deferred_add_at_end(&queue, &deferred[0], count, NULL);
    deferred_remove(&queue, &deferred[0]);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing keeps the loop alive */
    assert_int_equal(ran, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_added_outside_of_a_turn_runs_once_in_the_next,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_what_timers_and_deferred_calls_add_runs_before_the_loop_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_added_at_the_end_of_a_turn_is_of_the_same_turn,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_removed_does_not_run, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
