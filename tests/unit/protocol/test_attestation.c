#include "protocol/attestation.h"

#include "tests/unit/protocol/token.h"

#define NOW 1700000000
#define AGENT "https://agent.example/.well-known/agent.json"
#define BASE "https://gateway.example"

static struct party client, other;
static char *header;
static const char claims[] =
    "{\"iss\":\"" AGENT "\",\"sub\":\"" AGENT "\",\"aud\":\"" BASE "\","
    "\"iat\":1700000000,\"exp\":1700000300,\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\"}";

static int
set_up(void **state)
{
    (void)state;
    client = party_new(TEST_KEY_P256, DID_CLIENT, "client");
    other = party_new(TEST_KEY_P256, DID_CLIENT, "other");
    header = header_of(&client, "JWT", false);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    free(header);
    party_done(&client);
    party_done(&other);
    return 0;
}

/* ---- agent_id ---- */

static void
test_an_agent_id_is_an_https_uri(void **state)
{
    static const char *const good[] = {AGENT,
                                       "https://a.example",
                                       "https://a.example/",
                                       "https://a.example:8443/x?y=z",
                                       "https://a.example?x",
                                       "http://localhost/agent.json",
                                       "http://localhost:8080/agent.json",
                                       "http://127.0.0.1/a",
                                       "http://[::1]:8080/a"};
    static const char *const bad[] = {"",
                                      "did:ath:x",
                                      "https://",
                                      "https:///a",
                                      "http://a.example/",
                                      "http://10.0.0.1/a",
                                      "http://localhost.evil.example/",
                                      "ftp://a.example/",
                                      "https://user@a.example/",
                                      "https://a.example/#f",
                                      "https://a.example/a b",
                                      "https://a.example/\"",
                                      "https://a.example/\xc3\xa9",
                                      "https://a.example/\n",
                                      "https://A.example/",
                                      "https://a.example:443/",
                                      "https://a.example:0/",
                                      "https://a.example:99999/",
                                      "HTTPS://a.example/",
                                      "a.example/agent.json",
                                      "//a.example/"};
    char text[AGENT_ID_MAX_LEN + 2] = "https://a.example/";

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(agent_id_is_valid(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(agent_id_is_valid(bad[i]));
    assert_false(agent_id_is_valid(NULL));
    memset(text + 18, 'a', sizeof(text) - 19);
    assert_false(agent_id_is_valid(text));
    text[AGENT_ID_MAX_LEN] = '\0';
    assert_true(agent_id_is_valid(text));
}

static void
test_the_origin_ends_before_path_and_query(void **state)
{
    static const char *const ids[] = {AGENT, "https://agent.example", "https://agent.example?x",
                                      "https://agent.example/"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct ath_buf out = {0};

        agent_id_origin(ids[i], &out);
        assert_string_equal(ath_buf_text(&out), "https://agent.example");
        ath_buf_done(&out);
    }
}

/* ---- writing ---- */

static const char *const register_audience[] = {BASE};
static const char *const token_audience[] = {BASE "/ath/token", BASE};

static struct attestation_params
good_params(void)
{
    return (struct attestation_params){.agent_id = AGENT,
                                       .audiences = register_audience,
                                       .audience_count = 1,
                                       .issued_at = NOW,
                                       .ttl = 300,
                                       .jti = "AAAAAAAAAAAAAAAAAAAAAA"};
}

static void
assert_written(const struct attestation_params *params, const char *expected_claims)
{
    struct ath_buf input = {0}, expected = {0};

    base64url_put(&expected, ath_slice_of_string(header));
    ath_buf_put_byte(&expected, '.');
    base64url_put(&expected, ath_slice_of_string(expected_claims));
    assert_int_equal(attestation_signing_input(params, client.key, &input), ATH_OK);
    assert_string_equal(ath_buf_text(&input), ath_buf_text(&expected));
    ath_buf_done(&expected);
    ath_buf_done(&input);
}

/* The one form that every official verifier accepts. */
static void
test_the_written_form_is_the_one_all_official_verifiers_accept(void **state)
{
    struct attestation_params params = good_params();
    struct json *capabilities = json_of("[]");

    (void)state;
    assert_written(&params, claims);
    params.audiences = token_audience;
    params.audience_count = 2;
    params.capabilities = capabilities;
    assert_written(&params, "{\"iss\":\"" AGENT "\",\"sub\":\"" AGENT "\",\"aud\":[\"" BASE
                            "/ath/token\",\"" BASE "\"],\"iat\":1700000000,\"exp\":1700000300,"
                            "\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"capabilities\":[]}");
    params = good_params();
    params.issuer_is_origin = true;
    params.audience_is_array = true;
    assert_written(&params, "{\"iss\":\"https://agent.example\",\"sub\":\"" AGENT
                            "\",\"aud\":[\"" BASE "\"],\"iat\":1700000000,\"exp\":1700000300,"
                            "\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\"}");
    json_free(capabilities);
}

static void
assert_params_refused(const struct attestation_params *params)
{
    struct ath_buf input = {0};

    assert_int_equal(attestation_signing_input(params, client.key, &input), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(input.len, 0);
}

static void
test_what_no_verifier_should_see_is_not_written(void **state)
{
    static const char *const empty[] = {""};
    struct attestation_params params = good_params();
    struct json *numbers = json_of("[1]"), *text = json_of("\"x\"");

    (void)state;
    params.agent_id = client.did; /* neither iss nor sub of an attestation is ever a DID */
    assert_params_refused(&params);
    params = good_params();
    params.ttl = 0;
    assert_params_refused(&params);
    params.ttl = 3601;
    assert_params_refused(&params);
    params = good_params();
    params.audience_count = 0;
    assert_params_refused(&params);
    params.audience_count = 1;
    params.audiences = empty;
    assert_params_refused(&params);
    params = good_params();
    params.capabilities = numbers;
    assert_params_refused(&params);
    params.capabilities = text;
    assert_params_refused(&params);
    params = good_params();
    params.jti = NULL;
    assert_params_refused(&params);
    json_free(text);
    json_free(numbers);
}

/* ---- verifying ---- */

static ath_err
verify(const struct party *signer, const char *token_header, const char *token_claims, int64_t now)
{
    struct attestation attestation = {0};
    struct ath_buf token = {0};
    struct why why = {""};
    ath_err err;

    token_sign(signer, token_header, token_claims, &token);
    err =
        attestation_verify(ath_buf_slice(&token), client.key, BASE, AGENT, now, &why, &attestation);
    assert_true((err == ATH_OK) == (why.text[0] == '\0'));
    if (err == ATH_OK)
        assert_string_equal(attestation.kid, public_key_jkt(client.key));
    attestation_done(&attestation);
    ath_buf_done(&token);
    return err;
}

static void
assert_edit(const char *name, const char *value, ath_err expected)
{
    char *changed = edited(claims, name, value);

    assert_int_equal(verify(&client, header, changed, NOW), expected);
    free(changed);
}

#define REFUSED ATH_ERR_INVALID_ATTESTATION

static void
test_a_good_attestation_is_accepted_with_its_claims(void **state)
{
    struct attestation attestation = {0};
    struct ath_buf token = {0};
    char *text;

    (void)state;
    token_sign(&client, header, claims, &token);
    assert_int_equal(
        attestation_verify(ath_buf_slice(&token), client.key, BASE, NULL, NOW, NULL, &attestation),
        ATH_OK);
    text = json_text(attestation.claims);
    assert_string_equal(text, claims);
    assert_string_equal(attestation.jti, "AAAAAAAAAAAAAAAAAAAAAA");
    assert_int_equal(attestation.expires_at, NOW + 300);
    assert_int_equal(attestation.fresh_until, NOW + 300);
    free(text);
    attestation_done(&attestation);
    ath_buf_done(&token);
}

/* They leave typ out, call their key "default", set exp an hour ahead, add claims. */
static void
test_attestations_of_official_clients_are_accepted(void **state)
{
    char *no_typ = edited(header, "typ", NULL), *theirs = edited(no_typ, "kid", "\"default\"");
    char *no_kid = edited(header, "kid", NULL);

    (void)state;
    assert_int_equal(verify(&client, no_typ, claims, NOW), ATH_OK);
    assert_int_equal(verify(&client, theirs, claims, NOW), ATH_OK);
    assert_int_equal(verify(&client, no_kid, claims, NOW), ATH_OK);
    assert_edit("exp", "1700003600", ATH_OK);
    assert_edit("capabilities", "[\"x\"]", ATH_OK);
    assert_edit("cnf", "{}", ATH_OK);
    free(no_kid);
    free(theirs);
    free(no_typ);
}

static void
test_another_kind_of_token_is_no_attestation(void **state)
{
    static const char *const typs[] = {"\"at+jwt\"", "\"ath-user-auth+jwt\"", "\"dpop+jwt\"",
                                       "\"jwt\"", "null"};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        char *changed = edited(header, "typ", typs[i]);

        assert_int_equal(verify(&client, changed, claims, NOW), REFUSED);
        free(changed);
    }
}

static void
test_only_the_key_of_the_agent_signs(void **state)
{
    char *es384 = edited(header, "alg", "\"EdDSA\"");

    (void)state;
    assert_int_equal(verify(&other, header, claims, NOW), ATH_ERR_INVALID_SIGNATURE);
    assert_int_equal(verify(&client, es384, claims, NOW), ATH_ERR_INVALID_SIGNATURE);
    free(es384);
}

/* iss of an attacker with sub of the victim passes the official verifier. */
static void
test_issuer_and_subject_are_one_agent(void **state)
{
    (void)state;
    assert_edit("iss", "\"https://agent.example\"", ATH_OK);
    assert_edit("iss", "\"https://evil.example\"", REFUSED);
    assert_edit("iss", "\"https://agent.example/\"", REFUSED);
    assert_edit("iss", "\"https://agent.exampl\"", REFUSED);
    assert_edit("iss", "\"https://agent.example.evil\"", REFUSED);
    assert_edit("iss", NULL, REFUSED);
    assert_edit("iss", "7", REFUSED);
    assert_edit("sub", "\"https://agent.example/other.json\"", REFUSED);
    assert_edit("sub", "\"did:ath:x\"", REFUSED);
    assert_edit("sub", NULL, REFUSED);
}

static void
test_the_audience_must_be_this_verifier(void **state)
{
    (void)state;
    assert_edit("aud", "[\"" BASE "/ath/token\",\"" BASE "\"]", ATH_OK);
    assert_edit("aud", "[\"" BASE "\"]", ATH_OK);
    assert_edit("aud", "\"" BASE "/\"", REFUSED);
    assert_edit("aud", "\"" BASE "/ath/token\"", REFUSED);
    assert_edit("aud", "[]", REFUSED);
    assert_edit("aud", "[\"" BASE "\",1]", REFUSED);
    assert_edit("aud", "\"\"", REFUSED);
    assert_edit("aud", "null", REFUSED);
    assert_edit("aud", NULL, REFUSED);
}

static void
test_times_hold(void **state)
{
    (void)state;
    assert_int_equal(verify(&client, header, claims, NOW + 299), ATH_OK);
    assert_int_equal(verify(&client, header, claims, NOW + 300), REFUSED); /* exp has no leeway */
    assert_int_equal(verify(&client, header, claims, NOW - 300), ATH_OK);
    assert_int_equal(verify(&client, header, claims, NOW - 301), ATH_ERR_TIMESTAMP_SKEW);
    assert_edit("exp", NULL, REFUSED);
    assert_edit("exp", "\"1700000300\"", REFUSED);
    assert_edit("iat", NULL, REFUSED);
    assert_edit("iat", "1699999699", ATH_ERR_TIMESTAMP_SKEW);
    assert_edit("iat", "1699999700", ATH_OK);
    assert_edit("nbf", "1700000301", REFUSED);
    assert_edit("nbf", "1700000000", ATH_OK);
}

/* exp in ten years must not fill the memory of used jtis for ten years. */
static void
test_replay_need_not_be_remembered_after_iat_is_too_old(void **state)
{
    char *far = edited(claims, "exp", "2015360000");
    struct attestation attestation = {0};
    struct ath_buf token = {0};

    (void)state;
    token_sign(&client, header, far, &token);
    assert_int_equal(
        attestation_verify(ath_buf_slice(&token), client.key, BASE, AGENT, NOW, NULL, &attestation),
        ATH_OK);
    assert_int_equal(attestation.expires_at, 2015360000);
    assert_int_equal(attestation.fresh_until, NOW + 300);
    assert_int_equal(verify(&client, header, far, attestation.fresh_until), ATH_OK);
    assert_int_equal(verify(&client, header, far, attestation.fresh_until + 1),
                     ATH_ERR_TIMESTAMP_SKEW);
    attestation_done(&attestation);
    ath_buf_done(&token);
    free(far);
}

static void
test_a_jti_is_a_text_of_1_to_128_bytes(void **state)
{
    char longest[JTI_MAX_LEN + 4] = {0};

    (void)state;
    assert_edit("jti", NULL, REFUSED);
    assert_edit("jti", "\"\"", REFUSED);
    assert_edit("jti", "7", REFUSED);
    assert_edit("jti", "\"x\"", ATH_OK);
    memset(longest, 'a', JTI_MAX_LEN + 3);
    longest[0] = longest[JTI_MAX_LEN + 2] = '"';
    assert_edit("jti", longest, REFUSED);
    longest[JTI_MAX_LEN + 1] = '"';
    longest[JTI_MAX_LEN + 2] = '\0';
    assert_edit("jti", longest, ATH_OK);
}

static ath_err
both_ways_body(void *ctx)
{
    struct attestation_params params = good_params();
    struct attestation attestation = {0};
    struct ath_buf input = {0};
    ath_err err;

    params.issuer_is_origin = true;
    if ((err = attestation_signing_input(&params, client.key, &input)) == ATH_OK)
        err = attestation_verify(ath_slice_of_string(ctx), client.key, BASE, AGENT, NOW, NULL,
                                 &attestation);
    attestation_done(&attestation);
    ath_buf_done(&input);
    return err;
}

static void
test_attestations_survive_each_failing_allocation(void **state)
{
    struct ath_buf token = {0};
    char *text;

    (void)state;
    token_sign(&client, header, claims, &token);
    text = ath_slice_dup(ath_buf_slice(&token));
    each_allocation_failing(both_ways_body, text);
    free(text);
    ath_buf_done(&token);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_agent_id_is_an_https_uri),
        cmocka_unit_test(test_the_origin_ends_before_path_and_query),
        cmocka_unit_test(test_the_written_form_is_the_one_all_official_verifiers_accept),
        cmocka_unit_test(test_what_no_verifier_should_see_is_not_written),
        cmocka_unit_test(test_a_good_attestation_is_accepted_with_its_claims),
        cmocka_unit_test(test_attestations_of_official_clients_are_accepted),
        cmocka_unit_test(test_another_kind_of_token_is_no_attestation),
        cmocka_unit_test(test_only_the_key_of_the_agent_signs),
        cmocka_unit_test(test_issuer_and_subject_are_one_agent),
        cmocka_unit_test(test_the_audience_must_be_this_verifier),
        cmocka_unit_test(test_times_hold),
        cmocka_unit_test(test_replay_need_not_be_remembered_after_iat_is_too_old),
        cmocka_unit_test(test_a_jti_is_a_text_of_1_to_128_bytes),
        cmocka_unit_test(test_attestations_survive_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
