/* What the access token of step 9 may not say, and who may not be its user. */
#include "protocol/jwt.h"

#include "tests/support/handshake_scene.h"

static void
put_not_before(struct json_maker *claims, const void *ctx)
{
    json_put_int(claims, "nbf", *(const int64_t *)ctx);
}

/* The client's answer to an M9 whose token is not valid before this time. */
static void
receive_m9(struct scene *scene, int64_t not_before)
{
    struct json *m9;

    scene_init(scene, NULL);
    scene_run(scene, 9);
    assert_int_equal(scene_client_receive(scene, scene->m[8]), ATH_OK);
    m9 = scene_forge_complete(scene, scene->m[8], put_not_before, &not_before);
    assert_int_equal(scene_client_receive(scene, m9), ATH_OK);
    json_free(m9);
}

static void
test_token_that_is_not_valid_for_long_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    receive_m9(&scene, SCENE_NOW + 301);
    assert_refused(&scene, ATH_ERR_INVALID_CREDENTIAL);
    scene_done(&scene);
    receive_m9(&scene, SCENE_NOW + 300);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_DONE);
    scene_done(&scene);
}

static void
name_another_server(struct json_maker *claims, const void *ctx)
{
    json_put_string(claims, "iss", ctx);
    json_put_string(claims, "aud", ctx);
}

static void
test_token_that_names_another_server_than_m2_is_refused(void **state)
{
    struct ath_buf did_key = {0};
    struct scene scene;
    struct json *m9;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 9);
    assert_int_equal(scene_client_receive(&scene, scene.m[8]), ATH_OK);
    /* the same key, under another of its names */
    assert_int_equal(public_key_did_key(scene.server.key, &did_key), ATH_OK);
    m9 = scene_forge_complete(&scene, scene.m[8], name_another_server, ath_buf_text(&did_key));
    assert_int_equal(scene_client_receive(&scene, m9), ATH_OK);
    assert_refused(&scene, ATH_ERR_INVALID_CREDENTIAL);
    json_free(m9);
    ath_buf_done(&did_key);
    scene_done(&scene);
}

static void
test_refusal_that_grants_time_is_refused(void **state)
{
    static const char text[] =
        "{\"type\":\"scope_result\",\"scopes_granted\":[],\"scopes_denied\":[],\"ttl_granted\":1,"
        "\"error\":{\"code\":\"SCOPE_NOT_APPROVED\",\"message\":\"no\"},\"timestamp\":1790000000}";
    struct json *m8 = scene_json(text);
    struct scene scene;

    (void)state;
    for (int ttl = 1; ttl >= 0; ttl--) {
        scene_init(&scene, NULL);
        scene_run(&scene, 5);
        json_set_int(m8, "ttl_granted", ttl);
        assert_int_equal(scene_client_receive(&scene, m8), ATH_OK);
        assert_refused(&scene, ttl != 0 ? ATH_ERR_INVALID_MESSAGE : ATH_ERR_SCOPE_NOT_APPROVED);
        scene_done(&scene);
    }
    json_free(m8);
}

static void
test_client_grants_nothing_to_itself(void **state)
{
    struct scene_options options = {0};
    struct party twin; /* the client's key in a user's role */
    struct why why = {{0}};
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    party_init(&twin, DID_USER, TEST_KEY_P256, "client");
    assert_true(public_key_equal(twin.key, scene.client.key));
    options.grant =
        scene_make_grant(&twin, scene.client.did, NULL, "mail:read", SCENE_NOW, SCENE_NOW + 60);
    scene_done(&scene);
    scene_init(&scene, &options);
    assert_int_equal(scene_client_start(&scene, &why), ATH_ERR_INVALID_CREDENTIAL);
    json_free(options.grant);
    party_done(&twin);
    scene_done(&scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_that_names_another_server_than_m2_is_refused),
        cmocka_unit_test(test_refusal_that_grants_time_is_refused),
        cmocka_unit_test(test_client_grants_nothing_to_itself),
        cmocka_unit_test(test_token_that_is_not_valid_for_long_is_refused),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
