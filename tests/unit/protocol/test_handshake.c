/* Whole handshakes: the client's machine against the server's, and the user's where it is asked. */
#include "protocol/handshake.h"

#include "protocol/handshake_message.h"
#include "protocol/jwe.h"
#include "protocol/protocol_limits.h"
#include "tests/support/handshake_scene.h"

static void
assert_session_works(struct handshake_result *client, struct handshake_result *server)
{
    struct jwe_channel at_client = {0}, at_server = {0};
    struct ath_buf jwe = {0}, plain = {0};
    struct why why = {{0}};
    uint32_t seq = 9;
    int64_t re = 9;

    assert_string_equal(client->keys.sid, server->keys.sid);
    jwe_channel_init(&at_client, &client->keys, JWE_CLIENT);
    jwe_channel_init(&at_server, &server->keys, JWE_SERVER);
    assert_int_equal(jwe_seal(&at_client, ath_slice_of_string("hello"), -1, &jwe), ATH_OK);
    assert_int_equal(jwe_open(&at_server, ath_buf_slice(&jwe), &why, &plain, &seq, &re), ATH_OK);
    assert_true(ath_slice_is(ath_buf_slice(&plain), "hello"));
    ath_buf_clear(&jwe);
    ath_buf_clear(&plain);
    assert_int_equal(jwe_seal(&at_server, ath_slice_of_string("there"), 0, &jwe), ATH_OK);
    assert_int_equal(jwe_open(&at_client, ath_buf_slice(&jwe), &why, &plain, &seq, &re), ATH_OK);
    assert_int_equal(re, 0);
    ath_buf_done(&jwe);
    ath_buf_done(&plain);
    jwe_channel_done(&at_client);
    jwe_channel_done(&at_server);
}

static void
assert_results_agree(struct scene *scene)
{
    struct handshake_result client = {0}, server = {0};

    handshake_client_take_result(scene->c, &client);
    handshake_server_take_result(scene->s, &server);
    assert_string_equal(client.peer_did, scene->server.did);
    assert_string_equal(server.peer_did, scene->client.did);
    assert_string_equal(client.user_did, scene->user.did);
    assert_string_equal(server.user_did, scene->user.did);
    assert_true(scope_list_equal(&client.scopes.granted, &server.scopes.granted));
    assert_int_equal(client.scopes.denied_count, server.scopes.denied_count);
    assert_int_equal(client.expires_at, server.expires_at);
    assert_memory_equal(client.transcript, server.transcript, SHA256_LEN);
    assert_memory_equal(client.t5, server.t5, SHA256_LEN);
    assert_true(
        ath_slice_equal(ath_buf_slice(&client.access_token), ath_buf_slice(&server.access_token)));
    assert_session_works(&client, &server);
    handshake_result_done(&client);
    handshake_result_done(&server);
}

static void
test_client_and_server_agree_without_confirmation(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 10);
    assert_string_equal(handshake_client_state(scene.c), "done");
    assert_string_equal(handshake_server_state(scene.s), "done");
    assert_int_equal(scene.client_signatures, 2);
    assert_int_equal(scene.server_signatures, 2);
    assert_null(json_get(scene.m[8], "confirmation"));
    assert_results_agree(&scene);
    scene_done(&scene);
}

static void
test_client_server_and_user_agree_with_confirmation(void **state)
{
    struct scene_options options = {
        .confirm = true, .context = "a trip to Lisbon", .trace = SCENE_TRACE};
    struct confirmation_view view;
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 6);
    assert_string_equal(handshake_server_state(scene.s), "confirm");
    scene_run(&scene, 7);
    confirmation_view(scene.asked, &view);
    assert_string_equal(view.context, "a trip to Lisbon");
    assert_string_equal(view.client_name, "Travel agent");
    assert_string_equal(view.client_did, scene.client.did);
    assert_int_equal(view.ttl, 600);
    assert_string_equal(json_get_string(scene.m[6], "traceparent"), SCENE_TRACE);
    scene_run(&scene, 10);
    assert_int_equal(scene.server_signatures, 3);
    assert_int_equal(scene.user_signatures, 1);
    assert_non_null(json_get_string(scene.m[8], "confirmation"));
    assert_results_agree(&scene);
    scene_done(&scene);
}

static void
test_p384_and_ed25519_keys_complete_a_handshake(void **state)
{
    struct scene_options options = {.confirm = true,
                                    .client_kind = TEST_KEY_P384,
                                    .server_kind = TEST_KEY_ED25519,
                                    .user_kind = TEST_KEY_P384};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 10);
    assert_results_agree(&scene);
    scene_done(&scene);
}

static const char *
denied_reason(const struct json *m8, const char *scope)
{
    const struct json *denied = json_get(m8, "scopes_denied");

    for (const struct json *item = json_first(denied); item != NULL; item = json_next(item)) {
        if (strcmp(json_get_string(item, "scope"), scope) == 0)
            return json_get_string(item, "reason");
    }
    return "not denied";
}

static void
test_granted_is_the_intersection_and_each_denial_has_its_reason(void **state)
{
    struct scene_options options = {.confirm = true,
                                    .requested = "files:write mail:send mail:read files:read",
                                    .granted = "mail:read mail:send files:write",
                                    .allowed = "mail:read mail:send files:read"};
    struct scope_list approve = scene_scopes("mail:read");
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene.approve = &approve;
    scene_run(&scene, 10);
    assert_int_equal(json_count(json_get(scene.m[6], "requested_scopes")), 2);
    assert_int_equal(json_count(json_get(scene.m[8], "scopes_granted")), 1);
    assert_string_equal(denied_reason(scene.m[8], "files:write"), "server_policy");
    assert_string_equal(denied_reason(scene.m[8], "files:read"), "user_grant");
    assert_string_equal(denied_reason(scene.m[8], "mail:send"), "user_confirmation");
    assert_results_agree(&scene);
    scene_done(&scene);
    scope_list_done(&approve);
}

static void
assert_ttl_granted(const struct scene_options *options, int64_t expected)
{
    struct scene scene;
    int64_t ttl = 0;

    scene_init(&scene, options);
    scene_run(&scene, 10);
    assert_true(json_get_int(scene.m[8], "ttl_granted", &ttl));
    assert_int_equal(ttl, expected);
    scene_done(&scene);
}

static void
test_ttl_is_the_least_of_what_limits_it(void **state)
{
    (void)state;
    assert_ttl_granted(&(struct scene_options){.ttl = 3600, .token_max_ttl = 3600}, 3600);
    assert_ttl_granted(&(struct scene_options){.ttl = 3600, .token_max_ttl = 700}, 700);
    assert_ttl_granted(&(struct scene_options){.ttl = 30}, 30);
    assert_ttl_granted(&(struct scene_options){.grant_ttl = 45}, 45);
    assert_ttl_granted(&(struct scene_options){.confirm = true, .ttl = 120}, 120);
}

static void
test_ttl_ends_with_the_users_confirmation(void **state)
{
    struct scene_options options = {.confirm = true, .ttl = 200};
    struct scene scene;
    int64_t ttl = 0;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 7);
    scene.now += 50; /* the answer was made 50 s ago */
    scene_run(&scene, 8);
    assert_true(json_get_int(scene.m[8], "ttl_granted", &ttl));
    assert_int_equal(ttl, 150);
    scene_done(&scene);
}

static void
test_restrictions_are_in_scope_result_and_in_the_token(void **state)
{
    struct scene_options options = {.restrictions = "{\"rate_limit\":\"100/minute\"}"};
    struct handshake_result client = {0}, server = {0};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 10);
    handshake_client_take_result(scene.c, &client);
    handshake_server_take_result(scene.s, &server);
    assert_string_equal(json_get_string(client.restrictions, "rate_limit"), "100/minute");
    assert_true(json_equal(client.restrictions, server.restrictions));
    handshake_result_done(&client);
    handshake_result_done(&server);
    scene_done(&scene);
}

/* The server's refusal by M8, and what the client makes of it. */
static void
assert_refused_by_m8(struct scene *scene, const struct json *last, ath_err err)
{
    struct json *m8;

    assert_int_equal(scene_server_receive(scene, last), ATH_OK);
    assert_refused(scene, err);
    assert_true(scene->need.refused_by_message);
    assert_int_equal(scene->need.send_count, 1);
    m8 = json_clone(scene->need.send[0]);
    assert_int_equal(json_count(json_get(m8, "scopes_granted")), 0);
    assert_int_equal(scene_client_receive(scene, m8), ATH_OK);
    assert_refused(scene, err);
    assert_false(scene->need.refused_by_message);
    json_free(scene->m[8]);
    scene->m[8] = m8;
}

static void
test_empty_intersection_is_answered_by_m8_without_m9(void **state)
{
    struct scene_options options = {.granted = "files:read", .confirm = true};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 5);
    assert_refused_by_m8(&scene, scene.m[5], ATH_ERR_SCOPE_NOT_APPROVED);
    assert_string_equal(denied_reason(scene.m[8], "files:read"), "server_policy");
    scene_done(&scene);
}

static void
test_users_no_reaches_the_client_as_user_denied(void **state)
{
    struct scene_options options = {.confirm = true};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene.user_says_no = true;
    scene_run(&scene, 7);
    assert_false(json_is_true(json_get(scene.m[7], "approved")));
    assert_refused_by_m8(&scene, scene.m[7], ATH_ERR_USER_DENIED);
    assert_non_null(json_get_string(scene.m[8], "confirmation"));
    assert_string_equal(denied_reason(scene.m[8], "mail:read"), "user_confirmation");
    scene_done(&scene);
}

static void
forget_messages(struct scene *scene)
{
    for (int i = 1; i <= 9; i++) {
        json_free(scene->m[i]);
        scene->m[i] = NULL;
    }
}

static void
test_after_a_no_the_next_question_is_rate_limited(void **state)
{
    struct scene_options options = {.confirm = true};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene.user_says_no = true;
    scene_run(&scene, 7);
    assert_int_equal(scene_server_receive(&scene, scene.m[7]), ATH_OK);
    forget_messages(&scene);
    scene.now += 59;
    scene_run(&scene, 5);
    assert_refused_by_m8(&scene, scene.m[5], ATH_ERR_RATE_LIMITED);
    forget_messages(&scene);
    scene.now += 1;
    scene.user_says_no = false;
    scene_run(&scene, 10);
    assert_results_agree(&scene);
    scene_done(&scene);
}

static void
test_first_contact_asks_for_trust_and_goes_on(void **state)
{
    struct scene_options options = {.origin = "https://mail.example"};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 2);
    assert_string_equal(json_get_string(scene.m[1], "audience"), "https://mail.example");
    assert_int_equal(scene_client_receive(&scene, scene.m[2]), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_TRUST);
    assert_string_equal(handshake_client_server_did(scene.c), scene.server.did);
    assert_int_equal(handshake_client_deadline(scene.c), scene.now + FIRST_CONTACT_LIFE_S);
    assert_int_equal(handshake_client_receive(scene.c, scene.m[2], scene.now, &scene.need),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(handshake_client_trusted(scene.c, true, scene.now, &scene.need), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_SIGNATURE);
    scene_done(&scene);
}

static void
test_distrust_and_late_trust_end_the_handshake(void **state)
{
    struct scene_options options = {.origin = "https://mail.example"};
    struct scene scene;

    (void)state;
    for (int late = 0; late < 2; late++) {
        scene_init(&scene, &options);
        scene_run(&scene, 2);
        assert_int_equal(scene_client_receive(&scene, scene.m[2]), ATH_OK);
        assert_int_equal(handshake_client_trusted(scene.c, late != 0,
                                                  scene.now + (late != 0 ? 51 : 0), &scene.need),
                         ATH_OK);
        assert_refused(&scene, late != 0 ? ATH_ERR_HANDSHAKE_TIMEOUT : ATH_ERR_USER_DENIED);
        assert_string_equal(handshake_client_state(scene.c), "failed");
        scene_done(&scene);
    }
}

static void
test_grant_is_asked_for_after_m2_and_checked(void **state)
{
    struct scene_options options = {.no_credential = true};
    struct json *foreign;
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 2);
    assert_int_equal(scene_client_receive(&scene, scene.m[2]), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_GRANT);
    assert_null(handshake_client_user_did(scene.c));
    assert_int_equal(handshake_client_grant(scene.c, scene.grant, scene.now, &scene.need), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_SIGNATURE);
    assert_string_equal(handshake_client_user_did(scene.c), scene.user.did);
    scene_done(&scene);

    scene_init(&scene, &options);
    scene_run(&scene, 2);
    assert_int_equal(scene_client_receive(&scene, scene.m[2]), ATH_OK);
    foreign = scene_make_grant(&scene.user, scene.user.did, scene.server.did, "mail:read",
                               SCENE_NOW, SCENE_NOW + 60);
    assert_int_equal(handshake_client_grant(scene.c, foreign, scene.now, &scene.need), ATH_OK);
    assert_refused(&scene, ATH_ERR_INVALID_CREDENTIAL);
    json_free(foreign);
    scene_done(&scene);
}

/* The M1 that came back is what the server looks at before it spends a signature. */
static void
assert_proof_holds(const struct scene *scene, const struct json *m1)
{
    struct handshake_server_config config = {.service = scene->service,
                                             .server_did = scene->server.did,
                                             .server_key = scene->server.key,
                                             .gate = scene->gate};
    struct handshake_hello hello = {0};
    struct why why = {{0}};

    assert_int_equal(handshake_server_hello(&config, m1, scene->now, &why, &hello), ATH_OK);
    assert_true(hello.has_proof);
    assert_string_equal(hello.cookie, json_get_string(m1, "cookie"));
    assert_int_equal(handshake_hello_check_proof(&hello), ATH_OK);
    json_set_string(hello.message, "nonce", "another-nonce-of-22-ch");
    assert_int_equal(handshake_hello_check_proof(&hello), ATH_ERR_INVALID_SIGNATURE);
    handshake_hello_done(&hello);
}

static void
test_retry_is_followed_with_cookie_and_proof(void **state)
{
    struct cookie_jar *jar = NULL;
    struct json *retry = NULL;
    struct scene scene;
    bool proof = false;

    (void)state;
    scene_init(&scene, NULL);
    assert_int_equal(cookie_jar_new(&jar), ATH_OK);
    scene_run(&scene, 1);
    assert_int_equal(
        cookie_jar_retry(jar, scene.client.did, "10.0.0.1", true, 7, scene.now, &retry), ATH_OK);
    assert_int_equal(scene_client_receive(&scene, retry), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_SEND);
    assert_int_equal(scene.need.wait_s, 7);
    assert_int_equal(scene.client_signatures, 1);
    assert_string_not_equal(json_get_string(scene.need.send[0], "nonce"),
                            json_get_string(scene.m[1], "nonce"));
    json_free(scene.m[1]); /* the transcript begins with the M1 that M2 answers */
    scene.m[1] = json_clone(scene.need.send[0]);
    scene.now += 7;
    assert_int_equal(cookie_jar_redeem(jar, json_get_string(scene.m[1], "cookie"),
                                       scene.client.did, "10.0.0.1", scene.now, &proof),
                     ATH_OK);
    assert_true(proof);
    assert_proof_holds(&scene, scene.m[1]);
    scene_run(&scene, 10);
    assert_results_agree(&scene);
    json_free(retry);
    cookie_jar_free(jar);
    scene_done(&scene);
}

static void
test_the_version_we_have_is_found_among_others(void **state)
{
    struct scene scene;
    struct why why = {{0}};

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 1);
    json_set_json(scene.m[1], "versions", "[\"0.10\",\"0.9\",\"0.1\"]");
    assert_int_equal(scene_server_accept(&scene, scene.m[1], &why), ATH_OK);
    assert_string_equal(json_get_string(scene.need.send[0], "version"), "0.1");
    scene_done(&scene);
}

/* ---- repetition ---- */

static void
assert_repeated(const struct scene *scene, const struct json *message)
{
    assert_true(scene->need.repeated);
    assert_int_equal(scene->need.send_count, 1);
    assert_true(json_equal(scene->need.send[0], message));
}

static void
test_last_message_come_twice_gets_the_same_answer_without_a_signature(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene.random = true; /* an answer made anew would differ */
    scene_run(&scene, 2);
    assert_int_equal(scene_server_receive(&scene, scene.m[1]), ATH_OK);
    assert_repeated(&scene, scene.m[2]);
    scene_run(&scene, 3);
    assert_int_equal(scene_client_receive(&scene, scene.m[2]), ATH_OK);
    assert_repeated(&scene, scene.m[3]);
    scene_run(&scene, 4);
    assert_int_equal(scene_server_receive(&scene, scene.m[3]), ATH_OK);
    assert_repeated(&scene, scene.m[4]);
    scene_run(&scene, 5);
    assert_int_equal(scene_client_receive(&scene, scene.m[4]), ATH_OK);
    assert_repeated(&scene, scene.m[5]);
    scene_run(&scene, 6);
    assert_int_equal(scene_server_receive(&scene, scene.m[5]), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_DONE);
    assert_true(scene.need.repeated);
    assert_true(json_equal(scene.need.send[0], scene.m[8]));
    assert_true(json_equal(scene.need.send[1], scene.m[9]));
    scene_run(&scene, 10);
    assert_int_equal(scene_client_receive(&scene, scene.m[9]), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_DONE);
    assert_true(scene.need.repeated);
    assert_int_equal(scene.client_signatures, 2);
    assert_int_equal(scene.server_signatures, 2);
    scene_done(&scene);
}

static void
test_repeated_m5_and_m7_get_their_answers_while_and_after_the_user_is_asked(void **state)
{
    struct scene_options options = {.confirm = true};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 7);
    assert_int_equal(scene_server_receive(&scene, scene.m[5]), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_CONFIRM);
    assert_true(scene.need.repeated);
    assert_true(json_equal(scene.need.confirm, scene.m[6]));
    scene_run(&scene, 8);
    assert_int_equal(scene_server_receive(&scene, scene.m[7]), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_DONE);
    assert_true(scene.need.repeated);
    assert_int_equal(scene_server_receive(&scene, scene.m[5]), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_DONE);
    assert_true(json_equal(scene.need.send[1], scene.m[9]));
    scene_done(&scene);
}

static void
test_a_repetition_with_other_order_of_members_is_the_same_message(void **state)
{
    struct ath_buf text = {0};
    struct json *message;
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 4);
    json_canonical(scene.m[3], &text);
    message = scene_json(ath_buf_text(&text));
    assert_int_equal(scene_server_receive(&scene, message), ATH_OK);
    assert_repeated(&scene, scene.m[4]);
    json_free(message);
    ath_buf_done(&text);
    scene_done(&scene);
}

static void
test_a_repeated_refusal_is_the_same_refusal(void **state)
{
    struct json *m4;
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 3);
    json_set_string(scene.m[3], "extra", "not signed");
    assert_int_equal(scene_server_receive(&scene, scene.m[3]), ATH_OK);
    assert_refused(&scene, ATH_ERR_INVALID_SIGNATURE);
    m4 = json_clone(scene.need.send[0]);
    assert_int_equal(scene_server_receive(&scene, scene.m[3]), ATH_OK);
    assert_refused(&scene, ATH_ERR_INVALID_SIGNATURE);
    assert_repeated(&scene, m4);
    json_free(m4);
    scene_done(&scene);
}

/* ---- time ---- */

static void
test_half_open_handshake_lives_60_s(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 3);
    assert_true(handshake_server_is_half_open(scene.s));
    assert_int_equal(handshake_server_deadline(scene.s), scene.now + 60);
    scene.now += 61;
    assert_int_equal(scene_server_receive(&scene, scene.m[3]), ATH_OK);
    assert_refused(&scene, ATH_ERR_HANDSHAKE_TIMEOUT);
    assert_int_equal(handshake_server_deadline(scene.s), 0);
    scene_done(&scene);
}

static void
test_handshake_lives_120_s_and_the_users_time_does_not_count(void **state)
{
    struct scene_options options = {.confirm = true};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 4);
    assert_false(handshake_server_is_half_open(scene.s));
    assert_int_equal(handshake_server_deadline(scene.s), scene.now + 120);
    scene_run(&scene, 6);
    assert_int_equal(handshake_server_deadline(scene.s), scene.now + 120 + CONFIRMATION_LIFE_S);
    assert_int_equal(handshake_client_deadline(scene.c), scene.now + 120 + 600);
    scene.now += CONFIRMATION_LIFE_S - 1;
    scene_run(&scene, 10);
    assert_results_agree(&scene);
    scene_done(&scene);

    scene_init(&scene, NULL);
    scene_run(&scene, 5);
    scene.now += 121;
    assert_true(handshake_server_is_expired(scene.s, scene.now));
    assert_int_equal(scene_server_receive(&scene, scene.m[5]), ATH_OK);
    assert_refused(&scene, ATH_ERR_HANDSHAKE_TIMEOUT);
    scene_done(&scene);
}

static void
test_client_gives_up_after_120_s(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 8);
    scene.now += 121;
    assert_int_equal(scene_client_receive(&scene, scene.m[8]), ATH_OK);
    assert_refused(&scene, ATH_ERR_HANDSHAKE_TIMEOUT);
    scene_done(&scene);
}

static void
test_signature_that_comes_too_late_is_not_used(void **state)
{
    struct scene_options options = {.origin = "https://mail.example"};
    uint8_t signature[64] = {1};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 2);
    assert_int_equal(scene_client_receive(&scene, scene.m[2]), ATH_OK);
    assert_int_equal(handshake_client_trusted(scene.c, true, scene.now, &scene.need), ATH_OK);
    handshake_need_done(&scene.need);
    assert_int_equal(handshake_client_signed(scene.c, ath_slice_of(signature, sizeof(signature)),
                                             scene.now + 121, &scene.need),
                     ATH_OK);
    assert_refused(&scene, ATH_ERR_HANDSHAKE_TIMEOUT);
    scene_done(&scene);
}

/* ---- calls that do not fit ---- */

static void
test_calls_that_do_not_fit_the_state_change_nothing(void **state)
{
    uint8_t signature[64] = {1};
    struct ath_slice made = ath_slice_of(signature, sizeof(signature));
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 3);
    handshake_need_done(&scene.need);
    assert_int_equal(handshake_client_signed(scene.c, made, scene.now, &scene.need),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(handshake_server_signed(scene.s, made, scene.now, &scene.need),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(handshake_client_trusted(scene.c, true, scene.now, &scene.need),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(handshake_client_grant(scene.c, scene.grant, scene.now, &scene.need),
                     ATH_ERR_INVALID_PARAMS);
    scene_run(&scene, 10);
    assert_results_agree(&scene);
    scene_done(&scene);
}

static void
test_start_refuses_what_cannot_work(void **state)
{
    static const struct scene_options WRONG[] = {
        {.origin = "https://mail.example/"}, {.origin = "http://mail.example"}, {.ttl = 3601},
        {.ttl = -1},                         {.trace = "00-not-a-trace"},
    };
    struct why why = {{0}};
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        scene_init(&scene, &WRONG[i]);
        assert_int_equal(scene_client_start(&scene, &why), ATH_ERR_INVALID_PARAMS);
        assert_true(why.text[0] != '\0');
        scene_done(&scene);
    }
}

static void
test_abort_ends_both_machines(void **state)
{
    struct scene_options options = {.confirm = true};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 7);
    handshake_client_fail(scene.c, ATH_ERR_USER_DENIED, "aborted");
    handshake_server_fail(scene.s, ATH_ERR_POLICY_DENIED, NULL);
    assert_string_equal(handshake_client_state(scene.c), "failed");
    assert_string_equal(handshake_server_state(scene.s), "failed");
    assert_int_equal(scene_server_receive(&scene, scene.m[7]), ATH_OK);
    assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
    assert_int_equal(scene_server_receive(&scene, scene.m[5]), ATH_OK);
    assert_refused(&scene, ATH_ERR_POLICY_DENIED); /* what came of the last message */
    forget_messages(&scene);
    scene_run(&scene, 10); /* an abort is no refusal by the user: no pause */
    assert_results_agree(&scene);
    scene_done(&scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_and_server_agree_without_confirmation),
        cmocka_unit_test(test_client_server_and_user_agree_with_confirmation),
        cmocka_unit_test(test_p384_and_ed25519_keys_complete_a_handshake),
        cmocka_unit_test(test_granted_is_the_intersection_and_each_denial_has_its_reason),
        cmocka_unit_test(test_ttl_is_the_least_of_what_limits_it),
        cmocka_unit_test(test_ttl_ends_with_the_users_confirmation),
        cmocka_unit_test(test_restrictions_are_in_scope_result_and_in_the_token),
        cmocka_unit_test(test_empty_intersection_is_answered_by_m8_without_m9),
        cmocka_unit_test(test_users_no_reaches_the_client_as_user_denied),
        cmocka_unit_test(test_after_a_no_the_next_question_is_rate_limited),
        cmocka_unit_test(test_first_contact_asks_for_trust_and_goes_on),
        cmocka_unit_test(test_distrust_and_late_trust_end_the_handshake),
        cmocka_unit_test(test_grant_is_asked_for_after_m2_and_checked),
        cmocka_unit_test(test_retry_is_followed_with_cookie_and_proof),
        cmocka_unit_test(test_the_version_we_have_is_found_among_others),
        cmocka_unit_test(test_last_message_come_twice_gets_the_same_answer_without_a_signature),
        cmocka_unit_test(test_repeated_m5_and_m7_get_their_answers_while_and_after_the_user_is_asked),
        cmocka_unit_test(test_a_repetition_with_other_order_of_members_is_the_same_message),
        cmocka_unit_test(test_a_repeated_refusal_is_the_same_refusal),
        cmocka_unit_test(test_half_open_handshake_lives_60_s),
        cmocka_unit_test(test_handshake_lives_120_s_and_the_users_time_does_not_count),
        cmocka_unit_test(test_client_gives_up_after_120_s),
        cmocka_unit_test(test_signature_that_comes_too_late_is_not_used),
        cmocka_unit_test(test_calls_that_do_not_fit_the_state_change_nothing),
        cmocka_unit_test(test_start_refuses_what_cannot_work),
        cmocka_unit_test(test_abort_ends_both_machines),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
