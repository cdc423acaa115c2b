/* M1, M3, M5 or M7, changed, to the server. What the sender did not sign is not accepted; what it did
 * sign gives no more than user, service and request allow. */
#include "tests/fuzz/overlay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
assert_within(const struct json *granted, const char *allowed)
{
    struct scope_list list = scene_scopes(allowed);

    for (const struct json *item = json_first(granted); item != NULL; item = json_next(item))
        assert(scope_list_has(&list, json_string(item)));
    scope_list_done(&list);
}

static void
assert_limits(const struct scene *scene)
{
    const struct json *m8 = scene->need.send[0];
    int64_t ttl = 0;

    assert(scene->need.send_count == 2);
    assert_within(json_get(m8, "scopes_granted"), "mail:read files:read"); /* the user */
    assert_within(json_get(m8, "scopes_granted"), "mail:read mail:send");  /* the service */
    assert(json_get_int(m8, "ttl_granted", &ttl) && ttl >= 1 && ttl <= 900);
}

static void
deliver(struct scene *scene, int step, const struct json *changed, bool resigned)
{
    bool same = json_equal(changed, scene->m[step]);
    struct why why = {{0}};

    if (step == 1) {
        if (scene_server_accept(scene, changed, &why) == ATH_OK)
            assert(scene->need.kind == HANDSHAKE_NEED_SEND);
        return;
    }
    assert(scene_server_receive(scene, changed) == ATH_OK);
    if (!same && !resigned)
        assert(scene->need.kind == HANDSHAKE_NEED_FAILED);
    if (scene->need.kind == HANDSHAKE_NEED_FAILED)
        assert(scene->need.err != ATH_OK && scene->need.why.text[0] != '\0');
    if (scene->need.kind == HANDSHAKE_NEED_DONE)
        assert_limits(scene);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int STEPS[] = {1, 3, 5, 7};
    struct json *changed, *honest;
    struct scene scene;
    bool resign;
    int step;

    if (size < 1)
        return 0;
    step = STEPS[data[0] & 3];
    resign = (data[0] & FLAG_RESIGN) != 0 && (data[0] & FLAG_RAW) == 0 && step != 1;
    overlay_scene(&scene, (struct scene_options){
                              .confirm = step == 7 || (data[0] & FLAG_OTHER) != 0});
    scene_run(&scene, step);
    changed = overlay(scene.m[step], data[0], ath_slice_of(data + 1, size - 1));
    if (changed != NULL && resign) {
        honest = scene.m[step];
        scene.m[step] = changed;
        if (step != 5 || json_is_object(json_get(changed, "user_authorization")))
            scene_resign(&scene, step);
        scene.m[step] = honest;
    }
    if (changed != NULL)
        deliver(&scene, step, changed, resign);
    json_free(changed);
    scene_done(&scene);
    return 0;
}
