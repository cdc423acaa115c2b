/* Each allocation of each step fails once: the machine says so, leaks nothing, and never takes the
 * failure for the peer's fault or for consent. */
#include <stdio.h>

#include "tests/support/handshake_scene.h"

static struct scene recorded;

static const struct scene_options OPTIONS = {.confirm = true,
                                             .context = "a trip",
                                             .trace = SCENE_TRACE,
                                             .restrictions = "{\"rate_limit\":\"1/s\"}"};

static ath_err
call(struct scene *scene, int step, struct json **ret_m7)
{
    struct why why = {{0}};

    switch (step) {
    case 0:
        return scene_client_start(scene, &why);
    case 1:
        return scene_server_accept(scene, recorded.m[1], &why);
    case 6:
        return scene_user_answer(scene, recorded.m[6], ret_m7);
    case 3:
    case 5:
    case 7:
        return scene_server_receive(scene, recorded.m[step]);
    default:
        return scene_client_receive(scene, recorded.m[step]);
    }
}

/* false: the step ran through without the armed failure. */
static bool
step_fails(int step, unsigned nth)
{
    struct scene_options options = OPTIONS;
    struct json *m7 = NULL;
    struct scene scene;
    bool happened;
    ath_err err;

    options.grant = recorded.grant;
    scene_init(&scene, &options);
    scene.recorded = &recorded;
    scene.allocations_fail = true;
    if (step > 0)
        scene_replay_receiver(&scene, step);
    fail_allocation(nth);
    err = call(&scene, step, &m7);
    happened = fail_allocation_happened();
    fail_allocation(0);
    if (!happened) {
        assert_int_equal(err, ATH_OK);
        assert_int_not_equal(scene.need.kind, HANDSHAKE_NEED_FAILED);
    } else if (err != ATH_ERR_NOMEM) {
        /* where nothing depends on it (a sentence, a gate's entry), the step goes on */
        if (err != ATH_OK || scene.need.kind == HANDSHAKE_NEED_FAILED)
            fail_msg("step %d, allocation %u: %s, need %d %s", step, nth, ath_err_reason(err),
                     (int)scene.need.kind, ath_err_reason(scene.need.err));
    } else if (scene.need.send_count != 0 || scene.need.confirm != NULL) {
        fail_msg("step %d, allocation %u: something to send in spite of the failure", step, nth);
    }
    json_free(m7);
    scene_done(&scene);
    return happened;
}

static void
fail_each(int step)
{
    unsigned nth = 1;

    while (step_fails(step, nth))
        nth++;
    assert_true(nth > 10); /* there was something to fail */
}

#define TEST_STEP(name, step)                                                                      \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        fail_each(step);                                                                           \
    }

TEST_STEP(test_starting_survives_each_failed_allocation, 0)
TEST_STEP(test_m1_survives_each_failed_allocation, 1)
TEST_STEP(test_m2_survives_each_failed_allocation, 2)
TEST_STEP(test_m3_survives_each_failed_allocation, 3)
TEST_STEP(test_m4_survives_each_failed_allocation, 4)
TEST_STEP(test_m5_survives_each_failed_allocation, 5)
TEST_STEP(test_m6_survives_each_failed_allocation, 6)
TEST_STEP(test_m7_survives_each_failed_allocation, 7)
TEST_STEP(test_m8_survives_each_failed_allocation, 8)
TEST_STEP(test_m9_survives_each_failed_allocation, 9)

static int
record(void **state)
{
    (void)state;
    scene_init(&recorded, &OPTIONS);
    scene_run(&recorded, 10);
    return 0;
}

static int
forget(void **state)
{
    (void)state;
    scene_done(&recorded);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starting_survives_each_failed_allocation),
        cmocka_unit_test(test_m1_survives_each_failed_allocation),
        cmocka_unit_test(test_m2_survives_each_failed_allocation),
        cmocka_unit_test(test_m3_survives_each_failed_allocation),
        cmocka_unit_test(test_m4_survives_each_failed_allocation),
        cmocka_unit_test(test_m5_survives_each_failed_allocation),
        cmocka_unit_test(test_m6_survives_each_failed_allocation),
        cmocka_unit_test(test_m7_survives_each_failed_allocation),
        cmocka_unit_test(test_m8_survives_each_failed_allocation),
        cmocka_unit_test(test_m9_survives_each_failed_allocation),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, record, forget);
}
