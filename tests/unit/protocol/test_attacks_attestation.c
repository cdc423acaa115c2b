/* Attestations that are something else: iss and sub of an attestation never are DIDs, so that no
 * other token of the same key can stand for one, even where typ was left out (profile section 2).
 */
#include "protocol/attestation.h"

#include "crypto/digest.h"
#include "tests/unit/protocol/token.h"

#define NOW 1700000000
#define BASE "https://gateway.example"

static ath_err
verify(const char *subject, int64_t expires_at, const char *agent_id, int64_t *ret_fresh_until)
{
    struct party client = party_new(TEST_KEY_P256, DID_CLIENT, "client");
    struct attestation attestation = {0};
    struct ath_buf claims = {0}, token = {0};
    struct why why = {""};
    ath_err err;

    ath_buf_printf(&claims,
                   "{\"iss\":\"%s\",\"sub\":\"%s\",\"aud\":\"" BASE "\",\"iat\":%d,\"exp\":%lld,"
                   "\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\"}",
                   subject, subject, NOW, (long long)expires_at);
    token_sign(&client, "{\"alg\":\"ES256\"}", ath_buf_text(&claims), &token);
    err = attestation_verify(ath_buf_slice(&token), client.key, BASE, agent_id, NOW, &why,
                             &attestation);
    *ret_fresh_until = attestation.fresh_until;
    attestation_done(&attestation);
    ath_buf_done(&token);
    ath_buf_done(&claims);
    party_done(&client);
    return err;
}

static void
test_subject_that_is_no_agent_id_is_refused(void **state)
{
    static const char *const subjects[] = {"did:ath:client_x", "did:web:agent.example", "x",
                                           "http://agent.example/", "urn:agent:1"};
    int64_t fresh_until;

    (void)state;
    assert_int_equal(verify("https://agent.example/", NOW + 60, NULL, &fresh_until), ATH_OK);
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        assert_int_equal(verify(subjects[i], NOW + 60, NULL, &fresh_until),
                         ATH_ERR_INVALID_ATTESTATION);
        assert_int_equal(verify(subjects[i], NOW + 60, subjects[i], &fresh_until),
                         ATH_ERR_INVALID_ATTESTATION);
    }
}

static void
test_replay_is_remembered_until_it_is_no_longer_accepted(void **state)
{
    int64_t fresh_until = 0;

    (void)state;
    assert_int_equal(verify("https://agent.example/", NOW + 60, NULL, &fresh_until), ATH_OK);
    assert_int_equal(fresh_until, NOW + 60);
    assert_int_equal(
        verify("https://agent.example/", INT64_C(9007199254740991), NULL, &fresh_until), ATH_OK);
    assert_int_equal(fresh_until, NOW + 300);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subject_that_is_no_agent_id_is_refused),
        cmocka_unit_test(test_replay_is_remembered_until_it_is_no_longer_accepted),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
