/* What a client, a user or somebody between them may try with a server: M1, M3, M5, M7. */
#include "protocol/handshake_message.h"
#include "protocol/protocol_limits.h"
#include "tests/support/bad_input.h"
#include "tests/support/handshake_scene.h"

static const struct scene_options CONFIRMED = {.confirm = true};

/* One member of m[step] set to a JSON text; the sender signs what it sends. */
struct attack {
    int step;
    const char *member; /* NULL: nothing is changed */
    const char *value;
    ath_err expected;
};

static void
run_attack(const struct scene_options *options, const struct attack *attack)
{
    struct scene scene;

    scene_init(&scene, options);
    scene_run(&scene, attack->step);
    if (attack->member != NULL)
        json_set_json(scene.m[attack->step], attack->member, attack->value);
    if (attack->step != 1)
        scene_resign(&scene, attack->step);
    assert_step_refused(&scene, attack->step, attack->expected);
    if (attack->step != 1)
        assert_string_equal(handshake_server_state(scene.s), "failed");
    scene_done(&scene);
}

static void
run_attacks(const struct scene_options *options, const struct attack *attacks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run_attack(options, &attacks[i]);
}

#define RUN(options, attacks) run_attacks(options, attacks, sizeof(attacks) / sizeof((attacks)[0]))

static void
set_and_expect(int step, const char *member, const char *text, bool resign, ath_err expected)
{
    struct scene scene;

    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, step);
    json_set_string(scene.m[step], member, text);
    if (resign)
        scene_resign(&scene, step);
    assert_step_refused(&scene, step, expected);
    scene_done(&scene);
}

/* ---- M1 ---- */

static void
test_m1_nonce_that_could_be_a_signing_oracle_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; BAD_NONCES[i] != NULL; i++)
        set_and_expect(1, "nonce", BAD_NONCES[i], false, ATH_ERR_INVALID_NONCE);
}

static void
test_m1_odd_public_keys_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; BAD_KEYS[i] != NULL; i++)
        set_and_expect(1, "client_pubkey", BAD_KEYS[i], false, ATH_ERR_INVALID_PUBLIC_KEY);
}

static void
test_m1_that_is_not_for_us_or_of_another_profile_is_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        /* relay: the client meant another server */
        {1, "audience", "\"did:ath:server_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
         ATH_ERR_UNKNOWN_PEER},
        {1, "audience", "\"https://other.example\"", ATH_ERR_UNKNOWN_PEER},
        {1, "audience", "\"https://mail.example/\"", ATH_ERR_UNKNOWN_PEER},
        {1, "audience", "\"HTTPS://mail.example\"", ATH_ERR_UNKNOWN_PEER},
        {1, "audience", "[\"https://mail.example\"]", ATH_ERR_INVALID_MESSAGE},
        /* downgrade */
        {1, "capabilities", "[\"ES256\",\"TLS1.3\"]", ATH_ERR_PROFILE_REFUSED},
        {1, "capabilities", "[]", ATH_ERR_PROFILE_REFUSED},
        {1, "capabilities", "[\"ath-tb1\"]", ATH_ERR_PROFILE_REFUSED},
        {1, "capabilities", "\"ATH-TB1\"", ATH_ERR_INVALID_MESSAGE},
        {1, "capabilities", "[\"ATH-TB1\",1]", ATH_ERR_INVALID_MESSAGE},
        {1, "versions", "[\"0.0\"]", ATH_ERR_VERSION_MISMATCH},
        {1, "versions", "[\"0.10\"]", ATH_ERR_VERSION_MISMATCH},
        {1, "versions", "[\"0.01\",\"00.1\",\"0.1 \"]", ATH_ERR_VERSION_MISMATCH},
        {1, "versions", "[]", ATH_ERR_VERSION_MISMATCH},
        {1, "type", "\"identity_proof\"", ATH_ERR_UNEXPECTED_MESSAGE},
        {1, "type", "\"nothing_known\"", ATH_ERR_UNEXPECTED_MESSAGE},
        {1, "cookie", "\"not a cookie, really not\"", ATH_ERR_INVALID_MESSAGE},
        {1, "traceparent", "\"00-XYZ\"", ATH_ERR_INVALID_MESSAGE},
    };

    (void)state;
    RUN(&CONFIRMED, ATTACKS);
}

static void
test_m1_timestamp_may_differ_by_300_s_and_no_more(void **state)
{
    static const struct {
        int64_t ahead;
        ath_err expected;
    } CASES[] = {{300, ATH_OK},
                 {-300, ATH_OK},
                 {301, ATH_ERR_TIMESTAMP_SKEW},
                 {-301, ATH_ERR_TIMESTAMP_SKEW},
                 {9007199254740991 - SCENE_NOW, ATH_ERR_TIMESTAMP_SKEW},
                 {-SCENE_NOW, ATH_ERR_TIMESTAMP_SKEW},
                 {-SCENE_NOW - 1, ATH_ERR_INVALID_MESSAGE}};
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        scene_init(&scene, NULL);
        scene_run(&scene, 1);
        json_set_int(scene.m[1], "timestamp", SCENE_NOW + CASES[i].ahead);
        assert_step_refused(&scene, 1, CASES[i].expected);
        scene_done(&scene);
    }
}

static void
test_m1_did_that_does_not_fit_the_key_is_refused(void **state)
{
    struct party mallory;
    struct scene scene;
    struct ath_buf pem = {0};

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 1);
    party_init(&mallory, DID_CLIENT, TEST_KEY_P256, "mallory");
    public_key_put_pem(mallory.key, &pem);
    json_set_string(scene.m[1], "client_pubkey", ath_buf_text(&pem)); /* the client's DID, her key */
    assert_step_refused(&scene, 1, ATH_ERR_UNKNOWN_PEER);
    did_of_key(DID_SERVER, mallory.key, mallory.did); /* her key, another role */
    json_set_string(scene.m[1], "client_did", mallory.did);
    assert_step_refused(&scene, 1, ATH_ERR_UNKNOWN_PEER);
    json_set_string(scene.m[1], "client_did", "did:ath:travel_agent"); /* nobody pinned that */
    assert_step_refused(&scene, 1, ATH_ERR_UNKNOWN_PEER);
    json_set_string(scene.m[1], "client_did", "no did at all");
    assert_step_refused(&scene, 1, ATH_ERR_INVALID_MESSAGE);
    ath_buf_done(&pem);
    party_done(&mallory);
    scene_done(&scene);
}

static const struct public_key *
pinned_key(void *ctx, const char *did)
{
    return strcmp(did, "did:ath:travel_agent") == 0 ? ctx : NULL;
}

static void
test_a_pinned_did_is_taken_with_its_key_and_refused_with_another(void **state)
{
    struct party pinned, mallory;
    struct did_pins pins = {.key_of = pinned_key};
    struct scene_options options = {.client_did = "did:ath:travel_agent", .pins = &pins};
    struct scene scene;

    (void)state;
    party_init(&pinned, DID_CLIENT, TEST_KEY_P256, "client");
    party_init(&mallory, DID_CLIENT, TEST_KEY_P256, "mallory");
    pins.ctx = pinned.key;
    scene_init(&scene, &options);
    scene_run(&scene, 10);
    scene_done(&scene);
    pins.ctx = mallory.key;
    scene_init(&scene, &options);
    scene_run(&scene, 1);
    assert_step_refused(&scene, 1, ATH_ERR_PEER_KEY_CHANGED);
    scene_done(&scene);
    party_done(&pinned);
    party_done(&mallory);
}

static void
test_one_key_in_two_roles_is_refused(void **state)
{
    struct scene_options client_is_server = {.client_key = "server"};
    struct scene_options user_is_client = {.user_key = "client", .no_credential = true};
    struct scene_options user_is_server = {.user_key = "server", .no_credential = true};
    const struct scene_options *users[] = {&user_is_client, &user_is_server};
    struct json *grant;
    struct scene scene;

    (void)state;
    scene_init(&scene, &client_is_server);
    scene_run(&scene, 1);
    assert_step_refused(&scene, 1, ATH_ERR_INVALID_CREDENTIAL);
    scene_done(&scene);
    for (size_t i = 0; i < 2; i++) {
        /* an honest client would not send it: the attacker puts it into a message of its own */
        scene_init(&scene, users[i]);
        grant = json_clone(scene.grant);
        scene_done(&scene);
        scene_init(&scene, NULL);
        scene_run(&scene, 5);
        json_set_string(json_get_mutable(scene.m[5], "user_authorization"), "credential",
                        json_string(grant));
        scene_resign(&scene, 5);
        assert_step_refused(&scene, 5, ATH_ERR_INVALID_CREDENTIAL);
        json_free(grant);
        scene_done(&scene);
    }
}

/* ---- signatures of M3, M5, M7 ---- */

static void
put_signature(struct json *message, int step, const char *text)
{
    if (step == 5)
        message = json_get_mutable(message, "user_authorization");
    json_set_string(message, "signature", text);
}

static void
test_malformed_signatures_are_refused(void **state)
{
    static const int STEPS[] = {3, 5, 7};
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; BAD_SIGNATURES[j] != NULL; j++) {
            scene_init(&scene, &CONFIRMED);
            scene_run(&scene, STEPS[i]);
            put_signature(scene.m[STEPS[i]], STEPS[i], BAD_SIGNATURES[j]);
            assert_step_refused(&scene, STEPS[i], ATH_ERR_INVALID_SIGNATURE);
            scene_done(&scene);
        }
    }
}

static void
test_signatures_by_others_and_for_other_purposes_are_refused(void **state)
{
    static const struct {
        int step;
        const char *label, *other_label;
    } CASES[] = {{3, "client-identity", "scope-request"},
                 {5, "scope-request", "client-identity"},
                 {7, "user-confirmation", "user-authorization"}};
    struct party mallory;
    struct scene scene;
    uint8_t t[SHA256_LEN];

    (void)state;
    party_init(&mallory, DID_CLIENT, TEST_KEY_P256, "mallory");
    for (size_t i = 0; i < 3; i++) {
        int step = CASES[i].step;
        const char *container = step == 5 ? "user_authorization" : NULL;

        for (int wrong = 0; wrong < 3; wrong++) { /* key, label, transcript */
            const struct party *own;

            scene_init(&scene, &CONFIRMED);
            scene_run(&scene, step);
            own = step == 7 ? &scene.user : &scene.client;
            scene_transcript(&scene, step == 7 ? 0 : step - 1 - (wrong == 2), t);
            if (step == 7 && wrong != 2)
                assert_int_equal(transcript_add(t, scene.m[6]), ATH_OK);
            scene_sign_message(wrong == 0 ? &mallory : own,
                               wrong == 1 ? CASES[i].other_label : CASES[i].label, t, scene.m[step],
                               container, "signature");
            assert_step_refused(&scene, step, ATH_ERR_INVALID_SIGNATURE);
            scene_done(&scene);
        }
    }
    party_done(&mallory);
}

static void
test_batch_signatures_of_clients_and_users_are_refused(void **state)
{
    struct scene scene;
    uint8_t t[SHA256_LEN];

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 3);
    scene_transcript(&scene, 2, t);
    scene_sign_batch(&scene.client, "client-identity", t, scene.m[3], 0, 2);
    assert_step_refused(&scene, 3, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&scene);
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 7);
    scene_transcript(&scene, 0, t);
    assert_int_equal(transcript_add(t, scene.m[6]), ATH_OK);
    scene_sign_batch(&scene.user, "user-confirmation", t, scene.m[7], 0, 2);
    assert_step_refused(&scene, 7, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&scene);
}

/* ---- replay and order ---- */

static void
test_messages_of_another_handshake_are_refused(void **state)
{
    static const struct {
        int step;
        ath_err expected;
    } CASES[] = {{3, ATH_ERR_INVALID_SIGNATURE},
                 {5, ATH_ERR_INVALID_SIGNATURE},
                 {7, ATH_ERR_UNEXPECTED_MESSAGE}}; /* its request_id is unknown here */
    struct scene first, second;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        int step = CASES[i].step;

        scene_init(&first, &CONFIRMED);
        scene_run(&first, step);
        scene_init(&second, &CONFIRMED);
        second.seed = SCENE_SEED + 500; /* other nonces */
        scene_run(&second, step);
        json_free(second.m[step]);
        second.m[step] = json_clone(first.m[step]);
        assert_step_refused(&second, step, CASES[i].expected);
        scene_done(&second);
        scene_done(&first);
    }
}

static void
test_m7_for_another_question_is_refused_even_with_the_right_request_id(void **state)
{
    struct scene first, second;

    (void)state;
    scene_init(&first, &CONFIRMED);
    scene_run(&first, 7);
    scene_init(&second, &CONFIRMED);
    second.seed = SCENE_SEED + 500;
    scene_run(&second, 6);
    second.m[7] = json_clone(first.m[7]);
    json_set_string(second.m[7], "request_id", json_get_string(second.m[6], "request_id"));
    assert_step_refused(&second, 7, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&second);
    /* signed anew over the other M6: still not this one */
    scene_init(&second, &CONFIRMED);
    second.seed = SCENE_SEED + 500;
    scene_run(&second, 7);
    {
        uint8_t t[SHA256_LEN];

        scene_transcript(&second, 0, t);
        assert_int_equal(transcript_add(t, first.m[6]), ATH_OK);
        scene_sign_message(&second.user, "user-confirmation", t, second.m[7], NULL, "signature");
    }
    assert_step_refused(&second, 7, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&second);
    scene_done(&first);
}

static void
test_messages_out_of_order_end_the_handshake(void **state)
{
    /* the server has made `after`; then message `comes` */
    static const struct {
        int after, comes;
    } CASES[] = {{2, 5}, {2, 7}, {2, 2}, {2, 4}, {2, 8}, {2, 9}, {4, 1}, {4, 2}, {4, 7}, {4, 6},
                 {6, 1}, {6, 3}, {6, 6}, {6, 9}, {8, 1}, {8, 3}, {8, 8}};
    struct scene whole, scene;

    (void)state;
    scene_init(&whole, &CONFIRMED);
    scene_run(&whole, 10);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, CASES[i].after);
        assert_int_equal(scene_server_receive(&scene, whole.m[CASES[i].comes]), ATH_OK);
        assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
        assert_int_equal(scene.need.send_count, 0);
        assert_string_equal(handshake_server_state(scene.s),
                            CASES[i].after == 8 ? "done" : "failed");
        /* and what would have been right comes too late */
        if (CASES[i].after < 8) {
            int next = CASES[i].after + 1;

            assert_int_equal(scene_server_receive(&scene, whole.m[next]), ATH_OK);
            assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
        }
        scene_done(&scene);
    }
    scene_done(&whole);
}

static void
test_m7_where_no_user_was_asked_is_refused(void **state)
{
    struct scene asked, scene;

    (void)state;
    scene_init(&asked, &CONFIRMED);
    scene_run(&asked, 7);
    scene_init(&scene, NULL);
    scene_run(&scene, 4);
    assert_int_equal(scene_server_receive(&scene, asked.m[7]), ATH_OK);
    assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
    scene_done(&scene);
    scene_done(&asked);
}

/* ---- M3 ---- */

static void
test_m3_refusals_carry_m4_with_the_reason(void **state)
{
    static const struct attack ATTACKS[] = {
        {3, "timestamp", "1790000301", ATH_ERR_TIMESTAMP_SKEW},
        {3, "timestamp", "1789999699", ATH_ERR_TIMESTAMP_SKEW},
        {3, "timestamp", "\"1790000000\"", ATH_ERR_INVALID_MESSAGE},
        {3, "timestamp", "true", ATH_ERR_INVALID_MESSAGE},
        {3, "credentials", "{}", ATH_ERR_INVALID_MESSAGE},
    };
    struct scene scene;
    const struct json *m4;

    (void)state;
    RUN(NULL, ATTACKS);
    scene_init(&scene, NULL);
    scene_run(&scene, 3);
    put_signature(scene.m[3], 3, BAD_SIGNATURES[1]);
    assert_step_refused(&scene, 3, ATH_ERR_INVALID_SIGNATURE);
    assert_int_equal(scene.need.send_count, 1);
    assert_false(scene.need.refused_by_message);
    m4 = scene.need.send[0];
    assert_string_equal(json_get_string(m4, "type"), "identity_result");
    assert_true(json_is_bool(json_get(m4, "success")));
    assert_false(json_is_true(json_get(m4, "success")));
    assert_string_equal(json_get_string(json_get(m4, "error"), "code"), "INVALID_SIGNATURE");
    scene_done(&scene);
}

static void
test_client_that_no_rule_names_fails_at_m4(void **state)
{
    struct scene_options options = {
        .agents =
            "{\"did:ath:client_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\":[\"mail:read\"]}"};
    struct json *m4;
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 3);
    assert_step_refused(&scene, 3, ATH_ERR_UNKNOWN_PEER);
    m4 = json_clone(scene.need.send[0]);
    assert_int_equal(scene_client_receive(&scene, m4), ATH_OK);
    assert_refused(&scene, ATH_ERR_UNKNOWN_PEER);
    json_free(m4);
    scene_done(&scene);
}

/* ---- M5 ---- */

static void
test_m5_members_that_break_the_rules_are_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        /* relay: the client asked another server */
        {5, "server_did", "\"did:ath:server_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
         ATH_ERR_UNKNOWN_PEER},
        {5, "timestamp", "1790000301", ATH_ERR_TIMESTAMP_SKEW},
        {5, "ttl", "0", ATH_ERR_INVALID_MESSAGE},
        {5, "ttl", "-1", ATH_ERR_INVALID_MESSAGE},
        {5, "ttl", "3601", ATH_ERR_INVALID_MESSAGE},
        {5, "ttl", "\"600\"", ATH_ERR_INVALID_MESSAGE},
        {5, "ttl", "true", ATH_ERR_INVALID_MESSAGE},
        {5, "scopes", "[]", ATH_ERR_INVALID_MESSAGE},
        {5, "scopes", "[\"mail:read\",\"mail:read\"]", ATH_ERR_INVALID_MESSAGE},
        {5, "scopes", "[\"mail:read mail:send\"]", ATH_ERR_INVALID_MESSAGE},
        {5, "scopes", "[\"\"]", ATH_ERR_INVALID_MESSAGE},
        {5, "scopes", "\"mail:read\"", ATH_ERR_INVALID_MESSAGE},
        {5, "key_exchange_alg", "\"X25519\"", ATH_ERR_INVALID_MESSAGE},
        {5, "context", "7", ATH_ERR_INVALID_MESSAGE},
        {5, "context", "null", ATH_ERR_INVALID_MESSAGE},
    };

    (void)state;
    RUN(&CONFIRMED, ATTACKS);
}

static void
test_m5_refusals_carry_m8_with_the_reason(void **state)
{
    const struct json *m8;
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 5);
    json_set_int(scene.m[5], "ttl", 601); /* not signed so */
    assert_step_refused(&scene, 5, ATH_ERR_INVALID_SIGNATURE);
    assert_int_equal(scene.need.send_count, 1);
    m8 = scene.need.send[0];
    assert_string_equal(json_get_string(m8, "type"), "scope_result");
    assert_int_equal(json_count(json_get(m8, "scopes_granted")), 0);
    assert_int_equal(json_count(json_get(m8, "scopes_denied")), 0);
    assert_string_equal(json_get_string(json_get(m8, "error"), "code"), "INVALID_SIGNATURE");
    scene_done(&scene);
}

static void
test_m5_context_of_1025_bytes_is_refused(void **state)
{
    char context[1026];

    (void)state;
    memset(context, 'x', sizeof(context));
    context[1025] = '\0';
    set_and_expect(5, "context", context, true, ATH_ERR_INVALID_MESSAGE);
}

static void
test_m5_key_shares_that_are_no_points_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; BAD_SHARES[i] != NULL; i++)
        set_and_expect(5, "key_exchange_params", BAD_SHARES[i], true, ATH_ERR_INVALID_KEY_SHARE);
}

static void
test_m5_with_a_swapped_key_share_is_refused(void **state)
{
    struct scene other;

    (void)state;
    scene_init(&other, NULL);
    other.seed = SCENE_SEED + 500;
    scene_run(&other, 5);
    set_and_expect(5, "key_exchange_params", json_get_string(other.m[5], "key_exchange_params"),
                   false, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&other);
}

/* A grant of the attacker's choice in a request that the client signs. */
static void
assert_grant_refused(struct json *taken_grant, const struct scene_options *options, ath_err expected)
{
    struct json_maker maker = {0};
    struct scene scene;

    scene_init(&scene, options);
    scene_run(&scene, 5);
    maker.root = json_get_mutable(scene.m[5], "user_authorization");
    json_put_take(&maker, "credential", taken_grant);
    scene_resign(&scene, 5);
    assert_step_refused(&scene, 5, expected);
    assert_int_equal(scene.need.send_count, 1);
    scene_done(&scene);
}

static void
test_m5_grants_that_do_not_hold_are_refused(void **state)
{
    struct party mallory;
    struct scene scene;
    struct json *cut;
    char *text;

    (void)state;
    scene_init(&scene, NULL);
    party_init(&mallory, DID_USER, TEST_KEY_P256, "mallory");
    /* a flawless grant by a user that nobody knows: anyone can make a key */
    assert_grant_refused(scene_make_grant(&mallory, scene.client.did, scene.server.did, "mail:read",
                                          SCENE_NOW, SCENE_NOW + 60),
                         NULL, ATH_ERR_UNKNOWN_PEER);
    /* for another client, for another server */
    assert_grant_refused(scene_make_grant(&scene.user, mallory.did, scene.server.did, "mail:read",
                                          SCENE_NOW, SCENE_NOW + 60),
                         NULL, ATH_ERR_INVALID_CREDENTIAL);
    assert_grant_refused(scene_make_grant(&scene.user, scene.client.did, mallory.did, "mail:read",
                                          SCENE_NOW, SCENE_NOW + 60),
                         NULL, ATH_ERR_INVALID_CREDENTIAL);
    /* expired this second, from the future, upside down */
    assert_grant_refused(scene_make_grant(&scene.user, scene.client.did, NULL, "mail:read",
                                          SCENE_NOW - 60, SCENE_NOW),
                         NULL, ATH_ERR_INVALID_CREDENTIAL);
    assert_grant_refused(scene_make_grant(&scene.user, scene.client.did, NULL, "mail:read",
                                          SCENE_NOW + 301, SCENE_NOW + 400),
                         NULL, ATH_ERR_INVALID_CREDENTIAL);
    assert_grant_refused(scene_make_grant(&scene.user, scene.client.did, NULL, "mail:read",
                                          SCENE_NOW + 100, SCENE_NOW + 50),
                         NULL, ATH_ERR_INVALID_CREDENTIAL);
    /* forged: one character of the signature */
    text = ath_strdup(json_string(scene.grant));
    text[strlen(text) - 10] = text[strlen(text) - 10] == 'A' ? 'B' : 'A';
    cut = scene_json("[]");
    {
        struct json_maker maker = {.root = cut};

        json_put_string(&maker, NULL, text);
    }
    assert_grant_refused(json_clone(json_first(cut)), NULL, ATH_ERR_INVALID_CREDENTIAL);
    assert_grant_refused(scene_json("\"no.token.this\""), NULL, ATH_ERR_INVALID_CREDENTIAL);
    assert_grant_refused(scene_json("{}"), NULL, ATH_ERR_INVALID_CREDENTIAL);
    assert_grant_refused(scene_json("null"), NULL, ATH_ERR_INVALID_MESSAGE);
    assert_grant_refused(scene_json("[\"x\"]"), NULL, ATH_ERR_INVALID_MESSAGE);
    json_free(cut);
    free(text);
    party_done(&mallory);
    scene_done(&scene);
}

static void
test_anyone_is_served_only_where_that_was_chosen(void **state)
{
    struct scene_options options = {.users = "{\"*\":\"guest\"}", .user_key = "nobody knows me"};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 10);
    scene_done(&scene);
}

static void
test_m5_that_is_too_much_for_m6_is_refused(void **state)
{
    struct ath_buf deep = {0};
    struct scene scene;

    (void)state;
    for (int i = 0; i < 15; i++) /* 16 with the message: right for M5, one too many inside M6 */
        ath_buf_put_byte(&deep, '[');
    for (int i = 0; i < 15; i++)
        ath_buf_put_byte(&deep, ']');
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 5);
    json_set_json(scene.m[5], "unknown", ath_buf_text(&deep));
    scene_resign(&scene, 5);
    assert_step_refused(&scene, 5, ATH_ERR_INVALID_MESSAGE);
    scene_done(&scene);
    scene_init(&scene, NULL);
    scene_run(&scene, 5);
    json_set_json(scene.m[5], "unknown", ath_buf_text(&deep));
    scene_resign(&scene, 5);
    assert_step_taken(&scene, 5);
    scene_done(&scene);
    ath_buf_done(&deep);
}

/* ---- M7 ---- */

static void
test_m7_that_does_not_answer_our_question_is_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        {7, "request_id", "\"req_AAAAAAAAAAAAAAAAAAAAAA\"", ATH_ERR_UNEXPECTED_MESSAGE},
        {7, "user_did", "\"did:ath:user_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
         ATH_ERR_UNKNOWN_PEER},
        {7, "approved_scopes", "[\"mail:read\",\"mail:send\"]", ATH_ERR_SCOPE_NOT_APPROVED},
        {7, "approved_scopes", "[\"files:write\"]", ATH_ERR_SCOPE_NOT_APPROVED},
        {7, "approved_scopes", "[]", ATH_ERR_INVALID_MESSAGE},
        {7, "approved", "false", ATH_ERR_INVALID_MESSAGE},
        {7, "approved", "\"true\"", ATH_ERR_INVALID_MESSAGE},
        {7, "approved", "1", ATH_ERR_INVALID_MESSAGE},
        {7, "timestamp", "1790000301", ATH_ERR_TIMESTAMP_SKEW},
        {7, "expires_at", "1790000601", ATH_ERR_TIMESTAMP_SKEW}, /* ttl is 600 */
        {7, "expires_at", "1790000000", ATH_ERR_TIMESTAMP_SKEW}, /* no time at all */
        {7, "expires_at", "1", ATH_ERR_TIMESTAMP_SKEW},
    };

    (void)state;
    RUN(&CONFIRMED, ATTACKS);
}

static void
test_m7_changed_by_its_carrier_is_refused(void **state)
{
    static const struct {
        const char *member, *value;
    } CHANGES[] = {{"expires_at", "1790000500"}, {"extra", "1"}, {"timestamp", "1790000001"}};
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(CHANGES) / sizeof(CHANGES[0]); i++) {
        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 7);
        json_set_json(scene.m[7], CHANGES[i].member, CHANGES[i].value);
        assert_step_refused(&scene, 7, ATH_ERR_INVALID_SIGNATURE);
        scene_done(&scene);
    }
    /* a no turned into a yes */
    scene_init(&scene, &CONFIRMED);
    scene.user_says_no = true;
    scene_run(&scene, 7);
    json_set_json(scene.m[7], "approved", "true");
    json_set_json(scene.m[7], "approved_scopes", "[\"mail:read\"]");
    json_set_int(scene.m[7], "expires_at", SCENE_NOW + 60);
    assert_step_refused(&scene, 7, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&scene);
}

static void
test_m7_of_another_user_or_key_is_refused(void **state)
{
    struct party mallory;
    struct ath_buf pem = {0};
    struct scene scene;
    uint8_t t[SHA256_LEN];

    (void)state;
    party_init(&mallory, DID_USER, TEST_KEY_P256, "mallory");
    public_key_put_pem(mallory.key, &pem);
    for (int own_did = 0; own_did < 2; own_did++) {
        scene_init(&scene, &CONFIRMED);
        scene_run(&scene, 7);
        if (own_did == 1)
            json_set_string(scene.m[7], "user_did", mallory.did);
        json_set_string(scene.m[7], "user_pubkey", ath_buf_text(&pem));
        scene_transcript(&scene, 0, t);
        assert_int_equal(transcript_add(t, scene.m[6]), ATH_OK);
        scene_sign_message(&mallory, "user-confirmation", t, scene.m[7], NULL, "signature");
        assert_step_refused(&scene, 7, ATH_ERR_UNKNOWN_PEER);
        scene_done(&scene);
    }
    ath_buf_done(&pem);
    party_done(&mallory);
}

static void
test_m7_that_comes_late_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 7); /* answered in time, delivered too late */
    scene.now += CONFIRMATION_LIFE_S + 1;
    assert_step_refused(&scene, 7, ATH_ERR_TIMESTAMP_SKEW);
    scene_done(&scene);
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 7);
    json_set_int(scene.m[7], "timestamp", SCENE_NOW + CONFIRMATION_LIFE_S + 1);
    scene_resign(&scene, 7);
    scene.now += CONFIRMATION_LIFE_S - 1;
    assert_step_refused(&scene, 7, ATH_ERR_TIMESTAMP_SKEW);
    scene_done(&scene);
}

static void
test_client_cannot_make_the_user_be_asked_again_and_again(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, &CONFIRMED);
    scene_run(&scene, 6);
    /* it spoils its own handshake while the user is being asked, and starts another */
    assert_int_equal(scene_server_receive(&scene, scene.m[3]), ATH_OK);
    assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
    for (int i = 1; i <= 9; i++) {
        json_free(scene.m[i]);
        scene.m[i] = NULL;
    }
    scene_run(&scene, 5);
    assert_step_refused(&scene, 5, ATH_ERR_RATE_LIMITED);
    scene_done(&scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_m1_nonce_that_could_be_a_signing_oracle_is_refused),
        cmocka_unit_test(test_m1_odd_public_keys_are_refused),
        cmocka_unit_test(test_m1_that_is_not_for_us_or_of_another_profile_is_refused),
        cmocka_unit_test(test_m1_timestamp_may_differ_by_300_s_and_no_more),
        cmocka_unit_test(test_m1_did_that_does_not_fit_the_key_is_refused),
        cmocka_unit_test(test_a_pinned_did_is_taken_with_its_key_and_refused_with_another),
        cmocka_unit_test(test_one_key_in_two_roles_is_refused),
        cmocka_unit_test(test_malformed_signatures_are_refused),
        cmocka_unit_test(test_signatures_by_others_and_for_other_purposes_are_refused),
        cmocka_unit_test(test_batch_signatures_of_clients_and_users_are_refused),
        cmocka_unit_test(test_messages_of_another_handshake_are_refused),
        cmocka_unit_test(test_m7_for_another_question_is_refused_even_with_the_right_request_id),
        cmocka_unit_test(test_messages_out_of_order_end_the_handshake),
        cmocka_unit_test(test_m7_where_no_user_was_asked_is_refused),
        cmocka_unit_test(test_m3_refusals_carry_m4_with_the_reason),
        cmocka_unit_test(test_client_that_no_rule_names_fails_at_m4),
        cmocka_unit_test(test_m5_members_that_break_the_rules_are_refused),
        cmocka_unit_test(test_m5_refusals_carry_m8_with_the_reason),
        cmocka_unit_test(test_m5_context_of_1025_bytes_is_refused),
        cmocka_unit_test(test_m5_key_shares_that_are_no_points_are_refused),
        cmocka_unit_test(test_m5_with_a_swapped_key_share_is_refused),
        cmocka_unit_test(test_m5_grants_that_do_not_hold_are_refused),
        cmocka_unit_test(test_anyone_is_served_only_where_that_was_chosen),
        cmocka_unit_test(test_m5_that_is_too_much_for_m6_is_refused),
        cmocka_unit_test(test_m7_that_does_not_answer_our_question_is_refused),
        cmocka_unit_test(test_m7_changed_by_its_carrier_is_refused),
        cmocka_unit_test(test_m7_of_another_user_or_key_is_refused),
        cmocka_unit_test(test_m7_that_comes_late_is_refused),
        cmocka_unit_test(test_client_cannot_make_the_user_be_asked_again_and_again),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
