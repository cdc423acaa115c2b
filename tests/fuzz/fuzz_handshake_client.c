/* M2, M4, M8 or M9, changed, to the client; with FLAG_OTHER, M9's overlay is over the token's claims,
 * and M2's is over a handshake_retry. Whatever the server signs, the client ends up with no more than
 * it asked for and was granted. */
#include "tests/fuzz/overlay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char RETRY[] =
    "{\"type\":\"handshake_retry\",\"cookie\":\"0123456789012345678901\",\"proof\":true,"
    "\"retry_after\":1,\"timestamp\":1790000000}";

static void
edit_claims(struct json_maker *claims, const void *ctx)
{
    overlay_members(claims->root, ctx, 0);
}

static void
assert_limits(struct scene *scene)
{
    struct handshake_result result = {0};

    handshake_client_take_result(scene->c, &result);
    assert(scope_list_is_subset(&result.scopes.granted, &scene->requested));
    assert(result.expires_at > SCENE_NOW && result.expires_at <= SCENE_NOW + 300 + 600);
    assert(strcmp(result.peer_did, scene->server.did) == 0);
    assert(strcmp(result.user_did, scene->user.did) == 0);
    assert(result.access_token.len > 0);
    handshake_result_done(&result);
}

/* M9 for an M8 that the client took. */
static void
finish(struct scene *scene, const struct json *m8)
{
    struct json *m9;

    if (scene->need.kind != HANDSHAKE_NEED_SEND)
        return;
    m9 = scene_forge_complete(scene, m8, NULL, NULL);
    assert(scene_client_receive(scene, m9) == ATH_OK);
    if (scene->need.kind == HANDSHAKE_NEED_DONE)
        assert_limits(scene);
    json_free(m9);
}

static void
deliver(struct scene *scene, int step, struct json *changed, bool resigned)
{
    bool same = json_equal(changed, scene->m[step]);

    assert(scene_client_receive(scene, changed) == ATH_OK);
    if (!same && !resigned && (step == 2 || step == 9) &&
        handshake_message_type(changed) != MESSAGE_HANDSHAKE_RETRY)
        assert(scene->need.kind == HANDSHAKE_NEED_FAILED);
    if (scene->need.kind == HANDSHAKE_NEED_FAILED)
        assert(scene->need.err != ATH_OK && scene->need.why.text[0] != '\0');
    if (scene->need.kind == HANDSHAKE_NEED_DONE)
        assert_limits(scene);
    if (step == 8)
        finish(scene, changed);
}

/* What FLAG_OTHER makes of the step; NULL: nothing. */
static struct json *
other_message(struct scene *scene, int step, unsigned flags, struct ath_slice text)
{
    struct json *base = scene_json(step == 2 ? RETRY : "{}"), *patch, *message = NULL;

    patch = overlay(base, flags & ~(unsigned)FLAG_RAW, text);
    if (patch != NULL && step == 2) {
        message = patch;
        patch = NULL;
    } else if (patch != NULL && step == 9) {
        message = scene_forge_complete(scene, scene->m[8], edit_claims, patch);
    }
    json_free(patch);
    json_free(base);
    return message;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int STEPS[] = {2, 4, 8, 9};
    struct ath_slice text;
    struct json *changed, *honest;
    struct scene scene;
    bool other, resign;
    int step;

    if (size < 1)
        return 0;
    step = STEPS[data[0] & 3];
    other = (data[0] & FLAG_OTHER) != 0 && (step == 2 || step == 9);
    resign = (data[0] & FLAG_RESIGN) != 0 && (data[0] & FLAG_RAW) == 0 && step == 2;
    text = ath_slice_of(data + 1, size - 1);
    overlay_scene(&scene, (struct scene_options){.restrictions = "{\"rate_limit\":\"1/s\"}"});
    scene_run(&scene, step >= 8 ? 9 : step);
    if (step == 9)
        assert(scene_client_receive(&scene, scene.m[8]) == ATH_OK);
    changed = other ? other_message(&scene, step, data[0], text)
                    : overlay(scene.m[step], data[0], text);
    if (changed != NULL && resign && !other) {
        honest = scene.m[step];
        scene.m[step] = changed;
        scene_resign(&scene, step);
        scene.m[step] = honest;
    }
    if (changed != NULL)
        deliver(&scene, step, changed, resign || other);
    json_free(changed);
    scene_done(&scene);
    return 0;
}
