#include "protocol/jws.h"

#include "tests/unit/protocol/token.h"

static struct party user, other, p384, edwards;

static int
set_up(void **state)
{
    (void)state;
    user = party_new(TEST_KEY_P256, DID_USER, "user");
    other = party_new(TEST_KEY_P256, DID_USER, "other");
    p384 = party_new(TEST_KEY_P384, DID_USER, "p384");
    edwards = party_new(TEST_KEY_ED25519, DID_USER, "edwards");
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    party_done(&user);
    party_done(&other);
    party_done(&p384);
    party_done(&edwards);
    return 0;
}

static void
test_what_is_written_is_read_and_verified(void **state)
{
    const struct party *parties[] = {&user, &p384, &edwards};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct json *claims = json_of("{\"iss\":\"x\",\"n\":1}");
        struct ath_buf input = {0}, token = {0};
        struct public_key *key = NULL;
        struct jws jws = {0};

        assert_int_equal(jws_signing_input(parties[i]->key, "JWT", true, claims, &input), ATH_OK);
        token_finish(parties[i], &input, &token);
        assert_int_equal(jws_decode(ath_buf_slice(&token), "JWT", NULL, &jws), ATH_OK);
        assert_true(json_equal(jws.claims, claims));
        assert_int_equal(jws.algorithm, public_key_algorithm(parties[i]->key));
        assert_int_equal(jws_verify(&jws, parties[i]->key, NULL), ATH_OK);
        assert_int_equal(jws_header_key(&jws, NULL, &key), ATH_OK);
        assert_true(public_key_equal(key, parties[i]->key));
        assert_int_equal(jws_verify(&jws, other.key, NULL), ATH_ERR_INVALID_SIGNATURE);
        public_key_free(key);
        jws_done(&jws);
        ath_buf_done(&token);
        ath_buf_done(&input);
        json_free(claims);
    }
}

/* Other implementations see exactly these bytes. */
static void
test_the_signing_input_has_alg_typ_kid_in_this_order(void **state)
{
    struct json *claims = json_of("{\"a\":\"b\"}");
    struct ath_buf input = {0}, expected = {0}, header = {0};

    (void)state;
    ath_buf_printf(&header, "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
                   public_key_jkt(user.key));
    base64url_put(&expected, ath_buf_slice(&header));
    ath_buf_put_string(&expected, ".eyJhIjoiYiJ9");
    assert_int_equal(jws_signing_input(user.key, "JWT", false, claims, &input), ATH_OK);
    assert_string_equal(ath_buf_text(&input), ath_buf_text(&expected));
    ath_buf_done(&header);
    ath_buf_done(&expected);
    ath_buf_done(&input);
    json_free(claims);
}

static void
assert_text_refused(const char *text)
{
    struct jws jws = {0};
    struct why why = {""};

    assert_int_equal(jws_decode(ath_slice_of_string(text), "JWT", &why, &jws), ATH_ERR_PARSE);
    assert_null(jws.header);
    assert_true(why.text[0] != '\0');
}

static void
assert_header_refused(const char *header)
{
    struct ath_buf token = {0};

    token_sign(&user, header, "{}", &token);
    assert_text_refused(ath_buf_text(&token));
    ath_buf_done(&token);
}

static void
assert_edit_refused(const char *name, const char *value)
{
    char *header = header_of(&user, "JWT", false), *changed = edited(header, name, value);

    assert_header_refused(changed);
    free(changed);
    free(header);
}

static void
test_members_that_change_what_is_signed_are_refused(void **state)
{
    (void)state;
    assert_edit_refused("crit", "[\"b64\"]");
    assert_edit_refused("b64", "false");
    assert_edit_refused("b64", "true");
    assert_edit_refused("zip", "\"DEF\"");
    assert_edit_refused("jku", "\"https://evil.example/keys\"");
    assert_edit_refused("x5u", "\"https://evil.example/cert\"");
    assert_edit_refused("x5c", "[]");
    assert_edit_refused("crit", "null");
}

static void
test_other_algorithms_and_types_are_refused(void **state)
{
    (void)state;
    assert_edit_refused("alg", "\"none\"");
    assert_edit_refused("alg", "\"HS256\"");
    assert_edit_refused("alg", "\"es256\"");
    assert_edit_refused("alg", "256");
    assert_edit_refused("alg", NULL);
    assert_edit_refused("alg", "\"ES384\""); /* with a signature of 64 bytes */
    assert_edit_refused("typ", "\"at+jwt\"");
    assert_edit_refused("typ", "\"jwt\"");
    assert_edit_refused("typ", "\"application/JWT\"");
    assert_edit_refused("typ", "null");
    assert_edit_refused("typ", NULL);
}

static void
test_unknown_members_are_ignored(void **state)
{
    char *header = header_of(&user, "JWT", false), *changed = edited(header, "cty", "\"x\"");
    struct ath_buf token = {0};
    struct jws jws = {0};

    (void)state;
    token_sign(&user, changed, "{\"unknown\":[]}", &token);
    assert_int_equal(jws_decode(ath_buf_slice(&token), "JWT", NULL, &jws), ATH_OK);
    assert_int_equal(jws_verify(&jws, user.key, NULL), ATH_OK);
    jws_done(&jws);
    ath_buf_done(&token);
    free(changed);
    free(header);
}

static void
test_header_and_claims_are_as_strict_as_a_message(void **state)
{
    static const char *const bad_claims[] = {"",
                                             "[]",
                                             "null",
                                             "\"a\"",
                                             "{}x",
                                             "{\"a\":1,\"a\":2}",
                                             "{\"a\":1.5}",
                                             "{\"a\":1e3}",
                                             "{\"a\":\"\\u0000\"}"};
    char *header = header_of(&user, "JWT", false);

    (void)state;
    for (size_t i = 0; i < sizeof(bad_claims) / sizeof(bad_claims[0]); i++) {
        struct ath_buf token = {0};

        token_sign(&user, header, bad_claims[i], &token);
        assert_text_refused(ath_buf_text(&token));
        ath_buf_done(&token);
    }
    assert_header_refused("{\"alg\":\"ES256\",\"typ\":\"JWT\",\"alg\":\"ES256\"}");
    assert_header_refused("{\"alg\":\"ES256\",\"typ\":\"JWT\",\"\\u0061lg\":\"none\"}");
    assert_header_refused("not json");
    free(header);
}

static void
test_text_that_is_not_three_strict_segments_is_refused(void **state)
{
    char *header = header_of(&user, "JWT", false);
    struct ath_buf token = {0}, changed = {0};
    struct jws jws = {0};

    (void)state;
    token_sign(&user, header, "{}", &token);
    assert_int_equal(jws_decode(ath_buf_slice(&token), "JWT", NULL, &jws), ATH_OK);
    jws_done(&jws);
    assert_text_refused("");
    assert_text_refused(".");
    assert_text_refused("..");
    assert_text_refused("...");
    ath_buf_printf(&changed, "%s.", ath_buf_text(&token));
    assert_text_refused(ath_buf_text(&changed));
    ath_buf_clear(&changed);
    ath_buf_printf(&changed, "%s=", ath_buf_text(&token));
    assert_text_refused(ath_buf_text(&changed));
    ath_buf_clear(&changed);
    ath_buf_printf(&changed, " %s", ath_buf_text(&token));
    assert_text_refused(ath_buf_text(&changed));
    ath_buf_clear(&changed);
    ath_buf_put(&changed, token.data, token.len - 1);
    assert_text_refused(ath_buf_text(&changed));
    ath_buf_clear(&changed);
    ath_buf_printf(&changed, "%s\n", ath_buf_text(&token));
    assert_text_refused(ath_buf_text(&changed));
    ath_buf_done(&changed);
    ath_buf_done(&token);
    free(header);
}

/* The last character of 64 bytes in base64url has four unused bits. */
static void
test_a_signature_has_one_text_only(void **state)
{
    char *header = header_of(&user, "JWT", false);
    struct ath_buf token = {0};

    (void)state;
    token_sign(&user, header, "{}", &token);
    token.data[token.len - 1]++;
    assert_text_refused(ath_buf_text(&token));
    ath_buf_done(&token);
    free(header);
}

static void
test_a_token_is_at_most_32_kib(void **state)
{
    char *header = header_of(&user, "JWT", false);
    struct ath_buf claims = {0}, token = {0};

    (void)state;
    ath_buf_put_string(&claims, "{\"a\":\"");
    for (unsigned i = 0; i < JWS_MAX_LEN; i++)
        ath_buf_put_byte(&claims, 'x');
    ath_buf_put_string(&claims, "\"}");
    token_sign(&user, header, ath_buf_text(&claims), &token);
    assert_text_refused(ath_buf_text(&token));
    ath_buf_done(&token);
    ath_buf_done(&claims);
    free(header);
}

static ath_err
verify_with(const char *header, const struct party *signer, const struct public_key *key,
            bool with_kid)
{
    struct ath_buf token = {0};
    struct jws jws = {0};
    ath_err err;

    token_sign(signer, header, "{}", &token);
    assert_int_equal(jws_decode(ath_buf_slice(&token), NULL, NULL, &jws), ATH_OK);
    err = with_kid ? jws_verify(&jws, key, NULL) : jws_verify_signature(&jws, key, NULL);
    jws_done(&jws);
    ath_buf_done(&token);
    return err;
}

static void
test_kid_must_be_the_keys_thumbprint(void **state)
{
    char *header = header_of(&user, "JWT", false);
    char *without = edited(header, "kid", NULL), *wrong = edited(header, "kid", "\"default\"");

    (void)state;
    assert_int_equal(verify_with(header, &user, user.key, true), ATH_OK);
    assert_int_equal(verify_with(without, &user, user.key, true), ATH_ERR_INVALID_SIGNATURE);
    assert_int_equal(verify_with(wrong, &user, user.key, true), ATH_ERR_INVALID_SIGNATURE);
    assert_int_equal(verify_with(without, &user, user.key, false), ATH_OK);
    assert_int_equal(verify_with(wrong, &user, user.key, false), ATH_OK);
    assert_int_equal(verify_with(header, &other, user.key, true), ATH_ERR_INVALID_SIGNATURE);
    assert_int_equal(verify_with(header, &other, user.key, false), ATH_ERR_INVALID_SIGNATURE);
    free(wrong);
    free(without);
    free(header);
}

/* ES256 and EdDSA signatures are equally long: the key decides, not the header. */
static void
test_alg_must_be_the_keys(void **state)
{
    char *header = header_of(&user, "JWT", false), *eddsa = edited(header, "alg", "\"EdDSA\"");

    (void)state;
    assert_int_equal(verify_with(eddsa, &user, user.key, true), ATH_ERR_INVALID_SIGNATURE);
    free(eddsa);
    free(header);
}

static void
test_a_header_key_must_be_a_public_jwk(void **state)
{
    char *header = header_of(&user, "JWT", false);
    char *with_private =
        edited(header, "jwk", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"d\":\"AA\"}");
    const char *headers[] = {header, with_private};
    const ath_err expected[] = {ATH_ERR_NOT_FOUND, ATH_ERR_INVALID_PUBLIC_KEY};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct public_key *key = NULL;
        struct ath_buf token = {0};
        struct jws jws = {0};

        token_sign(&user, headers[i], "{}", &token);
        assert_int_equal(jws_decode(ath_buf_slice(&token), "JWT", NULL, &jws), ATH_OK);
        assert_int_equal(jws_header_key(&jws, NULL, &key), expected[i]);
        jws_done(&jws);
        ath_buf_done(&token);
    }
    free(with_private);
    free(header);
}

static ath_err
both_ways_body(void *ctx)
{
    struct ath_buf input = {0};
    struct jws jws = {0};
    struct public_key *key = NULL;
    struct json_maker maker = {0};
    struct json *claims = NULL;
    ath_err err;

    json_object_begin(&maker);
    json_put_int(&maker, "a", 1);
    if ((err = json_maker_end(&maker, &claims)) != ATH_OK ||
        (err = jws_signing_input(user.key, "JWT", true, claims, &input)) != ATH_OK ||
        (err = jws_decode(ath_slice_of_string(ctx), "JWT", NULL, &jws)) != ATH_OK ||
        (err = jws_header_key(&jws, NULL, &key)) != ATH_OK)
        goto out;
    err = jws_verify(&jws, key, NULL);
out:
    public_key_free(key);
    jws_done(&jws);
    ath_buf_done(&input);
    json_free(claims);
    return err;
}

static void
test_tokens_survive_each_failing_allocation(void **state)
{
    char *header = header_of(&user, "JWT", true), *text;
    struct ath_buf token = {0};

    (void)state;
    token_sign(&user, header, "{}", &token);
    text = ath_slice_dup(ath_buf_slice(&token));
    each_allocation_failing(both_ways_body, text);
    free(text);
    ath_buf_done(&token);
    free(header);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read_and_verified),
        cmocka_unit_test(test_the_signing_input_has_alg_typ_kid_in_this_order),
        cmocka_unit_test(test_members_that_change_what_is_signed_are_refused),
        cmocka_unit_test(test_other_algorithms_and_types_are_refused),
        cmocka_unit_test(test_unknown_members_are_ignored),
        cmocka_unit_test(test_header_and_claims_are_as_strict_as_a_message),
        cmocka_unit_test(test_text_that_is_not_three_strict_segments_is_refused),
        cmocka_unit_test(test_a_signature_has_one_text_only),
        cmocka_unit_test(test_a_token_is_at_most_32_kib),
        cmocka_unit_test(test_kid_must_be_the_keys_thumbprint),
        cmocka_unit_test(test_alg_must_be_the_keys),
        cmocka_unit_test(test_a_header_key_must_be_a_public_jwk),
        cmocka_unit_test(test_tokens_survive_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
