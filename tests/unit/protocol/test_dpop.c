#include "protocol/dpop.h"

#include "crypto/digest.h"
#include "token.h"

#define NOW 1790000000
#define TOKEN "ey.access.token"
#define CLAIMS                                                                                     \
    "{\"jti\":\"j-1\",\"htm\":\"GET\",\"htu\":\"https://api.example/mail\",\"iat\":1790000000,"    \
    "\"ath\":\"%s\"}"

struct fixture {
    struct party client, other;
    char claims[512];
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    uint8_t digest[SHA256_LEN];
    char ath[BASE64URL_LEN(SHA256_LEN) + 1];

    f->client = party_new(TEST_KEY_P256, DID_CLIENT, "client");
    f->other = party_new(TEST_KEY_P256, DID_CLIENT, "other");
    assert_int_equal(sha256(ath_slice_of_string(TOKEN), digest), ATH_OK);
    base64url_encode(ath_slice_of(digest, sizeof(digest)), ath);
    (void)snprintf(f->claims, sizeof(f->claims), CLAIMS, ath);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    party_done(&f->client);
    party_done(&f->other);
    free(f);
    return 0;
}

/* What a proof with these claims and this header by `signer` is judged, for the client's key. */
static ath_err
judge(const struct fixture *f, const struct party *signer, const char *header, const char *claims,
      const char *method, const char *uri, int64_t now)
{
    const struct dpop_expected expected = {ath_slice_of_string(TOKEN),
                                           public_key_jkt(f->client.key), method, uri, now};
    struct ath_buf proof = {.max = JWS_MAX_LEN};
    char *own_header = header == NULL ? header_of(signer, DPOP_TYP, true) : NULL, *jti = NULL;
    int64_t fresh_until = 0;
    ath_err err;

    token_sign(signer, header == NULL ? own_header : header, claims, &proof);
    err = dpop_check(ath_buf_slice(&proof), &expected, NULL, &jti, &fresh_until);
    if (err == ATH_OK) {
        assert_string_equal(jti, "j-1");
        assert_int_equal(fresh_until, NOW + 300);
    } else {
        assert_null(jti);
    }
    free(jti);
    free(own_header);
    ath_buf_done(&proof);
    return err;
}

static ath_err
judge_claims(const struct fixture *f, const char *name, const char *value)
{
    char *claims = edited(f->claims, name, value);
    ath_err err = judge(f, &f->client, NULL, claims, NULL, NULL, NOW);

    free(claims);
    return err;
}

static void
test_proof_by_the_tokens_key_holds(void **state)
{
    const struct fixture *f = *state;

    assert_int_equal(judge(f, &f->client, NULL, f->claims, NULL, NULL, NOW), ATH_OK);
    assert_int_equal(judge(f, &f->client, NULL, f->claims, "GET", "https://api.example/mail", NOW),
                     ATH_OK);
    assert_int_equal(
        judge(f, &f->client, NULL, f->claims, "GET", "https://api.example/mail?x=1#y", NOW),
        ATH_OK);
}

static void
test_proof_by_another_key_is_refused(void **state)
{
    const struct fixture *f = *state;
    char *header = header_of(&f->client, DPOP_TYP, true);

    assert_int_equal(judge(f, &f->other, NULL, f->claims, NULL, NULL, NOW),
                     ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(judge(f, &f->other, header, f->claims, NULL, NULL, NOW),
                     ATH_ERR_INVALID_SIGNATURE);
    free(header);
}

static void
test_header_must_say_what_it_is_and_hold_the_key(void **state)
{
    const struct fixture *f = *state;
    char *jwt = header_of(&f->client, "JWT", true),
         *keyless = header_of(&f->client, DPOP_TYP, false);

    assert_int_equal(judge(f, &f->client, jwt, f->claims, NULL, NULL, NOW),
                     ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(judge(f, &f->client, keyless, f->claims, NULL, NULL, NOW),
                     ATH_ERR_INVALID_CREDENTIAL);
    free(jwt);
    free(keyless);
}

static void
test_proof_for_another_token_or_request_is_refused(void **state)
{
    const struct fixture *f = *state;

    assert_int_equal(judge_claims(f, "ath", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""),
                     ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(judge(f, &f->client, NULL, f->claims, "POST", NULL, NOW),
                     ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(judge(f, &f->client, NULL, f->claims, NULL, "https://api.example/other", NOW),
                     ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(judge(f, &f->client, NULL, f->claims, NULL, "https://api.example/mai", NOW),
                     ATH_ERR_INVALID_CREDENTIAL);
}

static void
test_each_claim_is_needed(void **state)
{
    static const char *const names[] = {"jti", "htm", "htu", "iat", "ath"};
    const struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        assert_int_equal(judge_claims(f, names[i], NULL), ATH_ERR_INVALID_CREDENTIAL);
        assert_int_equal(judge_claims(f, names[i], "true"), ATH_ERR_INVALID_CREDENTIAL);
    }
    assert_int_equal(judge_claims(f, "jti", "\"\""), ATH_ERR_INVALID_CREDENTIAL);
}

static void
test_proof_is_fresh_for_300_s(void **state)
{
    const struct fixture *f = *state;

    assert_int_equal(judge(f, &f->client, NULL, f->claims, NULL, NULL, NOW + 300), ATH_OK);
    assert_int_equal(judge(f, &f->client, NULL, f->claims, NULL, NULL, NOW - 300), ATH_OK);
    assert_int_equal(judge(f, &f->client, NULL, f->claims, NULL, NULL, NOW + 301),
                     ATH_ERR_TIMESTAMP_SKEW);
    assert_int_equal(judge(f, &f->client, NULL, f->claims, NULL, NULL, NOW - 301),
                     ATH_ERR_TIMESTAMP_SKEW);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_proof_by_the_tokens_key_holds),
        TEST(test_proof_by_another_key_is_refused),
        TEST(test_header_must_say_what_it_is_and_hold_the_key),
        TEST(test_proof_for_another_token_or_request_is_refused),
        TEST(test_each_claim_is_needed),
        TEST(test_proof_is_fresh_for_300_s),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
