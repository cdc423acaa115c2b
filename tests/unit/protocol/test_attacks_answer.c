/* M7s that hold in all but one thing, each of which is the only one that is wrong; and messages
 * that come while a signature is being made. */
#include "protocol/handshake_server.h"

#include "protocol/handshake_transcript.h"
#include "protocol/protocol_limits.h"
#include "tests/support/handshake_scene.h"

static const struct scene_options CONFIRMED = {.confirm = true};

static void
sign_answer(const struct scene *scene)
{
    uint8_t u[SHA256_LEN];

    transcript_start(u);
    assert_int_equal(transcript_add(u, scene->m[6]), ATH_OK);
    scene_sign_message(&scene->user, "user-confirmation", u, scene->m[7], NULL, "signature");
}

static void
assert_answer_refused(struct scene *scene, ath_err err)
{
    assert_int_equal(scene_server_receive(scene, scene->m[7]), ATH_OK);
    assert_refused(scene, err);
}

static void
test_answer_under_another_name_of_the_users_key_is_refused(void **state)
{
    struct ath_buf did_key = {0};
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 7);
    assert_int_equal(public_key_did_key(scene.user.key, &did_key), ATH_OK);
    json_set_string(scene.m[7], "user_did", ath_buf_text(&did_key));
    sign_answer(&scene);
    assert_answer_refused(&scene, ATH_ERR_UNKNOWN_PEER);
    ath_buf_done(&did_key);
    scene_done(&scene);
}

static void
test_fresh_answer_to_a_question_that_has_expired_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    for (int late = 0; late < 2; late++) {
        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 6);
        scene.now += CONFIRMATION_LIFE_S - 100;
        scene_run(&scene, 7);
        scene.now += 100 + late;
        assert_int_equal(scene_server_receive(&scene, scene.m[7]), ATH_OK);
        if (late != 0)
            assert_refused(&scene, ATH_ERR_TIMESTAMP_SKEW);
        else
            assert_int_equal(scene.need.kind, HANDSHAKE_NEED_DONE);
        scene_done(&scene);
    }
}

static void
test_answer_of_a_clock_that_is_wrong_is_refused(void **state)
{
    static const struct {
        int64_t asked_ago, moved;
    } cases[] = {{0, -301}, {200, -301}};
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 6);
        scene.now += cases[i].asked_ago;
        scene_run(&scene, 7);
        json_set_int(scene.m[7], "timestamp", scene.now + cases[i].moved);
        json_set_int(scene.m[7], "expires_at", scene.now + cases[i].moved + 600);
        sign_answer(&scene);
        assert_answer_refused(&scene, ATH_ERR_TIMESTAMP_SKEW);
        scene_done(&scene);
    }
}

static void
test_grant_that_ends_while_the_user_is_asked_gives_nothing(void **state)
{
    struct scene_options options = {.confirm = true, .grant_ttl = 100};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 6);
    scene.now += 95;
    scene_run(&scene, 7);
    scene.now += 5;
    assert_answer_refused(&scene, ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(json_count(json_get(scene.need.send[0], "scopes_granted")), 0);
    scene_done(&scene);
}

static void
test_no_that_gives_something_all_the_same_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    for (int wrong = 0; wrong < 3; wrong++) {
        scene_init(&scene, &CONFIRMED);
        scene.user_says_no = true;
        scene_run(&scene, 7);
        if (wrong == 1)
            json_set_json(scene.m[7], "approved_scopes", "[\"mail:read\"]");
        if (wrong == 2)
            json_set_int(scene.m[7], "expires_at", scene.now + 1);
        sign_answer(&scene);
        assert_answer_refused(&scene, wrong == 0 ? ATH_ERR_USER_DENIED : ATH_ERR_INVALID_MESSAGE);
        scene_done(&scene);
    }
}

static void
test_yes_to_nothing_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 7);
    json_set_json(scene.m[7], "approved_scopes", "[]");
    sign_answer(&scene);
    assert_answer_refused(&scene, ATH_ERR_INVALID_MESSAGE);
    scene_done(&scene);
}

/* ---- while a signature is awaited ---- */

/* The server has taken m[step] and waits for a signature: the same message, and another, must wait.
 */
static void
assert_must_wait(struct scene *scene, int step)
{
    uint8_t buffer[SIGNATURE_MAX_LEN];
    struct ath_slice signature;
    struct handshake_need need = {0};

    handshake_need_done(&scene->need);
    assert_int_equal(handshake_server_receive(scene->s, scene->m[step], scene->now, &scene->need),
                     ATH_OK);
    assert_int_equal(scene->need.kind, HANDSHAKE_NEED_SIGNATURE);
    assert_int_equal(handshake_server_receive(scene->s, scene->m[step], scene->now, &need),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(handshake_server_receive(scene->s, scene->m[1], scene->now, &need),
                     ATH_ERR_INVALID_PARAMS);
    signature = party_sign(&scene->server, ath_buf_slice(&scene->need.to_sign), buffer);
    handshake_need_done(&scene->need);
    assert_int_equal(handshake_server_signed(scene->s, signature, scene->now, &scene->need),
                     ATH_OK);
}

static void
test_messages_wait_while_the_server_signs(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 5);
    assert_must_wait(&scene, 5);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_CONFIRM);
    json_free(scene.m[6]);
    scene.m[6] = json_clone(scene.need.confirm);
    scene_run(&scene, 7);
    assert_must_wait(&scene, 7);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_DONE);
    scene_done(&scene);
}

/* ---- M1's proof ---- */

static void
test_proof_of_m1_has_no_batch_form(void **state)
{
    struct handshake_server_config config = {0};
    struct handshake_hello hello = {0};
    struct why why = {{0}};
    uint8_t t0[SHA256_LEN];
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 1);
    config.service = scene.service;
    config.server_did = scene.server.did;
    config.server_key = scene.server.key;
    transcript_start(t0);
    for (int batch = 0; batch < 2; batch++) {
        if (batch != 0)
            scene_sign_batch(&scene.client, "client-hello", t0, scene.m[1], 0, 2);
        else
            scene_sign_message(&scene.client, "client-hello", t0, scene.m[1], NULL, "signature");
        json_set_string(scene.m[1], "proof", json_get_string(scene.m[1], "signature"));
        json_remove(scene.m[1], "signature");
        assert_int_equal(handshake_server_hello(&config, scene.m[1], scene.now, &why, &hello),
                         ATH_OK);
        assert_int_equal(handshake_hello_check_proof(&hello),
                         batch != 0 ? ATH_ERR_INVALID_SIGNATURE : ATH_OK);
        handshake_hello_done(&hello);
        json_remove(scene.m[1], "proof");
    }
    scene_done(&scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_under_another_name_of_the_users_key_is_refused),
        cmocka_unit_test(test_fresh_answer_to_a_question_that_has_expired_is_refused),
        cmocka_unit_test(test_answer_of_a_clock_that_is_wrong_is_refused),
        cmocka_unit_test(test_grant_that_ends_while_the_user_is_asked_gives_nothing),
        cmocka_unit_test(test_no_that_gives_something_all_the_same_is_refused),
        cmocka_unit_test(test_yes_to_nothing_is_refused),
        cmocka_unit_test(test_messages_wait_while_the_server_signs),
        cmocka_unit_test(test_proof_of_m1_has_no_batch_form),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
