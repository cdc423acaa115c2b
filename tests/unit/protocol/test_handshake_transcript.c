/* The transcript, and what signatures inside messages cover. */
#include "protocol/handshake_transcript.h"

#include "base/base64url.h"
#include "tests/support/handshake_scene.h"

static void
test_t0_is_the_hash_of_the_profiles_name(void **state)
{
    uint8_t t[SHA256_LEN], expected[SHA256_LEN];

    (void)state;
    transcript_start(t);
    assert_int_equal(sha256(ath_slice_of_string("ATH-TB1"), expected), ATH_OK);
    assert_memory_equal(t, expected, SHA256_LEN);
}

static void
test_transcript_hashes_the_canonical_form(void **state)
{
    struct json *message = scene_json("{\"b\":1,\"a\":\"\\u00e9\"}");
    uint8_t t[SHA256_LEN], hash[SHA256_LEN], expected[SHA256_LEN];

    (void)state;
    transcript_start(t);
    assert_int_equal(sha256(ath_slice_of_string("{\"a\":\"\xc3\xa9\",\"b\":1}"), hash), ATH_OK);
    assert_int_equal(sha256_2(ath_slice_of(t, sizeof(t)), ath_slice_of(hash, sizeof(hash)), expected),
                     ATH_OK);
    assert_int_equal(transcript_add(t, message), ATH_OK);
    assert_memory_equal(t, expected, SHA256_LEN);
    json_free(message);
}

static void
test_string_has_label_transcript_and_message(void **state)
{
    struct json *message = scene_json("{}");
    struct ath_buf string = {0};
    uint8_t t[SHA256_LEN];

    (void)state;
    transcript_start(t);
    assert_int_equal(handshake_string("client-hello", t, message, &string), ATH_OK);
    /* base64url of SHA-256 of "ATH-TB1" and of "{}" */
    assert_string_equal(ath_buf_text(&string),
                        "ATH-TB1 client-hello NRilkkr8-ySslJ_cbx6cndNGDVkkR4Smi07NKVVHZB4 "
                        "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o");
    ath_buf_done(&string);
    json_free(message);
}

static void
test_only_the_named_member_is_taken_out(void **state)
{
    struct json *message = scene_json("{\"signature\":\"a\",\"user_authorization\":"
                                      "{\"credential\":\"b\",\"signature\":\"c\"}}");
    struct json *outer = message_without(message, NULL, "signature");
    struct json *inner = message_without(message, "user_authorization", "signature");

    (void)state;
    assert_null(json_get(outer, "signature"));
    assert_non_null(json_get(json_get(outer, "user_authorization"), "signature"));
    assert_non_null(json_get(inner, "signature"));
    assert_null(json_get(json_get(inner, "user_authorization"), "signature"));
    assert_non_null(json_get(json_get(inner, "user_authorization"), "credential"));
    assert_non_null(json_get(message, "signature"));
    json_free(outer);
    json_free(inner);
    json_free(message);
}

static void
test_signature_holds_for_its_label_transcript_message_and_key_only(void **state)
{
    struct json *message = scene_json("{\"type\":\"x\"}"), *other = scene_json("{\"type\":\"y\"}");
    uint8_t t[SHA256_LEN], u[SHA256_LEN];
    struct party party, mallory;
    const char *text;

    (void)state;
    party_init(&party, DID_CLIENT, TEST_KEY_P256, "client");
    party_init(&mallory, DID_CLIENT, TEST_KEY_P256, "mallory");
    transcript_start(t);
    transcript_start(u);
    u[31] ^= 1;
    scene_sign_message(&party, "client-identity", t, message, NULL, "signature");
    text = json_get_string(message, "signature");
    {
        struct json *body = message_without(message, NULL, "signature");

        assert_int_equal(
            handshake_signature_verify(party.key, "client-identity", t, body, text, false), ATH_OK);
        assert_int_equal(
            handshake_signature_verify(party.key, "scope-request", t, body, text, false),
            ATH_ERR_INVALID_SIGNATURE);
        assert_int_equal(
            handshake_signature_verify(party.key, "client-identity", u, body, text, false),
            ATH_ERR_INVALID_SIGNATURE);
        assert_int_equal(
            handshake_signature_verify(party.key, "client-identity", t, other, text, false),
            ATH_ERR_INVALID_SIGNATURE);
        assert_int_equal(
            handshake_signature_verify(mallory.key, "client-identity", t, body, text, false),
            ATH_ERR_INVALID_SIGNATURE);
        json_free(body);
    }
    json_free(message);
    json_free(other);
    party_done(&party);
    party_done(&mallory);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_t0_is_the_hash_of_the_profiles_name),
        cmocka_unit_test(test_transcript_hashes_the_canonical_form),
        cmocka_unit_test(test_string_has_label_transcript_and_message),
        cmocka_unit_test(test_only_the_named_member_is_taken_out),
        cmocka_unit_test(test_signature_holds_for_its_label_transcript_message_and_key_only),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
