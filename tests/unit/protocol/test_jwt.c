#include "protocol/jwt.h"

#include "tests/unit/protocol/token.h"

#define NOW 1700000000

static struct party server, client, user;

static int
set_up(void **state)
{
    (void)state;
    server = party_new(TEST_KEY_P256, DID_SERVER, "server");
    client = party_new(TEST_KEY_P256, DID_CLIENT, "client");
    user = party_new(TEST_KEY_P256, DID_USER, "user");
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    party_done(&server);
    party_done(&client);
    party_done(&user);
    return 0;
}

static void
fill(struct access_token *token)
{
    *token = (struct access_token){.issued_at = NOW, .expires_at = NOW + 600};
    token->server_did = ath_strdup(server.did);
    token->client_did = ath_strdup(client.did);
    token->user_did = ath_strdup(user.did);
    token->jti = ath_strdup("AAAAAAAAAAAAAAAAAAAAAA");
    memcpy(token->client_jkt, public_key_jkt(client.key), JKT_LEN + 1);
    memset(token->transcript, 7, sizeof(token->transcript));
    assert_int_equal(scope_list_split("mail:read mail:send", NULL, &token->scopes), ATH_OK);
}

static void
test_a_token_is_read_as_it_was_written(void **state)
{
    struct access_token token, again = {0};
    struct ath_buf input = {0}, text = {0};

    (void)state;
    fill(&token);
    token.restrictions = json_of("{\"rate_limit\":\"100/minute\"}");
    assert_int_equal(access_token_signing_input(&token, server.key, &input), ATH_OK);
    token_finish(&server, &input, &text);
    assert_int_equal(access_token_read(ath_buf_slice(&text), server.key, NULL, &again), ATH_OK);
    assert_string_equal(again.server_did, token.server_did);
    assert_string_equal(again.client_did, token.client_did);
    assert_string_equal(again.user_did, token.user_did);
    assert_string_equal(again.jti, token.jti);
    assert_string_equal(again.client_jkt, token.client_jkt);
    assert_true(scope_list_equal(&again.scopes, &token.scopes));
    assert_int_equal(again.issued_at, token.issued_at);
    assert_int_equal(again.expires_at, token.expires_at);
    assert_true(json_equal(again.restrictions, token.restrictions));
    assert_memory_equal(again.transcript, token.transcript, SHA256_LEN);
    access_token_done(&again);
    access_token_done(&token);
    ath_buf_done(&text);
    ath_buf_done(&input);
}

/* The claims of a good token, as text. */
static char *
good_claims(void)
{
    struct access_token token;
    struct json *claims = NULL;
    char *text;

    fill(&token);
    assert_int_equal(access_token_claims(&token, &claims), ATH_OK);
    text = json_text(claims);
    json_free(claims);
    access_token_done(&token);
    return text;
}

static void
test_the_claims_are_those_of_the_profile(void **state)
{
    char *text = good_claims();
    struct ath_buf expected = {0};

    (void)state;
    ath_buf_printf(&expected,
                   "{\"iss\":\"%s\",\"sub\":\"%s\",\"aud\":\"%s\",\"user_did\":\"%s\","
                   "\"scope\":\"mail:read mail:send\",\"iat\":1700000000,\"exp\":1700000600,"
                   "\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"cnf\":{\"jkt\":\"%s\"},"
                   "\"ath_th\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\"}",
                   server.did, client.did, server.did, user.did, public_key_jkt(client.key));
    assert_string_equal(text, ath_buf_text(&expected));
    ath_buf_done(&expected);
    free(text);
}

static ath_err
read_text(const char *typ, const char *claims, const struct party *signer,
          struct access_token *ret_token)
{
    char *header = header_of(signer, typ, false);
    struct ath_buf text = {0};
    struct why why = {""};
    ath_err err;

    token_sign(signer, header, claims, &text);
    err = access_token_read(ath_buf_slice(&text), server.key, &why, ret_token);
    assert_true((err == ATH_OK) == (why.text[0] == '\0'));
    ath_buf_done(&text);
    free(header);
    return err;
}

static void
assert_edit_refused(const char *name, const char *value)
{
    char *good = good_claims(), *bad = edited(good, name, value);
    struct access_token token = {0};

    assert_int_equal(read_text("at+jwt", bad, &server, &token), ATH_ERR_INVALID_CREDENTIAL);
    assert_null(token.claims);
    free(bad);
    free(good);
}

static void
test_every_claim_has_its_form(void **state)
{
    static const char *const required[] = {"iss", "sub", "aud", "user_did", "scope",
                                           "iat", "exp", "jti", "cnf",      "ath_th"};

    (void)state;
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        assert_edit_refused(required[i], NULL);
        assert_edit_refused(required[i], "null");
        assert_edit_refused(required[i], "[]");
        assert_edit_refused(required[i], "\"\"");
    }
    assert_edit_refused("iss", "\"https://server.example\"");
    assert_edit_refused("aud", "\"did:ath:other\"");
    assert_edit_refused("scope", "\"a  b\"");
    assert_edit_refused("scope", "\"a a\"");
    assert_edit_refused("scope", "[\"mail:read\"]");
    assert_edit_refused("exp", "1700000000");
    assert_edit_refused("exp", "1700003601"); /* more than an hour */
    assert_edit_refused("exp", "\"1700000600\"");
    assert_edit_refused("nbf", "\"1700000000\"");
    assert_edit_refused("cnf", "{\"jkt\":\"short\"}");
    assert_edit_refused("cnf", "{\"jwk\":{}}");
    assert_edit_refused("ath_th",
                        "\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd\""); /* unused bits */
    assert_edit_refused("ath_th", "\"AAAAAAAAAAAAAAAAAAAAAA\"");
    assert_edit_refused("restrictions", "[]");
    assert_edit_refused("restrictions", "null");
}

/* aud as an array would let one token stand for several servers. */
static void
test_the_audience_is_one_text(void **state)
{
    struct ath_buf aud = {0};

    (void)state;
    ath_buf_printf(&aud, "[\"%s\"]", server.did);
    assert_edit_refused("aud", ath_buf_text(&aud));
    ath_buf_done(&aud);
}

static void
test_another_kind_of_token_or_key_is_refused(void **state)
{
    char *claims = good_claims();
    struct access_token token = {0};

    (void)state;
    assert_int_equal(read_text("JWT", claims, &server, &token), ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(read_text("ath-user-auth+jwt", claims, &server, &token),
                     ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(read_text("at+jwt", claims, &client, &token), ATH_ERR_INVALID_SIGNATURE);
    assert_int_equal(access_token_read(ath_slice_of_string("x"), server.key, NULL, &token),
                     ATH_ERR_INVALID_CREDENTIAL);
    free(claims);
}

static void
test_a_token_is_current_between_its_times(void **state)
{
    char *good = good_claims(), *later = edited(good, "nbf", "1700000500");
    struct access_token token = {0};

    (void)state;
    assert_int_equal(read_text("at+jwt", good, &server, &token), ATH_OK);
    assert_true(access_token_is_current(&token, NOW));
    assert_true(access_token_is_current(&token, NOW + 599));
    assert_false(access_token_is_current(&token, NOW + 600));
    assert_true(access_token_is_current(&token, NOW - 300));
    assert_false(access_token_is_current(&token, NOW - 301));
    access_token_done(&token);
    assert_int_equal(read_text("at+jwt", later, &server, &token), ATH_OK);
    assert_false(access_token_is_current(&token, NOW));
    assert_true(access_token_is_current(&token, NOW + 200));
    access_token_done(&token);
    free(later);
    free(good);
}

static void
test_the_claims_are_given_as_they_came(void **state)
{
    char *good = good_claims(), *more = edited(good, "extra", "{\"a\":[1]}"), *given;
    struct access_token token = {0};
    struct json *claims = NULL;

    (void)state;
    assert_int_equal(read_text("at+jwt", more, &server, &token), ATH_OK);
    assert_int_equal(access_token_claims(&token, &claims), ATH_OK);
    given = json_text(claims);
    assert_string_equal(given, more);
    free(given);
    json_free(claims);
    access_token_done(&token);
    free(more);
    free(good);
}

static ath_err
read_body(void *ctx)
{
    struct access_token token = {0};
    struct json *claims = NULL;
    struct ath_buf input = {0};
    ath_err err;

    if ((err = access_token_read(ath_slice_of_string(ctx), server.key, NULL, &token)) == ATH_OK &&
        (err = access_token_claims(&token, &claims)) == ATH_OK)
        err = access_token_signing_input(&token, server.key, &input);
    ath_buf_done(&input);
    json_free(claims);
    access_token_done(&token);
    return err;
}

static void
test_tokens_survive_each_failing_allocation(void **state)
{
    char *good = good_claims(), *claims = edited(good, "restrictions", "{\"a\":1}"), *text;
    char *header = header_of(&server, "at+jwt", false);
    struct ath_buf token = {0};

    (void)state;
    token_sign(&server, header, claims, &token);
    text = ath_slice_dup(ath_buf_slice(&token));
    each_allocation_failing(read_body, text);
    free(text);
    ath_buf_done(&token);
    free(header);
    free(claims);
    free(good);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_is_read_as_it_was_written),
        cmocka_unit_test(test_the_claims_are_those_of_the_profile),
        cmocka_unit_test(test_every_claim_has_its_form),
        cmocka_unit_test(test_the_audience_is_one_text),
        cmocka_unit_test(test_another_kind_of_token_or_key_is_refused),
        cmocka_unit_test(test_a_token_is_current_between_its_times),
        cmocka_unit_test(test_the_claims_are_given_as_they_came),
        cmocka_unit_test(test_tokens_survive_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
