#include "protocol/user_grant.h"

#include "protocol/handshake_transcript.h"
#include "tests/unit/protocol/token.h"

#define NOW 1700000000

static struct party user, other, client, server;
static struct ath_buf claims_buf, object_buf;
static const char *claims; /* of a good grant in JWS form */
static const char *object; /* a good grant in object form, not signed */
static char *header;       /* of a good grant */

static int
set_up(void **state)
{
    char *pem;
    struct ath_buf pem_buf = {0}, escaped = {0};

    (void)state;
    user = party_new(TEST_KEY_P256, DID_USER, "user");
    other = party_new(TEST_KEY_P256, DID_USER, "other");
    client = party_new(TEST_KEY_P256, DID_CLIENT, "client");
    server = party_new(TEST_KEY_P256, DID_SERVER, "server");
    header = header_of(&user, "ath-user-auth+jwt", true);
    ath_buf_printf(
        &claims_buf,
        "{\"iss\":\"%s\",\"user_did\":\"%s\",\"sub\":\"%s\",\"client_did\":\"%s\","
        "\"aud\":\"%s\",\"scopes\":[\"mail:read\",\"mail:send\"],\"iat\":1700000000,"
        "\"exp\":1700086400,\"expires_at\":1700086400,\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\"}",
        user.did, user.did, client.did, client.did, server.did);
    claims = ath_buf_text(&claims_buf);
    public_key_put_pem(user.key, &pem_buf);
    pem = ath_slice_dup(ath_buf_slice(&pem_buf));
    for (char *c = pem; *c != '\0'; c++)
        if (*c == '\n')
            ath_buf_put_string(&escaped, "\\n");
        else
            ath_buf_put_byte(&escaped, (uint8_t)*c);
    ath_buf_printf(&object_buf,
                   "{\"user_did\":\"%s\",\"client_did\":\"%s\",\"scopes\":[\"mail:read\"],"
                   "\"expires_at\":1700086400,\"user_pubkey\":\"%s\"}",
                   user.did, client.did, ath_buf_text(&escaped));
    object = ath_buf_text(&object_buf);
    free(pem);
    ath_buf_done(&escaped);
    ath_buf_done(&pem_buf);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    ath_buf_done(&object_buf);
    ath_buf_done(&claims_buf);
    free(header);
    party_done(&user);
    party_done(&other);
    party_done(&client);
    party_done(&server);
    return 0;
}

static const struct public_key *
pinned_key(void *ctx, const char *did)
{
    (void)ctx;
    return strcmp(did, "did:ath:alice") == 0 ? user.key : NULL;
}

static const struct did_pins pins = {pinned_key, NULL};

/* The JWS as the JSON string that M5 carries; the caller frees it. */
static struct json *
jws_credential(const struct party *signer, const char *token_header, const char *token_claims)
{
    struct ath_buf token = {0}, quoted = {0};
    struct json *json;

    token_sign(signer, token_header, token_claims, &token);
    ath_buf_printf(&quoted, "\"%s\"", ath_buf_text(&token));
    json = json_of(ath_buf_text(&quoted));
    ath_buf_done(&quoted);
    ath_buf_done(&token);
    return json;
}

static ath_err
read_credential(const struct json *credential, int64_t now, struct user_grant *ret_grant)
{
    struct why why = {""};
    ath_err err = user_grant_read(credential, &pins, now, &why, ret_grant);

    assert_true(err == ATH_OK || err == ATH_ERR_INVALID_CREDENTIAL);
    assert_true((err == ATH_OK) == (why.text[0] == '\0'));
    return err;
}

static ath_err
read_jws(const struct party *signer, const char *token_header, const char *token_claims,
         int64_t now)
{
    struct json *credential = jws_credential(signer, token_header, token_claims);
    struct user_grant grant = {0};
    ath_err err = read_credential(credential, now, &grant);

    user_grant_done(&grant);
    json_free(credential);
    return err;
}

static void
test_what_is_written_is_read(void **state)
{
    char *audiences[] = {server.did, user.did};
    struct user_grant grant = {.user_did = user.did,
                               .client_did = client.did,
                               .issued_at = NOW,
                               .expires_at = NOW + 60,
                               .user_key = user.key},
                      again = {0};
    char jti[] = "AAAAAAAAAAAAAAAAAAAAAA";

    (void)state;
    grant.jti = jti;
    assert_int_equal(scope_list_split("mail:read x", NULL, &grant.scopes), ATH_OK);
    for (size_t count = 0; count <= 2; count++) {
        struct ath_buf input = {0}, token = {0}, quoted = {0};
        struct json *credential;

        grant.audiences = count > 0 ? audiences : NULL;
        grant.audience_count = count;
        assert_int_equal(user_grant_signing_input(&grant, &input), ATH_OK);
        token_finish(&user, &input, &token);
        ath_buf_printf(&quoted, "\"%s\"", ath_buf_text(&token));
        credential = json_of(ath_buf_text(&quoted));
        assert_int_equal(read_credential(credential, NOW, &again), ATH_OK);
        assert_string_equal(again.user_did, user.did);
        assert_string_equal(again.client_did, client.did);
        assert_string_equal(again.jti, jti);
        assert_true(scope_list_equal(&again.scopes, &grant.scopes));
        assert_int_equal(again.audience_count, count);
        assert_int_equal(again.issued_at, NOW);
        assert_int_equal(again.expires_at, NOW + 60);
        assert_true(public_key_equal(again.user_key, user.key));
        assert_true(user_grant_is_for(&again, client.did, server.did));
        assert_int_equal(user_grant_is_for(&again, client.did, "did:ath:elsewhere"), count == 0);
        assert_false(user_grant_is_for(&again, user.did, server.did));
        assert_true(user_grant_is_for(&again, client.did, NULL));
        user_grant_done(&again);
        json_free(credential);
        ath_buf_done(&quoted);
        ath_buf_done(&token);
        ath_buf_done(&input);
    }
    scope_list_done(&grant.scopes);
}

static void
assert_edit(const char *name, const char *value, ath_err expected)
{
    char *changed = edited(claims, name, value);

    assert_int_equal(read_jws(&user, header, changed, NOW), expected);
    free(changed);
}

#define REFUSED ATH_ERR_INVALID_CREDENTIAL

static void
test_every_claim_has_its_form(void **state)
{
    static const char *const required[] = {"iss", "user_did", "sub",        "client_did", "scopes",
                                           "iat", "exp",      "expires_at", "jti"};

    (void)state;
    assert_int_equal(read_jws(&user, header, claims, NOW), ATH_OK);
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        assert_edit(required[i], NULL, REFUSED);
        assert_edit(required[i], "null", REFUSED);
        assert_edit(required[i], "{}", REFUSED);
    }
    assert_edit("sub", "\"did:ath:somebody\"", REFUSED);
    assert_edit("client_did", "\"did:ath:somebody\"", REFUSED);
    assert_edit("scopes", "[]", REFUSED);
    assert_edit("scopes", "[\"a\",\"a\"]", REFUSED);
    assert_edit("scopes", "\"mail:read\"", REFUSED);
    assert_edit("unknown", "[1]", ATH_OK);
}

/* "any server" is said by leaving aud out, and in no other way */
static void
test_an_audience_that_is_empty_or_odd_is_not_any_server(void **state)
{
    static const char *const odd[] = {"null",
                                      "\"\"",
                                      "[]",
                                      "[\"\"]",
                                      "[null]",
                                      "{}",
                                      "0",
                                      "false",
                                      "\"https://server.example\"",
                                      "[\"did:ath:a\",7]",
                                      "\"*\""};
    struct ath_buf seventeen = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        assert_edit("aud", odd[i], REFUSED);
    assert_edit("aud", NULL, ATH_OK);
    ath_buf_put_string(&seventeen, "[\"did:ath:s0\"");
    for (int i = 1; i < 16; i++)
        ath_buf_printf(&seventeen, ",\"did:ath:s%d\"", i);
    ath_buf_put_byte(&seventeen, ']');
    assert_edit("aud", ath_buf_text(&seventeen), ATH_OK);
    seventeen.len--;
    ath_buf_put_string(&seventeen, ",\"did:ath:s16\"]");
    assert_edit("aud", ath_buf_text(&seventeen), REFUSED);
    ath_buf_done(&seventeen);
}

static void
test_times_agree_and_hold(void **state)
{
    (void)state;
    assert_edit("exp", "1700086401", REFUSED);
    assert_edit("expires_at", "1700086399", REFUSED);
    assert_edit("iat", "1700086400", REFUSED);
    assert_edit("iat", "1700000300", ATH_OK);
    assert_edit("iat", "1700000301", REFUSED);
    assert_edit("nbf", "1700000301", REFUSED);
    assert_int_equal(read_jws(&user, header, claims, NOW + 86399), ATH_OK);
    assert_int_equal(read_jws(&user, header, claims, NOW + 86400), REFUSED);
}

/* A key that anybody makes and calls somebody else's is the whole attack. */
static void
test_the_key_must_be_the_users(void **state)
{
    char *forged = header_of(&other, "ath-user-auth+jwt", true);
    char *without = edited(header, "jwk", NULL), *named = edited(header, "kid", "\"x\"");

    (void)state;
    assert_int_equal(read_jws(&other, forged, claims, NOW), REFUSED); /* his key, her DID */
    assert_int_equal(read_jws(&other, header, claims, NOW), REFUSED); /* her key, his signature */
    assert_int_equal(read_jws(&user, without, claims, NOW), REFUSED);
    assert_int_equal(read_jws(&user, named, claims, NOW), REFUSED);
    free(named);
    free(without);
    free(forged);
}

static void
test_another_kind_of_token_is_no_grant(void **state)
{
    static const char *const typs[] = {"JWT", "at+jwt", "ath-user-poll+jwt", "ATH-USER-AUTH+JWT"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char *wrong = header_of(&user, typs[i], true);

        assert_int_equal(read_jws(&user, wrong, claims, NOW), REFUSED);
        free(wrong);
    }
}

static void
test_a_pinned_user_may_have_any_did(void **state)
{
    char *iss = edited(claims, "iss", "\"did:ath:alice\""),
         *alice = edited(iss, "user_did", "\"did:ath:alice\"");
    char *forged = header_of(&other, "ath-user-auth+jwt", true);

    (void)state;
    assert_int_equal(read_jws(&user, header, alice, NOW), ATH_OK);
    assert_int_equal(read_jws(&other, forged, alice, NOW), REFUSED);
    free(forged);
    free(alice);
    free(iss);
}

/* ---- the object form ---- */

/* Signed as the profile says, with member `signature`. */
static struct json *
signed_object(const struct party *signer, const char *text)
{
    struct json *json = json_of(text);
    struct ath_buf string = {0}, signature = {0};
    uint8_t t0[SHA256_LEN];

    transcript_start(t0);
    assert_int_equal(handshake_string("user-authorization", t0, json, &string), ATH_OK);
    test_key_sign(signer->pair, ath_buf_slice(&string), &signature);
    assert_int_equal(message_put_signature(json, NULL, "signature", ath_buf_slice(&signature)),
                     ATH_OK);
    ath_buf_done(&signature);
    ath_buf_done(&string);
    return json;
}

static ath_err
read_object(const struct party *signer, const char *text, int64_t now)
{
    struct json *credential = signed_object(signer, text);
    struct user_grant grant = {0};
    ath_err err = read_credential(credential, now, &grant);

    user_grant_done(&grant);
    json_free(credential);
    return err;
}

static void
assert_object_edit(const char *name, const char *value, ath_err expected)
{
    char *changed = edited(object, name, value);

    assert_int_equal(read_object(&user, changed, NOW), expected);
    free(changed);
}

static void
test_the_object_form_is_read(void **state)
{
    struct json *credential = signed_object(&user, object);
    struct user_grant grant = {0};

    (void)state;
    assert_int_equal(read_credential(credential, NOW, &grant), ATH_OK);
    assert_string_equal(grant.user_did, user.did);
    assert_int_equal(grant.issued_at, 0);
    assert_null(grant.jti);
    assert_true(user_grant_is_for(&grant, client.did, server.did));
    user_grant_done(&grant);
    json_free(credential);
}

static void
test_the_object_forms_members_are_checked_alike(void **state)
{
    (void)state;
    assert_object_edit("user_did", NULL, REFUSED);
    assert_object_edit("client_did", "\"x\"", REFUSED);
    assert_object_edit("scopes", "[]", REFUSED);
    assert_object_edit("expires_at", "1700000000", REFUSED);
    assert_object_edit("expires_at", NULL, REFUSED);
    assert_object_edit("exp", "1700086400", ATH_OK);
    assert_object_edit("exp", "1800000000", REFUSED);
    assert_object_edit("iat", "1700000301", REFUSED);
    assert_object_edit("iss", "\"did:ath:somebody\"", REFUSED);
    assert_object_edit("sub", "\"did:ath:somebody\"", REFUSED);
    assert_object_edit("aud", "null", REFUSED);
    assert_object_edit("aud", "[\"did:ath:a\"]", ATH_OK);
    assert_object_edit("jti", "7", REFUSED);
    assert_object_edit("user_pubkey", "7", REFUSED);
    assert_object_edit("user_pubkey", "\"no pem\"", REFUSED);
    assert_object_edit("user_pubkey", NULL, REFUSED); /* a thumbprint is no key */
    assert_object_edit("note", "\"unknown, but signed\"", ATH_OK);
}

static void
test_the_object_needs_no_key_where_the_did_has_one(void **state)
{
    char *bare = edited(object, "user_pubkey", NULL),
         *pinned = edited(bare, "user_did", "\"did:ath:alice\"");
    struct ath_buf did = {0}, quoted = {0};
    char *by_key;

    (void)state;
    assert_int_equal(read_object(&user, pinned, NOW), ATH_OK);
    assert_int_equal(read_object(&other, pinned, NOW), REFUSED);
    assert_int_equal(public_key_did_key(user.key, &did), ATH_OK);
    ath_buf_printf(&quoted, "\"%s\"", ath_buf_text(&did));
    by_key = edited(bare, "user_did", ath_buf_text(&quoted));
    assert_int_equal(read_object(&user, by_key, NOW), ATH_OK);
    assert_int_equal(read_object(&other, by_key, NOW), REFUSED);
    free(by_key);
    ath_buf_done(&quoted);
    ath_buf_done(&did);
    free(pinned);
    free(bare);
}

static void
test_an_object_that_was_changed_is_refused(void **state)
{
    struct json *credential = signed_object(&user, object);
    char *text = json_text(credential),
         *changed = edited(text, "scopes", "[\"mail:read\",\"admin\"]");
    char *unsigned_one = edited(text, "signature", NULL);
    const char *const bad[] = {changed, unsigned_one, "{}", "[]", "null", "7"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct json *json = json_of(bad[i]);
        struct user_grant grant = {0};

        assert_int_equal(read_credential(json, NOW, &grant), REFUSED);
        json_free(json);
    }
    assert_int_equal(read_object(&other, object, NOW), REFUSED);
    free(unsigned_one);
    free(changed);
    free(text);
    json_free(credential);
}

/* ---- memory ---- */

static ath_err
read_body(void *ctx)
{
    struct user_grant grant = {0};
    struct ath_buf input = {0};
    ath_err err = user_grant_read(ctx, &pins, NOW, NULL, &grant);

    if (err == ATH_OK && grant.jti != NULL)
        err = user_grant_signing_input(&grant, &input);
    ath_buf_done(&input);
    user_grant_done(&grant);
    return err;
}

static void
test_both_forms_survive_each_failing_allocation(void **state)
{
    struct json *credentials[] = {jws_credential(&user, header, claims),
                                  signed_object(&user, object)};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        each_allocation_failing(read_body, credentials[i]);
        json_free(credentials[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_every_claim_has_its_form),
        cmocka_unit_test(test_an_audience_that_is_empty_or_odd_is_not_any_server),
        cmocka_unit_test(test_times_agree_and_hold),
        cmocka_unit_test(test_the_key_must_be_the_users),
        cmocka_unit_test(test_another_kind_of_token_is_no_grant),
        cmocka_unit_test(test_a_pinned_user_may_have_any_did),
        cmocka_unit_test(test_the_object_form_is_read),
        cmocka_unit_test(test_the_object_forms_members_are_checked_alike),
        cmocka_unit_test(test_the_object_needs_no_key_where_the_did_has_one),
        cmocka_unit_test(test_an_object_that_was_changed_is_refused),
        cmocka_unit_test(test_both_forms_survive_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
