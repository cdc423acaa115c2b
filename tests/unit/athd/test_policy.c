#include "tests/support/support.h"

#include "athd/policy.h"

static void
test_owner_may_do_everything(void **state)
{
    const struct caller owner = {.uid = 1000, .pid = 5};
    const struct policy_question question = {.method = "key.create"};
    struct policy_answer answer = policy_decide(&owner, 1000, &question);

    (void)state;
    assert_int_equal(answer.verdict, POLICY_ALLOW);
    assert_non_null(answer.rule);
}

static void
test_every_other_uid_is_denied_root_included(void **state)
{
    static const uid_t others[] = {0, 1, 1001, 65534};
    const struct policy_question question = {.method = "agent.hello"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        const struct caller caller = {.uid = others[i]};
        struct policy_answer answer = policy_decide(&caller, 1000, &question);

        assert_int_equal(answer.verdict, POLICY_DENY);
        assert_non_null(answer.missing);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owner_may_do_everything),
        cmocka_unit_test(test_every_other_uid_is_denied_root_included),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
