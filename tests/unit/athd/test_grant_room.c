/* A grant fills a sixteenth of its owner's tables, all grants together half of them; what is
 * forgotten by itself makes room again. */
#include "tests/support/support.h"

#include "athd/grant_room.h"
#include "protocol/protocol_limits.h"

#define NOW 1800000000
#define ROOM 1600u
#define PART (ROOM / GRANT_ROOM_PARTS)

static struct why why;

static ath_err
take(struct grant *through, size_t held, int64_t now)
{
    why.text[0] = '\0';
    return grant_room_take(through, held, ROOM, now, &why);
}

static void
fill(struct grant *through, size_t count, int64_t now)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(take(through, i, now), ATH_OK);
}

static void
test_owner_may_fill_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * PART; i++)
        assert_int_equal(take(NULL, ROOM - 1, NOW), ATH_OK);
}

static void
test_grant_gets_one_part_and_others_get_theirs(void **state)
{
    struct grant *one = grant_new_empty("one"), *other = grant_new_empty("other");

    (void)state;
    fill(one, PART, NOW);
    assert_int_equal(take(one, PART, NOW), ATH_ERR_LIMIT_EXCEEDED);
    assert_non_null(strstr(why.text, "100 of these came through the grant \"one\""));
    assert_int_equal(take(one, PART, NOW),
                     ATH_ERR_LIMIT_EXCEEDED); /* a refusal counts for nothing */
    fill(other, PART, NOW);
    assert_int_equal(take(other, PART, NOW), ATH_ERR_LIMIT_EXCEEDED);
    grant_free(one);
    grant_free(other);
}

static void
test_grants_within_it_count_for_the_outermost(void **state)
{
    struct grant *outer = grant_new_empty("outer"), *inner = grant_new_empty("inner");

    (void)state;
    inner->parent = grant_ref(outer);
    fill(inner, PART / 2, NOW);
    fill(outer, PART - PART / 2, NOW);
    assert_int_equal(take(inner, PART, NOW), ATH_ERR_LIMIT_EXCEEDED);
    assert_non_null(strstr(why.text, "\"outer\""));
    assert_int_equal(take(outer, PART, NOW), ATH_ERR_LIMIT_EXCEEDED);
    grant_free(inner);
    grant_free(outer);
}

static void
test_all_grants_together_leave_half_to_the_owner(void **state)
{
    struct grant *grant = grant_new_empty("late");

    (void)state;
    assert_int_equal(take(grant, ROOM / 2 - 1, NOW), ATH_OK);
    assert_int_equal(take(grant, ROOM / 2, NOW), ATH_ERR_LIMIT_EXCEEDED);
    assert_non_null(strstr(why.text, "the rest of the room is not for grants"));
    assert_int_equal(take(NULL, ROOM / 2, NOW), ATH_OK);
    grant_free(grant);
}

/* What was taken at the end of a window may be there until the end of the next one. */
static void
test_there_is_room_again_when_nothing_of_it_can_be_left(void **state)
{
    const int64_t window = 2 * TIMESTAMP_LEEWAY_S + 1;
    struct grant *grant = grant_new_empty("one");

    (void)state;
    assert_int_equal(take(grant, 0, NOW), ATH_OK);
    fill(grant, PART - 1, NOW + window - 1);
    assert_int_equal(take(grant, 0, NOW + window), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(take(grant, 0, NOW + 2 * window - 1), ATH_ERR_LIMIT_EXCEEDED);
    fill(grant, PART, NOW + 2 * window);
    assert_int_equal(take(grant, 0, NOW + 2 * window), ATH_ERR_LIMIT_EXCEEDED);
    fill(grant, PART, NOW + 9 * window); /* after a long pause */
    fill(grant, PART, NOW);              /* the clock went back */
    grant_free(grant);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owner_may_fill_the_table),
        cmocka_unit_test(test_grant_gets_one_part_and_others_get_theirs),
        cmocka_unit_test(test_grants_within_it_count_for_the_outermost),
        cmocka_unit_test(test_all_grants_together_leave_half_to_the_owner),
        cmocka_unit_test(test_there_is_room_again_when_nothing_of_it_can_be_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
