/* What the access token of step 9 may not say, beyond the claims that name parties and scopes. */
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_that_is_not_valid_for_long_is_refused),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
