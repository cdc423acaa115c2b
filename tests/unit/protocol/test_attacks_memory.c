/* What a stranger writes into a message costs the server its text at most: unknown members are part
 * of what is signed, but a tree of them may take forty times the room (profile section 1: 65,536
 * bytes a message, nothing said of what is in its arrays). */
#include "protocol/handshake_server.h"

#include <malloc.h>

#include "protocol/protocol_limits.h"
#include "tests/support/handshake_scene.h"

#if defined(__SANITIZE_ADDRESS__)
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

#define FILLER_LEN 60000u

static size_t
allocated(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return __sanitizer_get_current_allocated_bytes();
#else
    return mallinfo2().uordblks;
#endif
}

/* M5 with as many nodes as its length allows, signed by the client. */
static void
fill_scope_request(struct scene *scene)
{
    struct ath_buf array = {.max = FILLER_LEN + 2};
    uint8_t t[SHA256_LEN];

    ath_buf_put_string(&array, "[0");
    while (array.len < FILLER_LEN)
        ath_buf_put_string(&array, ",0");
    ath_buf_put_byte(&array, ']');
    json_set_json(scene->m[5], "extra", ath_buf_text(&array));
    scene_transcript(scene, 4, t);
    scene_sign_message(&scene->client, "scope-request", t, scene->m[5], "user_authorization",
                       "signature");
    ath_buf_done(&array);
}

static size_t
growth_by_scope_request(const struct scene_options *options, enum handshake_need_kind expected)
{
    struct scene scene;
    size_t before, after;

    scene_init(&scene, options);
    scene_run(&scene, 5);
    fill_scope_request(&scene);
    handshake_need_done(&scene.need);
    before = allocated();
    assert_int_equal(scene_server_receive(&scene, scene.m[5]), ATH_OK);
    assert_int_equal(scene.need.kind, expected);
    handshake_need_done(&scene.need);
    after = allocated();
    scene_done(&scene);
    return after > before ? after - before : 0;
}

static void
test_filled_m5_leaves_nothing_behind_where_no_user_is_asked(void **state)
{
    (void)state;
    assert_in_range(growth_by_scope_request(NULL, HANDSHAKE_NEED_DONE), 0, 65536);
}

static void
test_filled_m5_leaves_its_text_behind_while_the_user_is_asked(void **state)
{
    struct scene_options options = {.confirm = true};

    (void)state;
    assert_in_range(growth_by_scope_request(&options, HANDSHAKE_NEED_CONFIRM), 0, 4 * 65536);
}

static void
test_filled_m6_is_repeated_byte_for_byte(void **state)
{
    struct scene_options options = {.confirm = true};
    struct ath_buf first = {.max = MESSAGE_MAX_LEN}, again = {.max = MESSAGE_MAX_LEN};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 5);
    fill_scope_request(&scene);
    assert_int_equal(scene_server_receive(&scene, scene.m[5]), ATH_OK);
    json_write(scene.need.confirm, &first);
    assert_int_equal(scene_server_receive(&scene, scene.m[5]), ATH_OK);
    assert_true(scene.need.repeated);
    json_write(scene.need.confirm, &again);
    assert_int_equal(again.err, ATH_OK);
    assert_true(ath_slice_equal(ath_buf_slice(&first), ath_buf_slice(&again)));
    ath_buf_done(&first);
    ath_buf_done(&again);
    scene_done(&scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filled_m5_leaves_nothing_behind_where_no_user_is_asked),
        cmocka_unit_test(test_filled_m5_leaves_its_text_behind_while_the_user_is_asked),
        cmocka_unit_test(test_filled_m6_is_repeated_byte_for_byte),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
