#include "protocol/purpose.h"

#include "protocol/jws.h"
#include "tests/unit/protocol/token.h"

static struct party party;

static int
set_up(void **state)
{
    (void)state;
    party = party_new(TEST_KEY_P256, DID_USER, "user");
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    party_done(&party);
    return 0;
}

#define D1 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define D2 "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"

static ath_err
check(enum sign_purpose purpose, enum did_role role, const char *text)
{
    return purpose_check(purpose, role, ath_slice_of_string(text));
}

struct row {
    enum sign_purpose purpose;
    enum did_role role;
    const char *text;
};

static const struct row labels[] = {
    {PURPOSE_CLIENT_HELLO, DID_CLIENT, "client-hello"},
    {PURPOSE_SERVER_IDENTITY, DID_SERVER, "server-identity"},
    {PURPOSE_CLIENT_IDENTITY, DID_CLIENT, "client-identity"},
    {PURPOSE_SCOPE_REQUEST, DID_CLIENT, "scope-request"},
    {PURPOSE_CONFIRMATION_REQUEST, DID_SERVER, "confirmation-request"},
    {PURPOSE_USER_CONFIRMATION, DID_USER, "user-confirmation"},
};

static const struct row tokens[] = {
    {PURPOSE_USER_GRANT, DID_USER, "ath-user-auth+jwt"},
    {PURPOSE_ATTESTATION, DID_CLIENT, "JWT"},
    {PURPOSE_ACCESS_TOKEN, DID_SERVER, "at+jwt"},
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void
label_text(const char *label, char ret_text[256])
{
    snprintf(ret_text, 256, "ATH-TB1 %s " D1 " " D2, label);
}

static void
test_a_label_is_signed_by_its_own_role_for_its_own_purpose(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(labels); i++) {
        char text[256];

        label_text(labels[i].text, text);
        assert_string_equal(purpose_text(labels[i].purpose), labels[i].text);
        for (int role = DID_USER; role <= DID_SERVER; role++)
            for (int purpose = 0; purpose < PURPOSE_COUNT; purpose++) {
                bool own = (enum did_role)role == labels[i].role &&
                           (enum sign_purpose)purpose == labels[i].purpose;

                assert_int_equal(check((enum sign_purpose)purpose, (enum did_role)role, text),
                                 own ? ATH_OK : ATH_ERR_POLICY_DENIED);
            }
    }
}

static char *
signing_input(const char *typ)
{
    struct json *claims = json_of("{\"a\":1}");
    struct ath_buf input = {0};
    char *text;

    assert_int_equal(jws_signing_input(party.key, typ, false, claims, &input), ATH_OK);
    text = ath_slice_dup(ath_buf_slice(&input));
    ath_buf_done(&input);
    json_free(claims);
    return text;
}

static void
test_a_token_is_signed_by_its_own_role_for_its_own_purpose(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(tokens); i++) {
        char *text = signing_input(tokens[i].text);

        assert_string_equal(purpose_text(tokens[i].purpose), tokens[i].text);
        for (int role = DID_USER; role <= DID_SERVER; role++)
            for (int purpose = 0; purpose < PURPOSE_COUNT; purpose++) {
                bool own = (enum did_role)role == tokens[i].role &&
                           (enum sign_purpose)purpose == tokens[i].purpose;

                assert_int_equal(check((enum sign_purpose)purpose, (enum did_role)role, text),
                                 own ? ATH_OK : ATH_ERR_POLICY_DENIED);
            }
        free(text);
    }
}

static void
test_a_label_with_anything_else_in_it_is_not_signed(void **state)
{
    static const char *const bad[] = {
        "",
        "ATH-TB1 client-identity",
        "ATH-TB1 client-identity " D1,
        "ATH-TB1 client-identity " D1 " ",
        "ATH-TB1 client-identity " D1 " " D2 " ",
        "ATH-TB1 client-identity " D1 " " D2 "\n",
        "ATH-TB1 client-identity " D1 " " D2 "A",
        "ATH-TB1 client-identity " D1 "  " D2,
        "ATH-TB1  client-identity " D1 " " D2,
        " ATH-TB1 client-identity " D1 " " D2,
        "ATH-TB2 client-identity " D1 " " D2,
        "ATH-TB1 client-identityx " D1 " " D2,
        "ATH-TB1 client-identity " D1
        " BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", /* unused bits */
        "ATH-TB1 client-identity " D1 " BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB.A",
        "ATH-TB1 batch 2 " D1,
    };

    (void)state;
    assert_int_equal(
        check(PURPOSE_CLIENT_IDENTITY, DID_CLIENT, "ATH-TB1 client-identity " D1 " " D2), ATH_OK);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(check(PURPOSE_CLIENT_IDENTITY, DID_CLIENT, bad[i]), ATH_ERR_POLICY_DENIED);
    assert_int_equal(purpose_check(PURPOSE_CLIENT_IDENTITY, DID_CLIENT, (struct ath_slice){0}),
                     ATH_ERR_POLICY_DENIED);
}

/* The oracle of the literal protocol: a "nonce" that is a token's signing input. */
static void
test_a_nonce_is_never_signed(void **state)
{
    char *attestation = signing_input("JWT");

    (void)state;
    for (int purpose = 0; purpose < PURPOSE_COUNT; purpose++)
        for (int role = DID_USER; role <= DID_SERVER; role++) {
            assert_int_equal(check((enum sign_purpose)purpose, (enum did_role)role, D1),
                             ATH_ERR_POLICY_DENIED);
            if (purpose != PURPOSE_ATTESTATION)
                assert_int_equal(
                    check((enum sign_purpose)purpose, (enum did_role)role, attestation),
                    ATH_ERR_POLICY_DENIED);
        }
    free(attestation);
}

static void
assert_input_refused(const char *header, const char *claims)
{
    struct ath_buf input = {0};

    base64url_put(&input, ath_slice_of_string(header));
    ath_buf_put_byte(&input, '.');
    base64url_put(&input, ath_slice_of_string(claims));
    assert_int_equal(purpose_check(PURPOSE_ATTESTATION, DID_CLIENT, ath_buf_slice(&input)),
                     ATH_ERR_POLICY_DENIED);
    ath_buf_done(&input);
}

static void
test_a_signing_input_that_is_not_ours_is_not_signed(void **state)
{
    char *good = signing_input("JWT");
    struct ath_buf more = {0};

    (void)state;
    assert_int_equal(check(PURPOSE_ATTESTATION, DID_CLIENT, good), ATH_OK);
    ath_buf_printf(&more, "%s.", good);
    assert_int_equal(purpose_check(PURPOSE_ATTESTATION, DID_CLIENT, ath_buf_slice(&more)),
                     ATH_ERR_POLICY_DENIED);
    ath_buf_done(&more);
    assert_int_equal(check(PURPOSE_ATTESTATION, DID_CLIENT, strchr(good, '.')),
                     ATH_ERR_POLICY_DENIED);
    assert_input_refused("{\"alg\":\"none\",\"typ\":\"JWT\"}", "{}");
    assert_input_refused("{\"alg\":\"ES256\"}", "{}");
    assert_input_refused("{\"alg\":\"ES256\",\"typ\":\"JWT\",\"b64\":false}", "{}");
    assert_input_refused("{\"alg\":\"ES256\",\"typ\":\"JWT\",\"typ\":\"JWT\"}", "{}");
    assert_input_refused("{\"alg\":\"ES256\",\"typ\":\"JWT\"}", "[]");
    assert_input_refused("{\"alg\":\"ES256\",\"typ\":\"JWT\"}", "");
    free(good);
}

static void
test_a_purpose_that_does_not_exist_is_refused(void **state)
{
    (void)state;
    assert_int_equal(check(PURPOSE_COUNT, DID_USER, "ATH-TB1 x " D1 " " D2), ATH_ERR_POLICY_DENIED);
}

static ath_err
check_body(void *ctx)
{
    return check(PURPOSE_ATTESTATION, DID_CLIENT, ctx);
}

static void
test_a_check_survives_each_failing_allocation(void **state)
{
    char *text = signing_input("JWT");

    (void)state;
    each_allocation_failing(check_body, text);
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_label_is_signed_by_its_own_role_for_its_own_purpose),
        cmocka_unit_test(test_a_token_is_signed_by_its_own_role_for_its_own_purpose),
        cmocka_unit_test(test_a_label_with_anything_else_in_it_is_not_signed),
        cmocka_unit_test(test_a_nonce_is_never_signed),
        cmocka_unit_test(test_a_signing_input_that_is_not_ours_is_not_signed),
        cmocka_unit_test(test_a_purpose_that_does_not_exist_is_refused),
        cmocka_unit_test(test_a_check_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
