/* Attacks on the user's patience: whoever may have the user asked tries to have him asked more
 * often than profile section 5, step 6 allows. */
#include "protocol/confirmation.h"

#include "tests/support/handshake_scene.h"

static const char USER[] = "did:ath:some_user", CLIENT[] = "did:ath:some_client";

static void
forget_messages(struct scene *scene)
{
    for (int i = 1; i <= 9; i++) {
        json_free(scene->m[i]);
        scene->m[i] = NULL;
    }
}

/* A second handshake right after the first: is the user asked again? */
static void
assert_next_question(struct scene *scene, bool asked)
{
    forget_messages(scene);
    scene_run(scene, 5);
    assert_int_equal(scene_server_receive(scene, scene->m[5]), ATH_OK);
    if (asked)
        assert_int_equal(scene->need.kind, HANDSHAKE_NEED_CONFIRM);
    else
        assert_refused(scene, ATH_ERR_RATE_LIMITED);
}

static struct json *
false_answer(const char *request_id)
{
    struct json *m7 = scene_json("{\"type\":\"authorization_confirmation_response\"}");

    if (request_id != NULL)
        json_set_string(m7, "request_id", request_id);
    return m7;
}

static void
test_client_that_breaks_off_while_the_user_is_asked_waits(void **state)
{
    struct scene_options options = {.confirm = true};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 6);
    assert_int_equal(scene_server_receive(&scene, scene.m[3]), ATH_OK);
    assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
    assert_next_question(&scene, false);
    scene_done(&scene);
}

static void
test_client_that_breaks_off_by_an_answer_of_its_own_waits_too(void **state)
{
    static const char *const request_ids[] = {NULL, "", "req_AAAAAAAAAAAAAAAAAAAAAA"};
    struct scene_options options = {.confirm = true};
    struct scene scene;
    struct json *m7;

    (void)state;
    for (size_t i = 0; i < sizeof(request_ids) / sizeof(request_ids[0]); i++) {
        scene_init(&scene, &options);
        scene_run(&scene, 6);
        m7 = false_answer(request_ids[i]);
        assert_int_equal(scene_server_receive(&scene, m7), ATH_OK);
        assert_int_equal(scene.need.kind, HANDSHAKE_NEED_FAILED);
        assert_next_question(&scene, false);
        json_free(m7);
        scene_done(&scene);
    }
}

static void
test_users_own_answer_that_does_not_hold_makes_nobody_wait(void **state)
{
    struct scene_options options = {.confirm = true};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 7);
    json_set_string(scene.m[7], "extra", "not signed");
    assert_int_equal(scene_server_receive(&scene, scene.m[7]), ATH_OK);
    assert_refused(&scene, ATH_ERR_INVALID_SIGNATURE);
    assert_next_question(&scene, true);
    scene_done(&scene);
}

static void
test_question_that_expired_does_not_end_the_next_one(void **state)
{
    static const enum confirmation_end ends[] = {CONFIRMATION_APPROVED, CONFIRMATION_REFUSED,
                                                 CONFIRMATION_VOID};
    struct confirmation_gate *gate;
    int64_t wait_s = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        assert_int_equal(confirmation_gate_new(&gate), ATH_OK);
        assert_int_equal(confirmation_gate_open(gate, USER, CLIENT, 0, 300, &wait_s), ATH_OK);
        assert_int_equal(confirmation_gate_open(gate, USER, CLIENT, 361, 661, &wait_s), ATH_OK);
        confirmation_gate_close(gate, USER, CLIENT, 300, 362, ends[i]);
        assert_int_equal(confirmation_gate_open(gate, USER, CLIENT, 660, 900, &wait_s),
                         ATH_ERR_RATE_LIMITED);
        assert_int_equal(wait_s, 2);
        confirmation_gate_free(gate);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_that_breaks_off_while_the_user_is_asked_waits),
        cmocka_unit_test(test_client_that_breaks_off_by_an_answer_of_its_own_waits_too),
        cmocka_unit_test(test_users_own_answer_that_does_not_hold_makes_nobody_wait),
        cmocka_unit_test(test_question_that_expired_does_not_end_the_next_one),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
