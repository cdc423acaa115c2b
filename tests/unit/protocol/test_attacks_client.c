/* What a server, or somebody between, may try with a client: handshake_retry, M2, M4, M8, M9. The
 * attacker here has the server's key, so its signatures hold wherever it wants them to. */
#include "protocol/handshake_message.h"
#include "protocol/jws.h"
#include "tests/support/bad_input.h"
#include "tests/support/handshake_scene.h"

struct attack {
    int step;
    const char *member, *value; /* JSON text */
    ath_err expected;
};

static void
run_attack(const struct scene_options *options, const struct attack *attack)
{
    struct scene scene;

    scene_init(&scene, options);
    scene_run(&scene, attack->step);
    json_set_json(scene.m[attack->step], attack->member, attack->value);
    if (attack->step == 2)
        scene_resign(&scene, 2);
    assert_step_refused(&scene, attack->step, attack->expected);
    assert_string_equal(handshake_client_state(scene.c), "failed");
    assert_int_equal(scene.need.send_count, 0);
    scene_done(&scene);
}

#define RUN(options, attacks)                                                                      \
    for (size_t run_i = 0; run_i < sizeof(attacks) / sizeof((attacks)[0]); run_i++)                \
    run_attack(options, &(attacks)[run_i])

static void
set_m2_and_expect(const char *member, const char *text, ath_err expected)
{
    struct scene scene;

    scene_init(&scene, NULL);
    scene_run(&scene, 2);
    json_set_string(scene.m[2], member, text);
    if (strcmp(member, "signature") != 0)
        scene_resign(&scene, 2);
    assert_step_refused(&scene, 2, expected);
    scene_done(&scene);
}

/* ---- M2 ---- */

static void
test_m2_nonce_that_could_be_a_signing_oracle_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; BAD_NONCES[i] != NULL; i++)
        set_m2_and_expect("nonce", BAD_NONCES[i], ATH_ERR_INVALID_NONCE);
}

static void
test_m2_nonce_equal_to_our_own_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 2);
    json_set_string(scene.m[2], "nonce", json_get_string(scene.m[1], "nonce"));
    scene_resign(&scene, 2);
    assert_step_refused(&scene, 2, ATH_ERR_INVALID_NONCE);
    scene_done(&scene);
}

static void
test_m2_odd_keys_ids_and_signatures_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; BAD_KEYS[i] != NULL; i++)
        set_m2_and_expect("server_pubkey", BAD_KEYS[i], ATH_ERR_INVALID_PUBLIC_KEY);
    for (size_t i = 0; BAD_RANDOM_IDS[i] != NULL; i++)
        set_m2_and_expect("handshake_id", BAD_RANDOM_IDS[i], ATH_ERR_INVALID_MESSAGE);
    for (size_t i = 0; BAD_SIGNATURES[i] != NULL; i++)
        set_m2_and_expect("signature", BAD_SIGNATURES[i], ATH_ERR_INVALID_SIGNATURE);
}

static void
test_m2_downgrades_and_wrong_members_are_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        {2, "capabilities", "[\"ES256\"]", ATH_ERR_PROFILE_REFUSED},
        {2, "capabilities", "[\"ATH-TB2\"]", ATH_ERR_PROFILE_REFUSED},
        {2, "version", "\"0.0\"", ATH_ERR_VERSION_MISMATCH},
        {2, "version", "\"0.2\"", ATH_ERR_VERSION_MISMATCH},
        {2, "version", "\"0.01\"", ATH_ERR_VERSION_MISMATCH},
        {2, "version", "1", ATH_ERR_INVALID_MESSAGE},
        {2, "timestamp", "1790000301", ATH_ERR_TIMESTAMP_SKEW},
        {2, "timestamp", "1789999699", ATH_ERR_TIMESTAMP_SKEW},
        {2, "server_did", "\"did:ath:server_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
         ATH_ERR_UNKNOWN_PEER},
        {2, "server_did", "\"did:ath:mail_service\"", ATH_ERR_UNKNOWN_PEER},
        {2, "type", "\"handshake_request\"", ATH_ERR_UNEXPECTED_MESSAGE},
    };

    (void)state;
    RUN(NULL, ATTACKS);
}

/* Mallory answers in the server's place, with her own key and DID, or with one of them. */
static void
assert_mallory_refused(const struct scene_options *options, bool own_did, ath_err expected)
{
    struct ath_buf pem = {0};
    struct party mallory;
    struct scene scene;

    scene_init(&scene, options);
    scene_run(&scene, 2);
    party_init(&mallory, DID_SERVER, TEST_KEY_P256, "mallory");
    public_key_put_pem(mallory.key, &pem);
    json_set_string(scene.m[2], "server_pubkey", ath_buf_text(&pem));
    if (own_did)
        json_set_string(scene.m[2], "server_did", mallory.did);
    party_done(&scene.server);
    scene.server = mallory;
    scene_resign(&scene, 2);
    assert_step_refused(&scene, 2, expected);
    ath_buf_done(&pem);
    scene_done(&scene);
}

static void
test_m2_of_another_server_is_refused(void **state)
{
    struct scene_options pinned = {.origin = "https://mail.example"};
    struct party server;

    (void)state;
    party_init(&server, DID_SERVER, TEST_KEY_P256, "server");
    pinned.origin_pin = server.did;
    assert_mallory_refused(NULL, true, ATH_ERR_UNKNOWN_PEER);
    assert_mallory_refused(NULL, false, ATH_ERR_UNKNOWN_PEER); /* the DID proves another key */
    assert_mallory_refused(&pinned, true, ATH_ERR_PEER_KEY_CHANGED);
    assert_mallory_refused(&pinned, false, ATH_ERR_UNKNOWN_PEER);
    party_done(&server);
}

static void
test_m2_for_another_m1_is_refused(void **state)
{
    struct scene first, second;

    (void)state;
    scene_init(&first, NULL);
    scene_run(&first, 2);
    scene_init(&second, NULL);
    second.seed = SCENE_SEED + 500;
    scene_run(&second, 1);
    second.m[2] = json_clone(first.m[2]);
    assert_step_refused(&second, 2, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&second);
    scene_done(&first);
}

static void
test_m1_changed_on_its_way_is_seen_at_m2(void **state)
{
    /* between them, somebody strips or adds what M1 does not sign */
    static const struct {
        const char *member, *value;
    } CHANGES[] = {{"nonce", "\"another-nonce-of-22-ch\""},
                   {"capabilities", "[\"ATH-TB1\"]"},
                   {"versions", "[\"0.1\",\"0.2\"]"},
                   {"audience", "\"https://mail.example\""},
                   {"extra", "1"}};
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(CHANGES) / sizeof(CHANGES[0]); i++) {
        scene_init(&scene, NULL);
        scene_run(&scene, 1);
        json_set_json(scene.m[1], CHANGES[i].member, CHANGES[i].value);
        scene_run(&scene, 2); /* the server cannot know */
        assert_step_refused(&scene, 2, ATH_ERR_INVALID_SIGNATURE);
        scene_done(&scene);
    }
}

static void
test_m2_with_our_own_or_the_users_key_is_refused(void **state)
{
    static const char *const KEYS[] = {"client", "user"};
    struct ath_buf pem = {0};
    struct party thief;
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct scene_options options = {.origin = "https://mail.example", .audience = ""};

        scene_init(&scene, &options);
        scene_run(&scene, 2);
        party_init(&thief, DID_SERVER, TEST_KEY_P256, KEYS[i]);
        ath_buf_clear(&pem);
        public_key_put_pem(thief.key, &pem);
        json_set_string(scene.m[2], "server_pubkey", ath_buf_text(&pem));
        json_set_string(scene.m[2], "server_did", thief.did);
        party_done(&scene.server);
        scene.server = thief;
        scene_resign(&scene, 2);
        if (i == 0) {
            assert_step_refused(&scene, 2, ATH_ERR_INVALID_CREDENTIAL);
        } else { /* it is seen when the grant is looked at, before anything is signed */
            assert_step_taken(&scene, 2);
            assert_int_equal(scene.need.kind, HANDSHAKE_NEED_TRUST);
            assert_int_equal(handshake_client_trusted(scene.c, true, scene.now, &scene.need),
                             ATH_OK);
            assert_refused(&scene, ATH_ERR_INVALID_CREDENTIAL);
        }
        scene_done(&scene);
    }
    ath_buf_done(&pem);
}

/* ---- batch signatures ---- */

static void
test_batch_signatures_are_read_for_every_leaf(void **state)
{
    uint8_t t[SHA256_LEN];
    struct scene scene;

    (void)state;
    for (size_t size = 2; size <= 8; size++) {
        for (size_t index = 0; index < size; index++) {
            scene_init(&scene, NULL);
            scene_run(&scene, 2);
            scene_transcript(&scene, 1, t);
            scene_sign_batch(&scene.server, "server-identity", t, scene.m[2], index, size);
            assert_step_taken(&scene, 2);
            scene_done(&scene);
        }
    }
}

/* The four parts of a good batch signature, one of them another. */
static void
assert_batch_variant_refused(int part, const char *text)
{
    struct ath_buf changed = {0};
    struct scene scene;
    uint8_t t[SHA256_LEN];
    char *copy, *save = NULL, *piece;
    int i = 0;

    scene_init(&scene, NULL);
    scene_run(&scene, 2);
    scene_transcript(&scene, 1, t);
    scene_sign_batch(&scene.server, "server-identity", t, scene.m[2], 1, 3);
    copy = ath_strdup(json_get_string(scene.m[2], "signature"));
    for (piece = strtok_r(copy, ".", &save); piece != NULL; piece = strtok_r(NULL, ".", &save)) {
        if (i > 0)
            ath_buf_put_byte(&changed, '.');
        ath_buf_put_string(&changed, i == part ? text : piece);
        i++;
    }
    if (part == 4)
        ath_buf_put_string(&changed, text);
    json_set_string(scene.m[2], "signature", ath_buf_text(&changed));
    assert_step_refused(&scene, 2, ATH_ERR_INVALID_SIGNATURE);
    free(copy);
    ath_buf_done(&changed);
    scene_done(&scene);
}

static void
test_batch_signatures_that_are_not_exact_are_refused(void **state)
{
    static const char *const NUMBERS[] = {"0",  "1",     "2",     "4",      "03",  "+3", "3 ", "",
                                          "-1", "65537", "99999", "999999", "0x3", "3e0"};

    (void)state;
    for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++) {
        assert_batch_variant_refused(1, NUMBERS[i]);
        if (strcmp(NUMBERS[i], "1") != 0)
            assert_batch_variant_refused(2, NUMBERS[i]);
    }
    assert_batch_variant_refused(3, "");
    assert_batch_variant_refused(3, "AAAA");
    assert_batch_variant_refused(3, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_batch_variant_refused(4, ".");
    assert_batch_variant_refused(4, ".AAAA");
    assert_batch_variant_refused(4, "AAAA");
}

static void
test_batch_for_another_label_is_refused(void **state)
{
    uint8_t t[SHA256_LEN];
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 2);
    scene_transcript(&scene, 1, t);
    scene_sign_batch(&scene.server, "confirmation-request", t, scene.m[2], 0, 2);
    assert_step_refused(&scene, 2, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&scene);
}

/* ---- handshake_retry ---- */

#define RETRY                                                                                      \
    "{\"type\":\"handshake_retry\",\"cookie\":\"0123456789012345678901\",\"proof\":false,"          \
    "\"retry_after\":0,\"timestamp\":1790000000}"

static void
assert_retry_refused(const char *member, const char *value, ath_err expected)
{
    struct json *retry = scene_json(RETRY);
    struct scene scene;

    scene_init(&scene, NULL);
    scene_run(&scene, 1);
    json_set_json(retry, member, value);
    assert_int_equal(scene_client_receive(&scene, retry), ATH_OK);
    assert_refused(&scene, expected);
    json_free(retry);
    scene_done(&scene);
}

static void
test_odd_retries_are_refused(void **state)
{
    (void)state;
    assert_retry_refused("retry_after", "61", ATH_ERR_INVALID_MESSAGE);
    assert_retry_refused("retry_after", "-1", ATH_ERR_INVALID_MESSAGE);
    assert_retry_refused("cookie", "\"012345678901234567890\"", ATH_ERR_INVALID_MESSAGE);
    assert_retry_refused("cookie", "\"eyJhbGciOiJFUzI1NiJ9.eyJh\"", ATH_ERR_INVALID_MESSAGE);
    assert_retry_refused("proof", "\"yes\"", ATH_ERR_INVALID_MESSAGE);
    assert_retry_refused("timestamp", "1790000301", ATH_ERR_TIMESTAMP_SKEW);
}

/* A retry that differs from the one before, as a loop's would. */
static ath_err
retry_number(struct scene *scene, int n, bool proof)
{
    struct json *retry = scene_json(RETRY);
    ath_err err;

    json_set_int(retry, "retry_after", n);
    if (proof)
        json_set_json(retry, "proof", "true");
    err = scene_client_receive(scene, retry);
    json_free(retry);
    return err;
}

static void
test_two_retries_are_followed_and_no_third(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene.random = true;
    scene_run(&scene, 1);
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(retry_number(&scene, i, false), ATH_OK);
        assert_int_equal(scene.need.kind, HANDSHAKE_NEED_SEND);
    }
    assert_int_equal(retry_number(&scene, 3, false), ATH_OK);
    assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
    scene_done(&scene);
}

static void
test_one_proof_is_made_and_no_second(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene.random = true;
    scene_run(&scene, 1);
    assert_int_equal(retry_number(&scene, 1, true), ATH_OK);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_SEND);
    assert_non_null(json_get_string(scene.need.send[0], "proof"));
    assert_int_equal(scene.client_signatures, 1);
    assert_int_equal(retry_number(&scene, 2, true), ATH_OK);
    assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
    assert_int_equal(scene.client_signatures, 1);
    scene_done(&scene);
}

static void
test_retry_after_m2_is_refused(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 3);
    assert_int_equal(retry_number(&scene, 1, false), ATH_OK);
    assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
    scene_done(&scene);
}

/* ---- order ---- */

static void
test_messages_out_of_order_end_the_handshake(void **state)
{
    /* the client has taken all before `after` + 1; then message `comes` */
    static const struct {
        int after, comes;
    } CASES[] = {{1, 1}, {1, 3}, {1, 4}, {1, 6}, {1, 8}, {1, 9}, {3, 8}, {3, 9}, {3, 3},
                 {5, 2}, {5, 9}, {5, 5}, {5, 7}, {9, 2}, {9, 4}};
    struct scene_options options = {.confirm = true};
    struct scene whole, scene;

    (void)state;
    scene_init(&whole, &options);
    scene_run(&whole, 10);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        scene_init(&scene, &options);
        scene_run(&scene, CASES[i].after);
        if (CASES[i].after == 9)
            scene_run(&scene, 10);
        assert_int_equal(scene_client_receive(&scene, whole.m[CASES[i].comes]), ATH_OK);
        assert_refused(&scene, ATH_ERR_UNEXPECTED_MESSAGE);
        assert_int_equal(scene.need.send_count, 0);
        scene_done(&scene);
    }
    scene_done(&whole);
}

/* ---- M4 ---- */

static void
test_m4_that_is_neither_success_nor_failure_is_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        {4, "success", "\"true\"", ATH_ERR_INVALID_MESSAGE},
        {4, "success", "1", ATH_ERR_INVALID_MESSAGE},
        {4, "success", "false", ATH_ERR_INVALID_MESSAGE}, /* without a reason */
        {4, "error", "{\"code\":\"UNKNOWN_PEER\",\"message\":\"\"}", ATH_ERR_INVALID_MESSAGE},
        {4, "metadata", "null", ATH_ERR_INVALID_MESSAGE},
        {4, "metadata", "{}", ATH_ERR_INVALID_MESSAGE},
        {4, "metadata",
         "{\"scopes_supported\":[\"a\"],\"token_max_ttl\":0,\"require_user_confirmation\":true}",
         ATH_ERR_INVALID_MESSAGE},
        {4, "timestamp", "1790000301", ATH_ERR_TIMESTAMP_SKEW},
    };

    (void)state;
    RUN(NULL, ATTACKS);
}

static void
assert_m4_code(const char *code, ath_err expected)
{
    struct json *error = scene_json("{\"message\":\"go away\\u202e\"}");
    struct json_maker maker = {0};
    struct scene scene;

    scene_init(&scene, NULL);
    scene_run(&scene, 4);
    json_set_json(scene.m[4], "success", "false");
    json_set_string(error, "code", code);
    maker.root = scene.m[4];
    json_put_take(&maker, "error", error);
    assert_step_refused(&scene, 4, expected);
    assert_null(strstr(scene.need.why.text, "\xe2\x80\xae")); /* a stranger's words, made harmless */
    scene_done(&scene);
}

static void
test_m4_failure_is_known_by_its_code(void **state)
{
    (void)state;
    assert_m4_code("UNKNOWN_PEER", ATH_ERR_UNKNOWN_PEER);
    assert_m4_code("INVALID_SIGNATURE", ATH_ERR_INVALID_SIGNATURE);
    assert_m4_code("RATE_LIMITED", ATH_ERR_RATE_LIMITED);
    assert_m4_code("USER_DENIED", ATH_ERR_USER_DENIED);
    assert_m4_code("REPLAYED", ATH_ERR_REPLAYED);
    /* what a server cannot know of us is not believed */
    assert_m4_code("PIN_INCORRECT", ATH_ERR_INVALID_MESSAGE);
    assert_m4_code("OK", ATH_ERR_INVALID_MESSAGE);
    assert_m4_code("unknown_peer", ATH_ERR_INVALID_MESSAGE);
    assert_m4_code("SOMETHING_NEW", ATH_ERR_INVALID_MESSAGE);
}

static void
test_m4_changed_on_its_way_is_seen_at_m5(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, NULL);
    scene_run(&scene, 4);
    json_set_json(json_get_mutable(scene.m[4], "metadata"), "token_max_ttl", "901");
    scene_run(&scene, 5); /* the client cannot know: M4 has no signature */
    assert_step_refused(&scene, 5, ATH_ERR_INVALID_SIGNATURE);
    scene_done(&scene);
}

/* ---- M8 ---- */

static void
test_m8_that_grants_too_much_or_contradicts_itself_is_refused(void **state)
{
    static const struct attack ATTACKS[] = {
        {8, "scopes_granted", "[\"mail:read\",\"files:write\"]", ATH_ERR_SCOPE_NOT_APPROVED},
        {8, "scopes_granted", "[\"Mail:read\"]", ATH_ERR_SCOPE_NOT_APPROVED},
        {8, "scopes_granted", "[\"mail:read\",\"mail:read\"]", ATH_ERR_INVALID_MESSAGE},
        {8, "scopes_granted", "[\"mail:send\"]", ATH_ERR_INVALID_MESSAGE}, /* denied beside it */
        {8, "scopes_granted", "[]", ATH_ERR_INVALID_MESSAGE},
        {8, "scopes_denied", "null", ATH_ERR_INVALID_MESSAGE},
        {8, "scopes_denied", "[{\"scope\":\"mail:send\"}]", ATH_ERR_INVALID_MESSAGE},
        {8, "scopes_denied", "[\"mail:send\"]", ATH_ERR_INVALID_MESSAGE},
        {8, "ttl_granted", "601", ATH_ERR_INVALID_MESSAGE},
        {8, "ttl_granted", "3601", ATH_ERR_INVALID_MESSAGE},
        {8, "ttl_granted", "0", ATH_ERR_INVALID_MESSAGE},
        {8, "ttl_granted", "-1", ATH_ERR_INVALID_MESSAGE},
        {8, "restrictions", "[]", ATH_ERR_INVALID_MESSAGE},
        {8, "confirmation", "\"yes\"", ATH_ERR_INVALID_MESSAGE},
        {8, "confirmation", "true", ATH_ERR_INVALID_MESSAGE},
        {8, "error", "{\"code\":\"USER_DENIED\",\"message\":\"\"}", ATH_ERR_INVALID_MESSAGE},
        {8, "timestamp", "1790000301", ATH_ERR_TIMESTAMP_SKEW},
    };

    (void)state;
    RUN(NULL, ATTACKS);
}

static void
test_m8_changed_on_its_way_is_seen_at_m9(void **state)
{
    static const struct {
        const char *member, *value;
    } CHANGES[] = {
        {"extra", "1"},
        {"restrictions", "{}"},
        {"ttl_granted", "599"},
        {"scopes_denied", "[]"},
        {"confirmation", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""},
    };
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(CHANGES) / sizeof(CHANGES[0]); i++) {
        scene_init(&scene, NULL);
        scene_run(&scene, 9);
        json_set_json(scene.m[8], CHANGES[i].member, CHANGES[i].value);
        assert_step_taken(&scene, 8);
        assert_step_refused(&scene, 9, ATH_ERR_INVALID_CREDENTIAL);
        scene_done(&scene);
    }
}

/* ---- M9 ---- */

struct claim {
    const char *name, *value; /* JSON text; NULL: removed */
    ath_err expected;
};

static void
edit_claim(struct json_maker *claims, const void *ctx)
{
    const struct claim *claim = ctx;

    if (claim->value == NULL)
        json_remove(claims->root, claim->name);
    else
        json_put_take(claims, claim->name, scene_json(claim->value));
}

static void
assert_claim_refused(const struct scene_options *options, const struct claim *claim)
{
    struct json *m9;
    struct scene scene;

    scene_init(&scene, options);
    scene_run(&scene, 9);
    assert_step_taken(&scene, 8);
    m9 = scene_forge_complete(&scene, scene.m[8], edit_claim, claim);
    json_free(scene.m[9]);
    scene.m[9] = m9;
    assert_step_refused(&scene, 9, claim->expected);
    assert_string_equal(handshake_client_state(scene.c), "failed");
    scene_done(&scene);
}

#define OTHER_43 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void
test_m9_token_that_says_anything_else_is_refused(void **state)
{
    static const struct claim CLAIMS[] = {
        {"iss", "\"did:ath:server_" OTHER_43 "\"", ATH_ERR_INVALID_CREDENTIAL},
        {"iss", "\"https://mail.example\"", ATH_ERR_INVALID_CREDENTIAL},
        {"iss", NULL, ATH_ERR_INVALID_CREDENTIAL},
        {"aud", "\"did:ath:server_" OTHER_43 "\"", ATH_ERR_INVALID_CREDENTIAL},
        {"aud", NULL, ATH_ERR_INVALID_CREDENTIAL},
        {"sub", "\"did:ath:client_" OTHER_43 "\"", ATH_ERR_INVALID_CREDENTIAL},
        {"sub", NULL, ATH_ERR_INVALID_CREDENTIAL},
        {"cnf", "{\"jkt\":\"" OTHER_43 "\"}", ATH_ERR_INVALID_CREDENTIAL},
        {"cnf", "{}", ATH_ERR_INVALID_CREDENTIAL},
        {"cnf", NULL, ATH_ERR_INVALID_CREDENTIAL},
        {"user_did", "\"did:ath:user_" OTHER_43 "\"", ATH_ERR_INVALID_CREDENTIAL},
        {"user_did", NULL, ATH_ERR_INVALID_CREDENTIAL},
        {"scope", "\"mail:read mail:send\"", ATH_ERR_SCOPE_NOT_APPROVED},
        {"scope", "\"mail:send\"", ATH_ERR_SCOPE_NOT_APPROVED},
        {"scope", "\"mail:read  \"", ATH_ERR_INVALID_CREDENTIAL},
        {"scope", "\"\"", ATH_ERR_INVALID_CREDENTIAL},
        {"scope", "[\"mail:read\"]", ATH_ERR_INVALID_CREDENTIAL},
        {"exp", "1790000601", ATH_ERR_INVALID_CREDENTIAL}, /* not ttl_granted */
        {"exp", "1790000599", ATH_ERR_INVALID_CREDENTIAL},
        {"exp", NULL, ATH_ERR_INVALID_CREDENTIAL},
        {"iat", "1790000001", ATH_ERR_INVALID_CREDENTIAL},
        {"iat", NULL, ATH_ERR_INVALID_CREDENTIAL},
        {"jti", NULL, ATH_ERR_INVALID_CREDENTIAL},
        {"nbf", "1790000301", ATH_ERR_INVALID_CREDENTIAL},
        {"restrictions", "{}", ATH_ERR_INVALID_CREDENTIAL},
        {"restrictions", "[]", ATH_ERR_INVALID_CREDENTIAL},
        {"ath_th", "\"" OTHER_43 "\"", ATH_ERR_INVALID_CREDENTIAL},
        {"ath_th", NULL, ATH_ERR_INVALID_CREDENTIAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CLAIMS) / sizeof(CLAIMS[0]); i++)
        assert_claim_refused(NULL, &CLAIMS[i]);
}

static void
test_m9_token_with_other_restrictions_than_m8_is_refused(void **state)
{
    static const struct scene_options OPTIONS = {.restrictions = "{\"rate_limit\":\"1/day\"}"};
    static const struct claim CLAIMS[] = {
        {"restrictions", "{\"rate_limit\":\"2/day\"}", ATH_ERR_INVALID_CREDENTIAL},
        {"restrictions", "{\"rate_limit\":\"1/day\",\"x\":1}", ATH_ERR_INVALID_CREDENTIAL},
        {"restrictions", NULL, ATH_ERR_INVALID_CREDENTIAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CLAIMS) / sizeof(CLAIMS[0]); i++)
        assert_claim_refused(&OPTIONS, &CLAIMS[i]);
}

/* iat and exp moved together, so that their difference is ttl_granted. */
static void
move_token(struct json_maker *claims, const void *ctx)
{
    int64_t iat = 0, exp = 0;

    assert_true(json_get_int(claims->root, "iat", &iat));
    assert_true(json_get_int(claims->root, "exp", &exp));
    json_put_int(claims, "iat", iat + *(const int64_t *)ctx);
    json_put_int(claims, "exp", exp + *(const int64_t *)ctx);
}

static void
test_m9_token_of_another_time_is_refused(void **state)
{
    /* expired; from the future; and one that outlives the grant */
    static const struct {
        int64_t moved, grant_ttl;
    } CASES[] = {{-600, 0}, {301, 0}, {100, 650}};
    struct json *m9;
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct scene_options options = {.grant_ttl = CASES[i].grant_ttl};

        scene_init(&scene, &options);
        scene_run(&scene, 9);
        assert_step_taken(&scene, 8);
        m9 = scene_forge_complete(&scene, scene.m[8], move_token, &CASES[i].moved);
        json_free(scene.m[9]);
        scene.m[9] = m9;
        assert_step_refused(&scene, 9, ATH_ERR_INVALID_CREDENTIAL);
        scene_done(&scene);
    }
}

static void
test_m9_of_another_handshake_is_refused(void **state)
{
    struct scene first, second;

    (void)state;
    scene_init(&first, NULL);
    scene_run(&first, 9);
    scene_init(&second, NULL);
    second.seed = SCENE_SEED + 500;
    scene_run(&second, 9);
    assert_step_taken(&second, 8);
    json_free(second.m[9]);
    second.m[9] = json_clone(first.m[9]);
    assert_step_refused(&second, 9, ATH_ERR_INVALID_CREDENTIAL);
    scene_done(&second);
    scene_done(&first);
}

static void
test_m9_with_a_swapped_key_share_is_refused(void **state)
{
    struct scene other, scene;

    (void)state;
    scene_init(&other, NULL);
    other.seed = SCENE_SEED + 500;
    scene_run(&other, 9);
    scene_init(&scene, NULL);
    scene_run(&scene, 9);
    assert_step_taken(&scene, 8);
    json_set_string(scene.m[9], "key_exchange_params",
                    json_get_string(other.m[9], "key_exchange_params"));
    assert_step_refused(&scene, 9, ATH_ERR_INVALID_CREDENTIAL); /* ath_th covers it */
    scene_done(&scene);
    scene_done(&other);
}

static void
assert_share_refused(const char *share)
{
    struct json *m9;
    struct scene scene;

    scene_init(&scene, NULL);
    scene_run(&scene, 9);
    assert_step_taken(&scene, 8);
    /* NULL: our own share comes back */
    json_set_string(scene.m[9], "key_exchange_params",
                    share != NULL ? share : json_get_string(scene.m[5], "key_exchange_params"));
    m9 = scene_forge_complete(&scene, scene.m[8], NULL, NULL);
    json_free(scene.m[9]);
    scene.m[9] = m9;
    assert_step_refused(&scene, 9, ATH_ERR_INVALID_KEY_SHARE);
    scene_done(&scene);
}

static void
test_m9_key_share_that_is_no_point_or_our_own_is_refused(void **state)
{
    (void)state;
    assert_share_refused(NULL);
    for (size_t i = 0; BAD_SHARES[i] != NULL; i++)
        assert_share_refused(BAD_SHARES[i]);
}

static void
test_m9_of_other_algorithms_or_form_is_refused(void **state)
{
    static const struct {
        const char *member, *value;
        ath_err expected;
    } CASES[] = {
        {"cipher_suite", "\"AES-128-GCM\"", ATH_ERR_INVALID_MESSAGE},
        {"cipher_suite", "\"NULL\"", ATH_ERR_INVALID_MESSAGE},
        {"key_exchange_alg", "\"X25519\"", ATH_ERR_INVALID_MESSAGE},
        {"timestamp", "1790000301", ATH_ERR_TIMESTAMP_SKEW},
        {"access_token", "7", ATH_ERR_INVALID_MESSAGE},
        {"access_token", "\"\"", ATH_ERR_INVALID_MESSAGE},
        {"access_token", "\"opaque-token\"", ATH_ERR_INVALID_CREDENTIAL},
        {"access_token", "\"e30.e30.\"", ATH_ERR_INVALID_CREDENTIAL},
        {"extra", "1", ATH_ERR_INVALID_CREDENTIAL}, /* ath_th */
    };
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        scene_init(&scene, NULL);
        scene_run(&scene, 9);
        assert_step_taken(&scene, 8);
        json_set_json(scene.m[9], CASES[i].member, CASES[i].value);
        assert_step_refused(&scene, 9, CASES[i].expected);
        scene_done(&scene);
    }
}

/* The token of M9 signed by `party`, with another typ. */
static void
assert_token_refused(const char *signer, const char *typ, ath_err expected)
{
    struct ath_buf input = {0}, jws = {0};
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct jws decoded = {0};
    struct why why = {{0}};
    struct party party;
    struct scene scene;

    scene_init(&scene, NULL);
    scene_run(&scene, 9);
    party_init(&party, DID_SERVER, TEST_KEY_P256, signer);
    assert_step_taken(&scene, 8);
    assert_int_equal(jws_decode(ath_slice_of_string(json_get_string(scene.m[9], "access_token")),
                                "at+jwt", &why, &decoded),
                     ATH_OK);
    assert_int_equal(jws_signing_input(party.key, typ, false, decoded.claims, &input), ATH_OK);
    jws_join(ath_buf_slice(&input), party_sign(&party, ath_buf_slice(&input), signature), &jws);
    json_set_string(scene.m[9], "access_token", ath_buf_text(&jws));
    assert_step_refused(&scene, 9, expected);
    jws_done(&decoded);
    ath_buf_done(&input);
    ath_buf_done(&jws);
    party_done(&party);
    scene_done(&scene);
}

static void
test_m9_token_by_another_key_or_of_another_type_is_refused(void **state)
{
    (void)state;
    assert_token_refused("mallory", "at+jwt", ATH_ERR_INVALID_SIGNATURE);
    assert_token_refused("client", "at+jwt", ATH_ERR_INVALID_SIGNATURE);
    assert_token_refused("server", "JWT", ATH_ERR_INVALID_CREDENTIAL);
    assert_token_refused("server", "AT+JWT", ATH_ERR_INVALID_CREDENTIAL);
    assert_token_refused("server", "ath-user-auth+jwt", ATH_ERR_INVALID_CREDENTIAL);
}

/* ---- the grant at the client ---- */

static void
test_client_does_not_start_with_a_grant_that_does_not_hold(void **state)
{
    struct why why = {{0}};
    struct party other;
    struct scene scene;

    (void)state;
    party_init(&other, DID_SERVER, TEST_KEY_P256, "mallory");
    for (int i = 0; i < 3; i++) {
        scene_init(&scene, NULL);
        json_free(scene.grant);
        scene.grant = scene_make_grant(&scene.user, i == 0 ? other.did : scene.client.did,
                                       i == 1 ? other.did : NULL, "mail:read", SCENE_NOW - 9,
                                       i == 2 ? SCENE_NOW : SCENE_NOW + 9);
        assert_int_equal(scene_client_start(&scene, &why), ATH_ERR_INVALID_CREDENTIAL);
        scene_done(&scene);
    }
    party_done(&other);
}

static void
test_client_sends_no_grant_to_a_server_it_is_not_for(void **state)
{
    struct scene_options options = {.origin = "https://mail.example",
                                    .audience = "did:ath:server_" OTHER_43};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 2);
    assert_step_taken(&scene, 2);
    assert_int_equal(scene.need.kind, HANDSHAKE_NEED_TRUST);
    assert_int_equal(handshake_client_trusted(scene.c, true, scene.now, &scene.need), ATH_OK);
    assert_refused(&scene, ATH_ERR_INVALID_CREDENTIAL);
    scene_done(&scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_m2_nonce_that_could_be_a_signing_oracle_is_refused),
        cmocka_unit_test(test_m2_nonce_equal_to_our_own_is_refused),
        cmocka_unit_test(test_m2_odd_keys_ids_and_signatures_are_refused),
        cmocka_unit_test(test_m2_downgrades_and_wrong_members_are_refused),
        cmocka_unit_test(test_m2_of_another_server_is_refused),
        cmocka_unit_test(test_m2_for_another_m1_is_refused),
        cmocka_unit_test(test_m1_changed_on_its_way_is_seen_at_m2),
        cmocka_unit_test(test_m2_with_our_own_or_the_users_key_is_refused),
        cmocka_unit_test(test_batch_signatures_are_read_for_every_leaf),
        cmocka_unit_test(test_batch_signatures_that_are_not_exact_are_refused),
        cmocka_unit_test(test_batch_for_another_label_is_refused),
        cmocka_unit_test(test_odd_retries_are_refused),
        cmocka_unit_test(test_two_retries_are_followed_and_no_third),
        cmocka_unit_test(test_one_proof_is_made_and_no_second),
        cmocka_unit_test(test_retry_after_m2_is_refused),
        cmocka_unit_test(test_messages_out_of_order_end_the_handshake),
        cmocka_unit_test(test_m4_that_is_neither_success_nor_failure_is_refused),
        cmocka_unit_test(test_m4_failure_is_known_by_its_code),
        cmocka_unit_test(test_m4_changed_on_its_way_is_seen_at_m5),
        cmocka_unit_test(test_m8_that_grants_too_much_or_contradicts_itself_is_refused),
        cmocka_unit_test(test_m8_changed_on_its_way_is_seen_at_m9),
        cmocka_unit_test(test_m9_token_that_says_anything_else_is_refused),
        cmocka_unit_test(test_m9_token_with_other_restrictions_than_m8_is_refused),
        cmocka_unit_test(test_m9_token_of_another_time_is_refused),
        cmocka_unit_test(test_m9_of_another_handshake_is_refused),
        cmocka_unit_test(test_m9_with_a_swapped_key_share_is_refused),
        cmocka_unit_test(test_m9_key_share_that_is_no_point_or_our_own_is_refused),
        cmocka_unit_test(test_m9_of_other_algorithms_or_form_is_refused),
        cmocka_unit_test(test_m9_token_by_another_key_or_of_another_type_is_refused),
        cmocka_unit_test(test_client_does_not_start_with_a_grant_that_does_not_hold),
        cmocka_unit_test(test_client_sends_no_grant_to_a_server_it_is_not_for),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
