/* M6s of a server whose signature holds, each with one thing in it that must not be shown to a
 * person (profile section 5, step 6). */
#include "protocol/confirmation.h"

#include "tests/support/handshake_scene.h"

static const struct scene_options CONFIRMED = {.confirm = true};

/* What the user's side, which polled this server, says to M6 when signer has signed it again. */
static ath_err
open_question(const struct scene *scene, const struct party *signer, const char *polled)
{
    struct confirmation *confirmation = NULL;
    struct why why = {{0}};
    uint8_t t0[SHA256_LEN];
    ath_err err;

    transcript_start(t0);
    scene_sign_message(signer, "confirmation-request", t0, scene->m[6], NULL, "signature");
    err = confirmation_open(scene->m[6], scene->user.did, scene->user.key, polled, NULL, scene->now,
                            &why, &confirmation);
    confirmation_free(confirmation);
    return err;
}

static void
test_times_of_a_question_are_checked_one_by_one(void **state)
{
    static const struct {
        int64_t timestamp, expires_at; /* from now */
        ath_err err;
    } cases[] = {
        {0, 0, ATH_OK},
        {300, 400, ATH_OK},
        {301, 400, ATH_ERR_TIMESTAMP_SKEW},
        {100, 50, ATH_ERR_TIMESTAMP_SKEW},
        {-100000, -99400, ATH_ERR_TIMESTAMP_SKEW},
        {-600, 0, ATH_OK},
        {-600, 1, ATH_ERR_TIMESTAMP_SKEW},
        {-1, -1, ATH_ERR_TIMESTAMP_SKEW},
    };
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 6);
        json_set_int(scene.m[6], "timestamp", scene.now + cases[i].timestamp);
        json_set_int(scene.m[6], "expires_at", scene.now + cases[i].expires_at);
        assert_int_equal(open_question(&scene, &scene.server, scene.server.did), cases[i].err);
        scene_done(&scene);
    }
}

static void
test_question_of_a_server_that_was_not_polled_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    assert_int_equal(open_question(&scene, &scene.server, scene.server.did), ATH_OK);
    assert_int_equal(open_question(&scene, &scene.server, NULL), ATH_OK);
    assert_int_equal(open_question(&scene, &scene.server, "did:ath:other"), ATH_ERR_UNKNOWN_PEER);
    scene_done(&scene);
}

/* Whoever has seen M5 asks in the server's name with a key of his own. */
static void
test_question_in_the_servers_name_by_another_key_is_refused(void **state)
{
    struct ath_buf pem = {0};
    struct party mallory;
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    party_init(&mallory, DID_SERVER, TEST_KEY_P256, "mallory");
    public_key_put_pem(mallory.key, &pem);
    json_set_string(scene.m[6], "server_pubkey", ath_buf_text(&pem));
    assert_int_equal(open_question(&scene, &mallory, scene.server.did), ATH_ERR_UNKNOWN_PEER);
    ath_buf_done(&pem);
    party_done(&mallory);
    scene_done(&scene);
}

/* A client's signature has no batch form, and M6 is no way around that. */
static void
test_question_with_an_m5_signed_as_one_of_many_is_refused(void **state)
{
    struct json_maker m6 = {0};
    struct json *m5;
    const char *signature;
    uint8_t t[SHA256_LEN];
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    scene_transcript(&scene, 4, t);
    m5 = message_without(scene.m[5], "user_authorization", "signature");
    assert_non_null(m5);
    scene_sign_batch(&scene.client, "scope-request", t, m5, 1, 2);
    signature = json_get_string(m5, "signature");
    json_set_string(json_get_mutable(m5, "user_authorization"), "signature", signature);
    json_remove(m5, "signature");
    assert_int_equal(transcript_add(t, m5), ATH_OK);
    m6.root = scene.m[6];
    json_put_take(&m6, "scope_request", m5);
    json_put_base64url(&m6, "handshake", ath_slice_of(t, sizeof(t)));
    assert_int_equal(m6.err, ATH_OK);
    assert_int_equal(open_question(&scene, &scene.server, scene.server.did),
                     ATH_ERR_INVALID_SIGNATURE);
    scene_done(&scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_of_a_question_are_checked_one_by_one),
        cmocka_unit_test(test_question_of_a_server_that_was_not_polled_is_refused),
        cmocka_unit_test(test_question_in_the_servers_name_by_another_key_is_refused),
        cmocka_unit_test(test_question_with_an_m5_signed_as_one_of_many_is_refused),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
