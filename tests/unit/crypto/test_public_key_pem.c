#include "tests/unit/crypto/keys.h"

#define BEGIN "-----BEGIN PUBLIC KEY-----"
#define END "-----END PUBLIC KEY-----"
#define LINE1 "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7"
#define LINE2 "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ=="

static void
assert_pem_refused(const char *text)
{
    struct public_key *key = NULL;

    assert_int_equal(public_key_from_pem(ath_slice_of_string(text), NULL, &key),
                     ATH_ERR_INVALID_PUBLIC_KEY);
    assert_null(key);
}

static void
assert_pem_accepted(const char *text, const struct public_key *expected)
{
    struct public_key *key = NULL;

    assert_int_equal(public_key_from_pem(ath_slice_of_string(text), NULL, &key), ATH_OK);
    assert_true(public_key_equal(key, expected));
    public_key_free(key);
}

static void
test_pem_is_written_as_rfc_7468_draws_it(void **state)
{
    struct public_key *key = key_of_jwk(EC_JWK);
    struct ath_buf pem = {0};

    (void)state;
    public_key_put_pem(key, &pem);
    assert_string_equal(ath_buf_text(&pem), BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    ath_buf_done(&pem);
    public_key_free(key);
}

static void
test_pem_line_ends_may_be_lf_or_crlf(void **state)
{
    struct public_key *key = key_of_jwk(EC_JWK);

    (void)state;
    assert_pem_accepted(BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n", key);
    assert_pem_accepted(BEGIN "\n" LINE1 "\n" LINE2 "\n" END, key);
    assert_pem_accepted(BEGIN "\r\n" LINE1 "\r\n" LINE2 "\r\n" END "\r\n", key);
    assert_pem_accepted(BEGIN "\r\n" LINE1 "\r\n" LINE2 "\r\n" END, key);
    assert_pem_accepted(BEGIN "\n" LINE1 LINE2 "\n" END "\n",
                        key); /* RFC 7468 2: other line sizes */
    public_key_free(key);
}

static void
test_pem_with_anything_around_the_one_block_is_refused(void **state)
{
    (void)state;
    assert_pem_refused("");
    assert_pem_refused(BEGIN);
    assert_pem_refused(BEGIN "\n" END "\n");
    assert_pem_refused("\n" BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused(" " BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused("key:\n" BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused("\xef\xbb\xbf" BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n\n");
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n" END " ");
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\r");
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n" END "\n" BEGIN "\n" LINE1 "\n" LINE2
                             "\n" END "\n");
}

static void
test_pem_with_a_body_out_of_order_is_refused(void **state)
{
    (void)state;
    assert_pem_refused(BEGIN "\n" LINE1 "\n\n" LINE2 "\n" END "\n"); /* blank line */
    assert_pem_refused(BEGIN "\n\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused(BEGIN "\n" LINE1 " \n" LINE2 "\n" END "\n"); /* white space */
    assert_pem_refused(BEGIN "\n" LINE1 "\r" LINE2 "\r" END "\r");  /* old Mac */
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 END "\n");
    assert_pem_refused(BEGIN "\nProc-Type: 4\n\n" LINE1 "\n" LINE2 "\n" END "\n");
    assert_pem_refused(BEGIN "\n" LINE1
                             "\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ\n" END
                             "\n"); /* no padding */
    assert_pem_refused(BEGIN "\n" LINE1
                             "\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrR==\n" END
                             "\n"); /* unused bits */
    assert_pem_refused(BEGIN "\n" LINE1
                             "\n6e8Tus9uPHvRVEXH8UTNG72bfocs3-257rn0s2ldbqkLJK2KRiMohYjlrQ==\n" END
                             "\n"); /* the other alphabet */
    assert_pem_refused(BEGIN "\n" LINE1 "\n" LINE2 "\n-----END EC PUBLIC KEY-----\n");
    assert_pem_refused("-----BEGIN EC PRIVATE KEY-----\n" LINE1 "\n" LINE2
                       "\n-----END EC PRIVATE KEY-----\n");
    assert_pem_refused(BEGIN "\n" LINE1 LINE1 LINE1 LINE1 "\n" END "\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pem_is_written_as_rfc_7468_draws_it),
        cmocka_unit_test(test_pem_line_ends_may_be_lf_or_crlf),
        cmocka_unit_test(test_pem_with_anything_around_the_one_block_is_refused),
        cmocka_unit_test(test_pem_with_a_body_out_of_order_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
