#include "tests/support/support.h"

#include "athd/hsm_queue.h"

#define ITEMS 64

static struct hsm_queue queue;
static struct hsm_queue_item items[ITEMS];

static struct hsm_queue_item *
push(size_t i, uint64_t identity, unsigned priority)
{
    items[i] = (struct hsm_queue_item){.identity = identity, .priority = priority};
    hsm_queue_push(&queue, &items[i]);
    return &items[i];
}

static void
assert_order(const size_t *order, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++)
        assert_ptr_equal(hsm_queue_pop(&queue), &items[order[i]]);
    assert_null(hsm_queue_pop(&queue));
    assert_int_equal(queue.len, 0);
}

static int
begin(void **state)
{
    (void)state;
    hsm_queue_init(&queue);
    return 0;
}

static void
test_one_caller_is_served_in_order(void **state)
{
    (void)state;
    push(0, 7, 1);
    push(1, 7, 1);
    push(2, 7, 1);
    assert_int_equal(hsm_queue_len_of(&queue, 7), 3);
    assert_order((const size_t[]){0, 1, 2}, 3);
}

static void
test_a_caller_with_many_does_not_hold_up_one_with_few(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < 10; i++)
        push(i, 1, 1);
    push(10, 2, 1);
    push(11, 3, 1);
    push(12, 3, 1);
    assert_order((const size_t[]){0, 10, 11, 1, 12, 2, 3, 4, 5, 6, 7, 8, 9}, 13);
}

static void
test_urgent_goes_before_normal_before_late(void **state)
{
    (void)state;
    push(0, 1, 2);
    push(1, 1, 1);
    push(2, 1, 0);
    push(3, 2, 0);
    push(4, 2, 2);
    assert_order((const size_t[]){2, 3, 1, 0, 4}, 5);
}

static void
test_no_stream_of_normal_ones_stops_the_late_ones(void **state)
{
    size_t i;

    (void)state;
    push(0, 9, 2);
    push(1, 9, 2);
    for (i = 2; i < 12; i++)
        push(i, i, 1);
    push(12, 8, 0); /* what is urgent still goes before any of them */
    assert_order((const size_t[]){12, 2, 3, 4, 0, 5, 6, 7, 1, 8, 9, 10, 11}, 13);
}

static void
test_no_stream_of_urgent_ones_stops_the_others(void **state)
{
    size_t i;

    (void)state;
    push(0, 9, 1);
    push(1, 9, 2);
    for (i = 2; i < 20; i++)
        push(i, 1, 0);
    assert_order((const size_t[]){2,  3,  4,  5,  6,  7,  8,  0,  9, 10,
                                  11, 12, 13, 14, 15, 1,  16, 17, 18, 19},
                 20);
}

/* What is told before must be what comes: nothing new joins meanwhile. */
static void
test_what_goes_before_a_late_one_is_known_and_others_many_are_not_all_of_it(void **state)
{
    unsigned ahead;
    size_t i;

    (void)state;
    assert_int_equal(hsm_queue_ahead_of_late(&queue, 9), 0);
    for (i = 0; i < 60; i++)
        push(i, 1 + i % 2, i < 20 ? 2 : i < 50 ? 1 : 0);
    ahead = hsm_queue_ahead_of_late(&queue, 9);
    assert_in_range(ahead, 2, 30);
    push(60, 9, 2);
    for (i = 0; hsm_queue_pop(&queue) != &items[60]; i++)
        assert_true(i < ahead);
    assert_int_equal(hsm_queue_ahead_of_late(&queue, 1) > hsm_queue_ahead_of_late(&queue, 9), 1);
}

static void
test_what_is_repeated_goes_first(void **state)
{
    (void)state;
    push(0, 1, 1);
    push(1, 2, 1);
    push(2, 1, 1);
    items[3] = (struct hsm_queue_item){.identity = 1, .priority = 1};
    hsm_queue_push_front(&queue, &items[3]);
    items[4] = (struct hsm_queue_item){.identity = 9, .priority = 1};
    hsm_queue_push_front(&queue, &items[4]);
    assert_int_equal(hsm_queue_len_of(&queue, 1), 3);
    assert_int_equal(queue.len, 5);
    assert_order((const size_t[]){4, 3, 1, 0, 2}, 5);
}

static void
test_heads_and_followers_can_be_removed(void **state)
{
    (void)state;
    push(0, 1, 1);
    push(1, 1, 1);
    push(2, 1, 1);
    push(3, 2, 1);
    hsm_queue_remove(&queue, &items[0]); /* a head: the next takes its place */
    hsm_queue_remove(&queue, &items[2]); /* a follower */
    assert_int_equal(hsm_queue_len_of(&queue, 1), 1);
    assert_order((const size_t[]){1, 3}, 2);
}

static void
count_and_remove(void *ctx, struct hsm_queue_item *item)
{
    ++*(unsigned *)ctx;
    if (item->identity == 1)
        hsm_queue_remove(&queue, item);
}

static void
test_each_may_remove_what_it_is_called_with(void **state)
{
    unsigned count = 0;
    size_t i;

    (void)state;
    for (i = 0; i < 12; i++)
        push(i, i % 3, (unsigned)(i % 2));
    hsm_queue_each(&queue, count_and_remove, &count);
    assert_int_equal(count, 12);
    assert_int_equal(queue.len, 8);
    assert_int_equal(hsm_queue_len_of(&queue, 1), 0);
}

/* Against a model that is too simple to be wrong: every pop gives the caller who waited longest. */
static void
test_no_caller_is_ever_passed_over_twice(void **state)
{
    unsigned seed = 12345, round, last_served[5] = {0}, turn = 1;
    struct hsm_queue_item *item;
    uint64_t identity, other;

    (void)state;
    for (round = 0; round < ITEMS; round++) {
        seed = seed * 1103515245u + 12345u;
        push(round, (seed >> 16) % 5, 1);
    }
    while ((item = hsm_queue_pop(&queue)) != NULL) {
        identity = item->identity;
        for (other = 0; other < 5; other++)
            if (hsm_queue_len_of(&queue, other) > 0 && last_served[identity] != 0)
                assert_true(last_served[other] >= last_served[identity] || other == identity);
        last_served[identity] = turn++;
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_one_caller_is_served_in_order, begin),
        cmocka_unit_test_setup(test_a_caller_with_many_does_not_hold_up_one_with_few, begin),
        cmocka_unit_test_setup(test_urgent_goes_before_normal_before_late, begin),
        cmocka_unit_test_setup(test_no_stream_of_normal_ones_stops_the_late_ones, begin),
        cmocka_unit_test_setup(test_no_stream_of_urgent_ones_stops_the_others, begin),
        cmocka_unit_test_setup(
            test_what_goes_before_a_late_one_is_known_and_others_many_are_not_all_of_it, begin),
        cmocka_unit_test_setup(test_what_is_repeated_goes_first, begin),
        cmocka_unit_test_setup(test_heads_and_followers_can_be_removed, begin),
        cmocka_unit_test_setup(test_each_may_remove_what_it_is_called_with, begin),
        cmocka_unit_test_setup(test_no_caller_is_ever_passed_over_twice, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
