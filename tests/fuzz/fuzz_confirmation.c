/* M6, changed, to the user's side. FLAG_RESIGN: by the server, which signs it; with the lowest bit the
 * overlay is over M5, which the client signs, and M6 is made around that. What is shown is never more
 * than a client did ask for, and M7 is always one that the server's machine can read. */
#include "tests/fuzz/overlay.h"

#include "base/base64url.h"
#include "protocol/confirmation.h"
#include "protocol/handshake_decode.h"

#define FLAG_INNER 1

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
put_hash(struct json *message, const char *member, const uint8_t t[SHA256_LEN])
{
    struct json_maker maker = {.root = message};

    json_put_base64url(&maker, member, ath_slice_of(t, SHA256_LEN));
    assert(maker.err == ATH_OK);
}

/* M6 around m[5], as changed. */
static void
rebuild(struct scene *scene)
{
    struct json_maker maker = {.root = scene->m[6]};
    uint8_t t[SHA256_LEN];

    if (json_is_object(json_get(scene->m[5], "user_authorization")))
        scene_resign(scene, 5);
    scene_transcript(scene, 5, t);
    put_hash(scene->m[6], "handshake", t);
    json_put_copy(&maker, "scope_request", scene->m[5]);
    assert(maker.err == ATH_OK);
    scene_resign(scene, 6);
}

static void
assert_answer(struct scene *scene, struct confirmation *confirmation, bool approved)
{
    struct confirmation_response response;
    struct confirmation_view view;
    struct scope_request asked;
    struct ath_buf to_sign = {0};
    struct json *m7 = NULL;
    uint8_t signature[SIGNATURE_MAX_LEN];

    confirmation_view(confirmation, &view);
    assert(strcmp(view.user_did, scene->user.did) == 0);
    assert(scope_request_decode(json_get(scene->m[6], "scope_request"), NULL, &asked) == ATH_OK);
    assert(scope_list_is_subset(view.scopes, &asked.scopes));
    assert(view.ttl >= 1 && view.ttl <= asked.ttl && view.expires_at >= SCENE_NOW);
    assert(confirmation_answer(confirmation, approved, NULL, SCENE_NOW, &to_sign) == ATH_OK);
    assert(purpose_check(PURPOSE_USER_CONFIRMATION, DID_USER, ath_buf_slice(&to_sign)) == ATH_OK);
    assert(confirmation_signed(confirmation,
                               party_sign(&scene->user, ath_buf_slice(&to_sign), signature),
                               &m7) == ATH_OK);
    assert(handshake_message_check(m7, NULL) == ATH_OK);
    assert(confirmation_response_decode(m7, NULL, &response) == ATH_OK);
    confirmation_response_done(&response);
    scope_request_done(&asked);
    json_free(m7);
    ath_buf_done(&to_sign);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct confirmation *confirmation = NULL;
    struct json *changed, *honest;
    struct scene scene;
    struct why why = {{0}};
    bool resign;
    int step;

    if (size < 1)
        return 0;
    resign = (data[0] & FLAG_RESIGN) != 0;
    step = resign && (data[0] & FLAG_INNER) != 0 ? 5 : 6;
    overlay_scene(&scene, (struct scene_options){.confirm = true, .context = "a trip"});
    scene_run(&scene, 6);
    honest = scene.m[6];
    changed = overlay(scene.m[step], data[0], ath_slice_of(data + 1, size - 1));
    if (changed != NULL) {
        scene.m[6] = json_clone(honest);
        json_free(scene.m[step]);
        scene.m[step] = changed;
        if (step == 5)
            rebuild(&scene);
        else if (resign)
            scene_resign(&scene, 6);
        if (confirmation_open(scene.m[6], scene.user.did, scene.user.key, scene.server.did, NULL,
                              SCENE_NOW, &why, &confirmation) == ATH_OK) {
            assert(resign || json_equal(scene.m[6], honest));
            assert_answer(&scene, confirmation, (data[0] & FLAG_OTHER) == 0);
        } else {
            assert(why.text[0] != '\0');
        }
        json_free(honest);
    }
    confirmation_free(confirmation);
    scene_done(&scene);
    return 0;
}
