#include "protocol/identity_document.h"

#include "tests/unit/protocol/token.h"

#define AGENT "https://agent.example/.well-known/agent.json"

static struct party client, edwards;

static int
set_up(void **state)
{
    (void)state;
    client = party_new(TEST_KEY_P256, DID_CLIENT, "client");
    edwards = party_new(TEST_KEY_ED25519, DID_CLIENT, "client");
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    party_done(&client);
    party_done(&edwards);
    return 0;
}

static const char full_display[] =
    "{\"name\":\"Travel "
    "agent\",\"developer\":{\"name\":\"Acme\",\"id\":\"acme\",\"contact\":\"a@b.example\"},"
    "\"capabilities\":[\"book\"]}";

static struct display
display_of(const char *text)
{
    struct json *json = json_of(text);
    struct display display = {0};

    assert_int_equal(display_decode(json, NULL, &display), ATH_OK);
    json_free(json);
    return display;
}

static void
test_a_display_is_written_as_it_was_read(void **state)
{
    static const char *const texts[] = {
        full_display, "{\"name\":\"x\"}",
        "{\"name\":\"x\",\"developer\":{\"name\":\"y\",\"id\":\"z\"}}"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct display display = display_of(texts[i]);
        struct json *json = NULL;
        char *text;

        assert_int_equal(display_encode(&display, &json), ATH_OK);
        text = json_text(json);
        assert_string_equal(text, texts[i]);
        free(text);
        json_free(json);
        display_done(&display);
    }
}

static void
test_a_display_of_another_form_is_refused(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "\"x\"",
        "{\"name\":\"\"}",
        "{\"name\":7}",
        "{\"name\":null}",
        "{\"name\":\"x\",\"url\":\"y\"}",
        "{\"name\":\"x\",\"developer\":\"Acme\"}",
        "{\"name\":\"x\",\"developer\":{\"name\":\"Acme\"}}",
        "{\"name\":\"x\",\"developer\":{\"name\":\"Acme\",\"id\":\"i\",\"mail\":\"m\"}}",
        "{\"name\":\"x\",\"developer\":{\"name\":\"Acme\",\"id\":\"i\",\"contact\":null}}",
        "{\"name\":\"x\",\"capabilities\":\"y\"}",
        "{\"name\":\"x\",\"capabilities\":[\"\"]}",
        "{\"name\":\"x\",\"capabilities\":[7]}",
        "{\"name\":\"x\",\"capabilities\":null}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct json *json = json_of(bad[i]);
        struct display display = {0};
        struct why why = {""};

        assert_int_equal(display_decode(json, &why, &display), ATH_ERR_INVALID_PARAMS);
        assert_true(why.text[0] != '\0');
        assert_null(display.name);
        json_free(json);
    }
}

static void
test_the_document_is_the_one_all_official_verifiers_read(void **state)
{
    struct display display = display_of(full_display);
    struct json *document = NULL, *jwk = NULL;
    struct ath_buf expected = {0};
    char *text;

    (void)state;
    assert_int_equal(public_key_jwk(client.key, &jwk), ATH_OK);
    ath_buf_printf(&expected,
                   "{\"ath_version\":\"0.1\",\"agent_id\":\"" AGENT "\",\"name\":\"Travel agent\","
                   "\"developer\":{\"name\":\"Acme\",\"id\":\"acme\",\"contact\":\"a@b.example\"},"
                   "\"public_key\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\","
                   "\"kid\":\"%s\",\"alg\":\"ES256\",\"use\":\"sig\"},\"capabilities\":[\"book\"]}",
                   json_get_string(jwk, "x"), json_get_string(jwk, "y"),
                   public_key_jkt(client.key));
    assert_int_equal(identity_document_build(AGENT, &display, client.key, &document), ATH_OK);
    text = json_text(document);
    assert_string_equal(text, ath_buf_text(&expected));
    free(text);
    ath_buf_done(&expected);
    json_free(jwk);
    json_free(document);
    display_done(&display);
}

static void
test_a_document_without_display_has_no_null_in_it(void **state)
{
    struct json *document = NULL;

    (void)state;
    assert_int_equal(identity_document_build(AGENT, NULL, client.key, &document), ATH_OK);
    assert_string_equal(json_get_string(document, "name"), AGENT);
    assert_null(json_get(document, "developer"));
    assert_null(json_get(document, "capabilities"));
    json_free(document);
    document = NULL;
    assert_int_equal(identity_document_build(client.did, NULL, client.key, &document),
                     ATH_ERR_INVALID_PARAMS);
    assert_null(document);
}

static void
test_what_is_built_is_read(void **state)
{
    const struct party *parties[] = {&client, &edwards};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct json *document = NULL;
        struct public_key *key = NULL;
        const char *agent_id = NULL;

        assert_int_equal(identity_document_build(AGENT, NULL, parties[i]->key, &document), ATH_OK);
        assert_int_equal(identity_document_read(document, NULL, &agent_id, &key), ATH_OK);
        assert_string_equal(agent_id, AGENT);
        assert_true(public_key_equal(key, parties[i]->key));
        public_key_free(key);
        json_free(document);
    }
}

static ath_err
read_text(const char *text)
{
    struct json *document = json_of(text);
    struct public_key *key = NULL;
    const char *agent_id = NULL;
    struct why why = {""};
    ath_err err = identity_document_read(document, &why, &agent_id, &key);

    assert_true((err == ATH_OK) == (key != NULL) && (err == ATH_OK) == (why.text[0] == '\0'));
    if (err == ATH_OK)
        assert_string_equal(agent_id, AGENT);
    public_key_free(key);
    json_free(document);
    return err;
}

#define PEM                                                                                        \
    "-----BEGIN PUBLIC "                                                                           \
    "KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7"                  \
    "\\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\\n-----END PUBLIC "           \
    "KEY-----\\n"
#define JWK                                                                                        \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","     \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define DOCUMENT(key) "{\"agent_id\":\"" AGENT "\",\"public_key\":" key "}"

static void
test_a_key_may_be_a_jwk_or_pem(void **state)
{
    (void)state;
    assert_int_equal(read_text(DOCUMENT(JWK "}")), ATH_OK);
    assert_int_equal(read_text(DOCUMENT("\"" PEM "\"")), ATH_OK);
    assert_int_equal(
        read_text(DOCUMENT(JWK ",\"use\":\"sig\",\"alg\":\"ES256\",\"key_ops\":[\"verify\"]}")),
        ATH_OK);
}

static void
test_a_key_that_is_not_for_verifying_is_refused(void **state)
{
    static const char *const bad[] = {
        DOCUMENT(JWK ",\"use\":\"enc\"}"),
        DOCUMENT(JWK ",\"use\":7}"),
        DOCUMENT(JWK ",\"alg\":\"ES384\"}"),
        DOCUMENT(JWK ",\"alg\":\"none\"}"),
        DOCUMENT(JWK ",\"key_ops\":[\"sign\"]}"),
        DOCUMENT(JWK ",\"key_ops\":\"verify\"}"),
        DOCUMENT(JWK ",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}"),
        DOCUMENT("{\"keys\":[" JWK "}]}"),
        DOCUMENT("[" JWK "}]"),
        DOCUMENT("\"x\""),
        DOCUMENT("null"),
        "{\"agent_id\":\"" AGENT "\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(read_text(bad[i]), ATH_ERR_INVALID_PUBLIC_KEY);
}

static void
test_a_document_without_an_agent_id_is_refused(void **state)
{
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "7",
                                      "{\"public_key\":" JWK "}}",
                                      "{\"agent_id\":\"did:ath:x\",\"public_key\":" JWK "}}",
                                      "{\"agent_id\":7,\"public_key\":" JWK "}}"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(read_text(bad[i]), ATH_ERR_INVALID_ATTESTATION);
}

static ath_err
both_ways_body(void *ctx)
{
    struct display display = {0};
    struct json *document = NULL, *encoded = NULL;
    struct public_key *key = NULL;
    const char *agent_id;
    ath_err err;

    if ((err = display_decode(ctx, NULL, &display)) != ATH_OK ||
        (err = display_encode(&display, &encoded)) != ATH_OK ||
        (err = identity_document_build(AGENT, &display, client.key, &document)) != ATH_OK)
        goto out;
    err = identity_document_read(document, NULL, &agent_id, &key);
out:
    public_key_free(key);
    json_free(document);
    json_free(encoded);
    display_done(&display);
    return err;
}

static void
test_documents_survive_each_failing_allocation(void **state)
{
    struct json *json = json_of(full_display);

    (void)state;
    each_allocation_failing(both_ways_body, json);
    json_free(json);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_display_is_written_as_it_was_read),
        cmocka_unit_test(test_a_display_of_another_form_is_refused),
        cmocka_unit_test(test_the_document_is_the_one_all_official_verifiers_read),
        cmocka_unit_test(test_a_document_without_display_has_no_null_in_it),
        cmocka_unit_test(test_what_is_built_is_read),
        cmocka_unit_test(test_a_key_may_be_a_jwk_or_pem),
        cmocka_unit_test(test_a_key_that_is_not_for_verifying_is_refused),
        cmocka_unit_test(test_a_document_without_an_agent_id_is_refused),
        cmocka_unit_test(test_documents_survive_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
