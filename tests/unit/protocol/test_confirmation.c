/* Steps 6 and 7 at the user's side: what a server may ask, and what it may not. */
#include "protocol/confirmation.h"

#include "base/base64url.h"
#include "protocol/handshake_message.h"
#include "protocol/protocol_limits.h"
#include "tests/support/bad_input.h"
#include "tests/support/handshake_scene.h"

static const struct scene_options CONFIRMED = {.confirm = true, .context = "a trip"};

/* A member of M6 set by the server, which signs it. */
struct attack {
    const char *member, *value; /* JSON text; NULL: removed */
    ath_err expected;
};

static void
change(struct json *message, const struct attack *attack)
{
    if (attack->value == NULL)
        json_remove(message, attack->member);
    else
        json_set_json(message, attack->member, attack->value);
}

static void
run_attack(const struct attack *attack)
{
    struct scene scene;

    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    change(scene.m[6], attack);
    scene_resign(&scene, 6);
    assert_step_refused(&scene, 6, attack->expected);
    scene_done(&scene);
}

#define OTHER_43 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void
test_m6_that_asks_for_something_else_than_the_client_did_is_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        {"requested_scopes", "[\"mail:read\",\"files:write\"]", ATH_ERR_SCOPE_NOT_APPROVED},
        {"requested_scopes", "[]", ATH_ERR_INVALID_MESSAGE},
        {"ttl", "601", ATH_ERR_INVALID_MESSAGE},
        {"ttl", "0", ATH_ERR_INVALID_MESSAGE},
        {"context", "\"something harmless\"", ATH_ERR_INVALID_MESSAGE},
        {"context", NULL, ATH_ERR_INVALID_MESSAGE},
        {"handshake", "\"" OTHER_43 "\"", ATH_ERR_INVALID_MESSAGE},
        {"handshake", "\"AAAA\"", ATH_ERR_INVALID_MESSAGE},
        {"transcript", "\"" OTHER_43 "\"", ATH_ERR_INVALID_SIGNATURE},
        {"scope_request", "{}", ATH_ERR_INVALID_MESSAGE},
        {"scope_request", "null", ATH_ERR_INVALID_MESSAGE},
        {"scope_request", NULL, ATH_ERR_INVALID_MESSAGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(ATTACKS) / sizeof(ATTACKS[0]); i++)
        run_attack(&ATTACKS[i]);
}

static void
test_m6_for_another_user_or_by_another_server_is_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        {"user_did", "\"did:ath:user_" OTHER_43 "\"", ATH_ERR_UNKNOWN_PEER},
        {"server_did", "\"did:ath:server_" OTHER_43 "\"", ATH_ERR_UNKNOWN_PEER},
        {"client_did", "\"did:ath:client_" OTHER_43 "\"", ATH_ERR_UNKNOWN_PEER},
        {"request_id", "\"req_AAAAAAAAAAAAAAAAAAAAAB\"", ATH_ERR_INVALID_MESSAGE},
        {"request_id", "\"AAAAAAAAAAAAAAAAAAAAAA\"", ATH_ERR_INVALID_MESSAGE},
        {"type", "\"scope_request\"", ATH_ERR_UNEXPECTED_MESSAGE},
        {"client_info", "\"me\"", ATH_ERR_INVALID_MESSAGE},
        {"client_info", "{\"name\":7}", ATH_ERR_INVALID_MESSAGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(ATTACKS) / sizeof(ATTACKS[0]); i++)
        run_attack(&ATTACKS[i]);
    for (size_t i = 0; BAD_KEYS[i] != NULL; i++) {
        struct scene scene;

        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 6);
        json_set_string(scene.m[6], i % 2 == 0 ? "server_pubkey" : "client_pubkey", BAD_KEYS[i]);
        scene_resign(&scene, 6);
        assert_step_refused(&scene, 6, ATH_ERR_INVALID_PUBLIC_KEY);
        scene_done(&scene);
    }
}

/* Mallory's own service relays what a client asked the honest server. */
static void
test_m6_of_a_relay_is_refused(void **state)
{
    struct ath_buf pem = {0};
    struct party mallory, honest;
    struct json *m7 = NULL;
    struct why why = {{0}};
    struct scene scene;

    (void)state;
    for (int polled = 0; polled < 2; polled++) {
        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 6);
        party_init(&mallory, DID_SERVER, TEST_KEY_P256, "mallory");
        ath_buf_clear(&pem);
        public_key_put_pem(mallory.key, &pem);
        json_set_string(scene.m[6], "server_did", mallory.did);
        json_set_string(scene.m[6], "server_pubkey", ath_buf_text(&pem));
        honest = scene.server;
        scene.server = mallory;
        scene_resign(&scene, 6);
        scene.server = honest;
        /* polled at the honest server; then the user believes to talk to Mallory's own */
        assert_int_equal(confirmation_open(scene.m[6], scene.user.did, scene.user.key,
                                           polled != 0 ? mallory.did : scene.server.did, NULL,
                                           scene.now, &why, &scene.asked),
                         ATH_ERR_UNKNOWN_PEER);
        assert_null(m7);
        party_done(&mallory);
        scene_done(&scene);
    }
    ath_buf_done(&pem);
}

static void
test_m6_that_is_not_signed_by_its_server_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    json_set_int(scene.m[6], "ttl", 599);
    assert_step_refused(&scene, 6, ATH_ERR_INVALID_SIGNATURE);
    for (size_t i = 0; BAD_SIGNATURES[i] != NULL; i++) {
        json_set_string(scene.m[6], "signature", BAD_SIGNATURES[i]);
        assert_step_refused(&scene, 6, ATH_ERR_INVALID_SIGNATURE);
    }
    scene_done(&scene);
}

/* M5 inside M6: the server cannot write what the client asked. */
static void
test_m6_with_an_altered_m5_is_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        {"scopes", "[\"mail:read\",\"files:write\"]", ATH_ERR_INVALID_SIGNATURE},
        {"ttl", "3600", ATH_ERR_INVALID_SIGNATURE},
        {"context", "\"other\"", ATH_ERR_INVALID_SIGNATURE},
        {"server_did", "\"did:ath:server_" OTHER_43 "\"", ATH_ERR_INVALID_SIGNATURE},
        {"extra", "1", ATH_ERR_INVALID_SIGNATURE},
        {"type", "\"identity_proof\"", ATH_ERR_INVALID_MESSAGE},
    };
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(ATTACKS) / sizeof(ATTACKS[0]); i++) {
        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 6);
        change(json_get_mutable(scene.m[6], "scope_request"), &ATTACKS[i]);
        scene_resign(&scene, 6);
        assert_step_refused(&scene, 6, ATTACKS[i].expected);
        scene_done(&scene);
    }
}

static void
put_hash(struct json *message, const char *member, const uint8_t t[SHA256_LEN])
{
    char text[BASE64URL_LEN(SHA256_LEN) + 1];

    base64url_encode(ath_slice_of(t, SHA256_LEN), text);
    json_set_string(message, member, text);
}

/* M6 around the present m[5], as a server makes it that has no scruples. */
static void
rebuild_m6(struct scene *scene)
{
    struct json_maker maker = {.root = scene->m[6]};
    uint8_t t[SHA256_LEN];

    json_put_copy(&maker, "scope_request", scene->m[5]);
    assert_int_equal(maker.err, ATH_OK);
    scene_transcript(scene, 4, t);
    put_hash(scene->m[6], "transcript", t);
    assert_int_equal(transcript_add(t, scene->m[5]), ATH_OK);
    put_hash(scene->m[6], "handshake", t);
    scene_resign(scene, 6);
}

static void
test_m6_with_a_foreign_or_expired_grant_is_refused(void **state)
{
    struct party mallory;
    struct scene scene;

    (void)state;
    party_init(&mallory, DID_USER, TEST_KEY_P256, "mallory");
    for (int i = 0; i < 4; i++) {
        struct json *grant;

        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 6);
        grant = scene_make_grant(i == 0 ? &mallory : &scene.user,
                                 i == 1 ? mallory.did : scene.client.did,
                                 i == 2 ? mallory.did : NULL, "mail:read", SCENE_NOW - 60,
                                 i == 3 ? SCENE_NOW : SCENE_NOW + 600);
        json_set_string(json_get_mutable(scene.m[5], "user_authorization"), "credential",
                        json_string(grant));
        scene_resign(&scene, 5);
        rebuild_m6(&scene);
        assert_step_refused(&scene, 6, ATH_ERR_INVALID_CREDENTIAL);
        json_free(grant);
        scene_done(&scene);
    }
    party_done(&mallory);
}

static void
test_m6_whose_client_asked_another_server_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    json_set_string(scene.m[5], "server_did", "did:ath:server_" OTHER_43);
    scene_resign(&scene, 5);
    rebuild_m6(&scene);
    assert_step_refused(&scene, 6, ATH_ERR_UNKNOWN_PEER);
    scene_done(&scene);
}

static void
test_parties_that_share_a_key_are_refused(void **state)
{
    static const char *const KEYS[] = {"client", "user"};
    struct ath_buf pem = {0};
    struct party thief, honest;
    struct why why = {{0}};
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 6);
        party_init(&thief, DID_SERVER, TEST_KEY_P256, KEYS[i]);
        ath_buf_clear(&pem);
        public_key_put_pem(thief.key, &pem);
        json_set_string(scene.m[6], "server_pubkey", ath_buf_text(&pem));
        json_set_string(scene.m[6], "server_did", thief.did);
        honest = scene.server;
        scene.server = thief;
        scene_resign(&scene, 6);
        scene.server = honest;
        assert_int_equal(confirmation_open(scene.m[6], scene.user.did, scene.user.key, NULL, NULL,
                                           scene.now, &why, &scene.asked),
                         ATH_ERR_INVALID_CREDENTIAL);
        party_done(&thief);
        scene_done(&scene);
    }
    ath_buf_done(&pem);
}

static void
test_m6_is_fresh_until_it_expires_however_old(void **state)
{
    struct confirmation *late = NULL;
    struct ath_buf to_sign = {0};
    struct why why = {{0}};
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    json_set_int(scene.m[6], "expires_at", SCENE_NOW + 600);
    scene_resign(&scene, 6);
    scene.now = SCENE_NOW + 600;
    assert_step_taken(&scene, 6);
    assert_int_equal(confirmation_open(scene.m[6], scene.user.did, scene.user.key, NULL, NULL,
                                       scene.now, &why, &late),
                     ATH_OK);
    assert_int_equal(confirmation_answer(late, true, NULL, scene.now + 1, &to_sign),
                     ATH_ERR_CONSENT_TIMEOUT);
    scene.now = SCENE_NOW + 601;
    assert_step_refused(&scene, 6, ATH_ERR_TIMESTAMP_SKEW);
    confirmation_free(late);
    ath_buf_done(&to_sign);
    scene_done(&scene);
}

static void
test_m6_with_impossible_times_is_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        {"expires_at", "1790000601", ATH_ERR_TIMESTAMP_SKEW}, /* more than 600 s */
        {"expires_at", "1789999999", ATH_ERR_TIMESTAMP_SKEW},
        {"timestamp", "1790000301", ATH_ERR_TIMESTAMP_SKEW}, /* from the future */
        {"expires_at", "\"never\"", ATH_ERR_INVALID_MESSAGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(ATTACKS) / sizeof(ATTACKS[0]); i++)
        run_attack(&ATTACKS[i]);
}

static void
test_m6_batch_signature_is_read(void **state)
{
    struct scene scene;
    uint8_t t[SHA256_LEN];

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    transcript_start(t);
    scene_sign_batch(&scene.server, "confirmation-request", t, scene.m[6], 4, 7);
    assert_step_taken(&scene, 6);
    scene_sign_batch(&scene.server, "server-identity", t, scene.m[6], 4, 7);
    assert_step_refused(&scene, 6, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&scene);
}

static void
test_answer_is_only_given_for_what_was_asked(void **state)
{
    struct scope_list more = scene_scopes("mail:read files:write"), nothing = {0};
    uint8_t signature[SIGNATURE_MAX_LEN] = {0};
    struct ath_buf to_sign = {0};
    struct json *m7 = NULL;
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    assert_step_taken(&scene, 6);
    assert_int_equal(confirmation_answer(scene.asked, true, &more, scene.now, &to_sign),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(confirmation_answer(scene.asked, true, &nothing, scene.now, &to_sign),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(to_sign.len, 0);
    assert_int_equal(confirmation_signed(scene.asked, ath_slice_of(signature, 64), &m7),
                     ATH_ERR_INVALID_PARAMS); /* nothing was answered since */
    assert_int_equal(confirmation_answer(scene.asked, false, &more, scene.now, &to_sign), ATH_OK);
    assert_int_equal(confirmation_signed(scene.asked, ath_slice_of(signature, 63), &m7),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(confirmation_signed(scene.asked, ath_slice_of(signature, 64), &m7), ATH_OK);
    assert_int_equal(json_count(json_get(m7, "approved_scopes")), 0);
    assert_string_equal(json_get_string(m7, "request_id"),
                        json_get_string(scene.m[6], "request_id"));
    json_free(m7);
    scope_list_done(&more);
    ath_buf_done(&to_sign);
    scene_done(&scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_m6_that_asks_for_something_else_than_the_client_did_is_refused),
        cmocka_unit_test(test_m6_for_another_user_or_by_another_server_is_refused),
        cmocka_unit_test(test_m6_of_a_relay_is_refused),
        cmocka_unit_test(test_m6_that_is_not_signed_by_its_server_is_refused),
        cmocka_unit_test(test_m6_with_an_altered_m5_is_refused),
        cmocka_unit_test(test_m6_with_a_foreign_or_expired_grant_is_refused),
        cmocka_unit_test(test_m6_whose_client_asked_another_server_is_refused),
        cmocka_unit_test(test_parties_that_share_a_key_are_refused),
        cmocka_unit_test(test_m6_is_fresh_until_it_expires_however_old),
        cmocka_unit_test(test_m6_with_impossible_times_is_refused),
        cmocka_unit_test(test_m6_batch_signature_is_read),
        cmocka_unit_test(test_answer_is_only_given_for_what_was_asked),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
