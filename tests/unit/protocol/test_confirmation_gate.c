/* One open M6 a user and client; pauses after refusal or silence. */
#include <stdio.h>

#include "protocol/confirmation.h"
#include "protocol/protocol_limits.h"
#include "tests/support/support.h"

#define ALICE "did:ath:alice"
#define BOB "did:ath:bob"
#define AGENT "did:ath:agent"
#define OTHER "did:ath:other"

static struct confirmation_gate *
new_gate(void)
{
    struct confirmation_gate *gate = NULL;

    assert_int_equal(confirmation_gate_new(&gate), ATH_OK);
    return gate;
}

static void
assert_opens(struct confirmation_gate *gate, const char *user, const char *client, int64_t now)
{
    int64_t retry_after = -1;

    assert_int_equal(confirmation_gate_open(gate, user, client, now, now + 300, &retry_after),
                     ATH_OK);
}

static void
assert_waits(struct confirmation_gate *gate, const char *user, const char *client, int64_t now,
             int64_t expected)
{
    int64_t retry_after = -1;

    assert_int_equal(confirmation_gate_open(gate, user, client, now, now + 300, &retry_after),
                     ATH_ERR_RATE_LIMITED);
    assert_int_equal(retry_after, expected);
}

static void
test_one_question_a_user_and_client_is_open(void **state)
{
    struct confirmation_gate *gate = new_gate();

    (void)state;
    assert_opens(gate, ALICE, AGENT, 1000);
    assert_waits(gate, ALICE, AGENT, 1010, 291);
    assert_opens(gate, BOB, AGENT, 1010);
    assert_opens(gate, ALICE, OTHER, 1010);
    confirmation_gate_close(gate, ALICE, AGENT, 1300, 1020, CONFIRMATION_APPROVED);
    assert_opens(gate, ALICE, AGENT, 1020);
    confirmation_gate_free(gate);
}

static void
test_pauses_double_up_to_an_hour_and_a_yes_ends_them(void **state)
{
    static const int64_t PAUSES[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    struct confirmation_gate *gate = new_gate();
    int64_t now = 1000;

    (void)state;
    for (size_t i = 0; i < sizeof(PAUSES) / sizeof(PAUSES[0]); i++) {
        assert_opens(gate, ALICE, AGENT, now);
        confirmation_gate_close(gate, ALICE, AGENT, now + 300, now, CONFIRMATION_REFUSED);
        assert_waits(gate, ALICE, AGENT, now, PAUSES[i]);
        assert_waits(gate, ALICE, AGENT, now + PAUSES[i] - 1, 1);
        now += PAUSES[i];
    }
    assert_opens(gate, ALICE, AGENT, now);
    confirmation_gate_close(gate, ALICE, AGENT, now + 300, now, CONFIRMATION_APPROVED);
    assert_opens(gate, ALICE, AGENT, now);
    confirmation_gate_close(gate, ALICE, AGENT, now + 300, now, CONFIRMATION_REFUSED);
    assert_waits(gate, ALICE, AGENT, now, 60);
    confirmation_gate_free(gate);
}

static void
test_silence_is_a_refusal_from_the_moment_the_question_expired(void **state)
{
    struct confirmation_gate *gate = new_gate();

    (void)state;
    assert_opens(gate, ALICE, AGENT, 1000);
    assert_waits(gate, ALICE, AGENT, 1300, 1);
    assert_waits(gate, ALICE, AGENT, 1301, 59);
    assert_opens(gate, ALICE, AGENT, 1360);
    /* a yes that comes after the end is silence too */
    confirmation_gate_close(gate, ALICE, AGENT, 1660, 1661, CONFIRMATION_APPROVED);
    assert_waits(gate, ALICE, AGENT, 1661, 119);
    confirmation_gate_free(gate);
}

static void
test_a_void_question_leaves_no_pause(void **state)
{
    struct confirmation_gate *gate = new_gate();

    (void)state;
    assert_opens(gate, ALICE, AGENT, 1000);
    confirmation_gate_close(gate, ALICE, AGENT, 1300, 1000, CONFIRMATION_VOID);
    assert_opens(gate, ALICE, AGENT, 1000);
    /* none open: nothing */
    confirmation_gate_close(gate, ALICE, OTHER, 1300, 1000, CONFIRMATION_REFUSED);
    assert_opens(gate, ALICE, OTHER, 1000);
    confirmation_gate_free(gate);
}

static void
test_memory_is_bounded_and_forgets_what_is_over(void **state)
{
    struct confirmation_gate *gate = new_gate();
    char client[64];
    int64_t retry_after = 0;

    (void)state;
    for (unsigned i = 0; i < CONFIRMATIONS_REMEMBERED; i++) {
        snprintf(client, sizeof(client), "did:ath:client-%u", i);
        assert_int_equal(confirmation_gate_open(gate, ALICE, client, 1000, 1300, &retry_after),
                         ATH_OK);
    }
    assert_int_equal(confirmation_gate_open(gate, BOB, AGENT, 1000, 1300, &retry_after),
                     ATH_ERR_LIMIT_EXCEEDED);
    assert_opens(gate, BOB, AGENT, 1300 + 60 + 3600 + 1);
    confirmation_gate_free(gate);
}

static ath_err
open_and_close(void *ctx)
{
    struct confirmation_gate *gate = NULL;
    int64_t retry_after = 0;
    ath_err err;

    (void)ctx;
    if ((err = confirmation_gate_new(&gate)) != ATH_OK)
        return err;
    err = confirmation_gate_open(gate, ALICE, AGENT, 1000, 1300, &retry_after);
    confirmation_gate_close(gate, ALICE, AGENT, 1300, 1000, CONFIRMATION_APPROVED);
    confirmation_gate_free(gate);
    return err;
}

static void
test_each_allocation_may_fail(void **state)
{
    (void)state;
    each_allocation_failing(open_and_close, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_question_a_user_and_client_is_open),
        cmocka_unit_test(test_pauses_double_up_to_an_hour_and_a_yes_ends_them),
        cmocka_unit_test(test_silence_is_a_refusal_from_the_moment_the_question_expired),
        cmocka_unit_test(test_a_void_question_leaves_no_pause),
        cmocka_unit_test(test_memory_is_bounded_and_forgets_what_is_over),
        cmocka_unit_test(test_each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
