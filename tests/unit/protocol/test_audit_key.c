/* Public audit keys as files: the one form athd writes, and those that people keep. */
#include "tests/support/support.h"

#include "base/base64url.h"
#include "crypto/digest.h"
#include "protocol/audit_key.h"
#include "tests/support/test_key.h"

#define JWK                                                                                        \
    "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","     \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}" /* RFC 7515 A.3.1 */

static struct public_key *
decode(const char *text)
{
    struct public_key *key = NULL;
    struct why why = {{0}};

    if (audit_key_decode(ath_slice_of_string(text), &why, &key) != ATH_OK)
        fail_msg("%s: %s", text, why.text);
    return key;
}

/* RFC 7638 3.3: the thumbprint is the digest of the file without its line feed. */
static void
test_the_file_is_the_thumbprints_input_and_a_line_feed(void **state)
{
    struct public_key *key = decode(JWK);
    struct ath_buf file = {0}, digest_text = {0};
    uint8_t digest[SHA256_LEN];

    (void)state;
    audit_key_put_file(key, &file);
    assert_string_equal(ath_buf_text(&file), JWK "\n");
    assert_int_equal(sha256(ath_slice_of_string(JWK), digest), ATH_OK);
    base64url_put(&digest_text, ath_slice_of(digest, sizeof(digest)));
    assert_string_equal(ath_buf_text(&digest_text), public_key_jkt(key));
    ath_buf_done(&file);
    ath_buf_done(&digest_text);
    public_key_free(key);
}

static void
test_white_space_around_either_form_is_passed_over(void **state)
{
    struct public_key *key = decode(JWK), *same;
    struct ath_buf pem = {0}, spaced = {0};

    (void)state;
    public_key_put_pem(key, &pem);
    same = decode(" \t\r\n" JWK "\r\n\t ");
    assert_string_equal(public_key_jkt(same), public_key_jkt(key));
    public_key_free(same);
    ath_buf_printf(&spaced, "\n \t%s\r\n \n", ath_buf_text(&pem));
    same = decode(ath_buf_text(&spaced));
    assert_string_equal(public_key_jkt(same), public_key_jkt(key));
    public_key_free(same);
    public_key_free(key);
    ath_buf_done(&pem);
    ath_buf_done(&spaced);
}

static void
test_what_is_no_audit_key_is_refused(void **state)
{
    static const char *const wrong[] = {"", " ", "\n", "{}", JWK "x", "x" JWK, "hello", "{"};
    static const enum test_key_kind others[] = {TEST_KEY_P384, TEST_KEY_ED25519};
    struct public_key *key = NULL;
    struct ath_buf text = {0};
    struct why why = {{0}};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (audit_key_decode(ath_slice_of_string(wrong[i]), &why, &key) == ATH_OK)
            fail_msg("\"%s\" was accepted", wrong[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct test_key *pair = test_key_new(others[i], "a");

        ath_buf_clear(&text);
        assert_int_equal(public_key_from_der(test_key_der(pair), &why, &key), ATH_OK);
        audit_key_put_file(key, &text);
        public_key_free(key);
        key = NULL;
        assert_int_equal(audit_key_decode(ath_buf_slice(&text), &why, &key),
                         ATH_ERR_INVALID_PUBLIC_KEY);
        assert_string_equal(why.text, "an audit key is of P-256 (ES256)");
        test_key_free(pair);
    }
    assert_null(key);
    ath_buf_done(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_file_is_the_thumbprints_input_and_a_line_feed),
        cmocka_unit_test(test_white_space_around_either_form_is_passed_over),
        cmocka_unit_test(test_what_is_no_audit_key_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
