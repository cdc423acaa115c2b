#include "protocol/did.h"

#include "protocol/protocol_limits.h"
#include "tests/unit/protocol/token.h"

static struct party user, other, edwards, p384;

static int
set_up(void **state)
{
    (void)state;
    user = party_new(TEST_KEY_P256, DID_USER, "user");
    other = party_new(TEST_KEY_P256, DID_USER, "other");
    edwards = party_new(TEST_KEY_ED25519, DID_CLIENT, "edwards");
    p384 = party_new(TEST_KEY_P384, DID_SERVER, "p384");
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    party_done(&user);
    party_done(&other);
    party_done(&edwards);
    party_done(&p384);
    return 0;
}

static const struct public_key *
pinned_key(void *ctx, const char *did)
{
    (void)ctx;
    /* the second one tries to pin a self-certifying DID to another key */
    return strcmp(did, "did:ath:printer") == 0 || strcmp(did, user.did) == 0 ? other.key : NULL;
}

static const struct did_pins pins = {pinned_key, NULL};

static void
test_a_did_is_its_role_and_the_keys_thumbprint(void **state)
{
    char expected[DID_ATH_MAX_LEN];

    (void)state;
    snprintf(expected, sizeof(expected), "did:ath:user_%s", public_key_jkt(user.key));
    assert_string_equal(user.did, expected);
    assert_int_equal(strncmp(p384.did, "did:ath:server_", 15), 0);
    assert_true(strlen(p384.did) < DID_ATH_MAX_LEN);
    assert_true(did_is_valid(user.did));
    assert_true(did_is_self_certifying(user.did));
}

static void
test_roles_have_one_name_each(void **state)
{
    enum did_role role;

    (void)state;
    assert_true(did_role_parse("server", &role));
    assert_int_equal(role, DID_SERVER);
    assert_string_equal(did_role_name(DID_CLIENT), "client");
    assert_false(did_role_parse("Server", &role));
    assert_false(did_role_parse("", &role));
    assert_false(did_role_parse(NULL, &role));
}

static void
test_what_is_no_did_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "did",
                                      "did:",
                                      "did:ath",
                                      "did:ath:",
                                      "did::x",
                                      "DID:ath:x",
                                      "did:Ath:x",
                                      "did:ath:x:",
                                      "did:ath:a b",
                                      "did:ath:a\tb",
                                      "did:ath:a\n",
                                      "did:ath:\xc3\xa9",
                                      "did:ath:x#key",
                                      "did:ath:x/p",
                                      "did:ath:x?q",
                                      " did:ath:x",
                                      "did:ath:x\"",
                                      "urn:ath:x",
                                      "https://x.example"};
    static const char *const good[] = {"did:ath:a", "did:ath:some_name",
                                       "did:web:example.com%3A8443:x", "did:ath:a-b.c_d",
                                       "did:x1:Z"};
    char text[DID_MAX_LEN + 2] = "did:ath:";

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(did_is_valid(bad[i]));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(did_is_valid(good[i]));
    assert_false(did_is_valid(NULL));
    memset(text + 8, 'a', DID_MAX_LEN + 1 - 8);
    assert_false(did_is_valid(text));
    text[DID_MAX_LEN] = '\0';
    assert_true(did_is_valid(text));
}

static void
test_only_the_exact_form_certifies_itself(void **state)
{
    char text[DID_ATH_MAX_LEN + 8];

    (void)state;
    assert_false(did_is_self_certifying("did:ath:user_short"));
    assert_false(did_is_self_certifying("did:ath:alice"));
    assert_false(did_is_self_certifying(NULL));
    snprintf(text, sizeof(text), "did:ath:admin_%s", public_key_jkt(user.key));
    assert_false(did_is_self_certifying(text));
    snprintf(text, sizeof(text), "%sx", user.did);
    assert_false(did_is_self_certifying(text));
    snprintf(text, sizeof(text), "%s", user.did);
    text[20] = '.';
    assert_false(did_is_self_certifying(text));
}

static ath_err
check(const char *did, enum did_role role, const struct party *party)
{
    struct why why = {""};
    ath_err err = did_check(did, role, party->key, &pins, &why);

    assert_true((err == ATH_OK) == (why.text[0] == '\0'));
    return err;
}

static void
test_a_self_certifying_did_stands_for_its_own_key_in_its_own_role(void **state)
{
    (void)state;
    assert_int_equal(check(user.did, DID_USER, &user), ATH_OK);
    assert_int_equal(check(edwards.did, DID_CLIENT, &edwards), ATH_OK);
    assert_int_equal(check(p384.did, DID_SERVER, &p384), ATH_OK);
    assert_int_equal(check(user.did, DID_CLIENT, &user), ATH_ERR_UNKNOWN_PEER);
    /* a pin to the other key does not help */
    assert_int_equal(check(user.did, DID_USER, &other), ATH_ERR_UNKNOWN_PEER);
}

static void
test_a_did_key_stands_for_its_key_in_each_role(void **state)
{
    struct ath_buf did = {0};

    (void)state;
    assert_int_equal(public_key_did_key(user.key, &did), ATH_OK);
    assert_true(did_is_key(ath_buf_text(&did)));
    assert_int_equal(check(ath_buf_text(&did), DID_USER, &user), ATH_OK);
    assert_int_equal(check(ath_buf_text(&did), DID_SERVER, &user), ATH_OK);
    assert_int_equal(check(ath_buf_text(&did), DID_USER, &other), ATH_ERR_UNKNOWN_PEER);
    assert_int_equal(check(ath_buf_text(&did), DID_USER, &p384), ATH_ERR_UNKNOWN_PEER);
    ath_buf_put_byte(&did, '1');
    assert_int_equal(check(ath_buf_text(&did), DID_USER, &user), ATH_ERR_UNKNOWN_PEER);
    ath_buf_done(&did);
}

static void
test_any_other_did_needs_a_pin(void **state)
{
    (void)state;
    assert_int_equal(check("did:ath:printer", DID_SERVER, &other), ATH_OK);
    assert_int_equal(check("did:ath:printer", DID_SERVER, &user), ATH_ERR_PEER_KEY_CHANGED);
    assert_int_equal(check("did:ath:scanner", DID_SERVER, &user), ATH_ERR_UNKNOWN_PEER);
    assert_int_equal(check("printer", DID_SERVER, &user), ATH_ERR_UNKNOWN_PEER);
    assert_int_equal(did_check("did:ath:printer", DID_SERVER, other.key, NULL, NULL),
                     ATH_ERR_UNKNOWN_PEER);
}

static void
test_a_did_resolves_to_the_key_it_stands_for(void **state)
{
    struct ath_buf did = {0};
    struct public_key *key;

    (void)state;
    assert_int_equal(public_key_did_key(edwards.key, &did), ATH_OK);
    key = did_resolve(ath_buf_text(&did), NULL);
    assert_true(key != NULL && public_key_equal(key, edwards.key));
    public_key_free(key);
    key = did_resolve("did:ath:printer", &pins);
    assert_true(key != NULL && public_key_equal(key, other.key));
    public_key_free(key);
    assert_null(did_resolve(user.did, &pins)); /* a thumbprint is no key, and its pin is void */
    assert_null(did_resolve("did:ath:scanner", &pins));
    assert_null(did_resolve("did:ath:printer", NULL));
    assert_null(did_resolve("did:key:zzz", NULL));
    ath_buf_done(&did);
}

static ath_err
check_body(void *ctx)
{
    return did_check(ctx, DID_USER, user.key, NULL, NULL);
}

static void
test_a_check_survives_each_failing_allocation(void **state)
{
    struct ath_buf did = {0};
    char *text;

    (void)state;
    assert_int_equal(public_key_did_key(user.key, &did), ATH_OK);
    text = ath_slice_dup(ath_buf_slice(&did));
    each_allocation_failing(check_body, text);
    free(text);
    ath_buf_done(&did);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_did_is_its_role_and_the_keys_thumbprint),
        cmocka_unit_test(test_roles_have_one_name_each),
        cmocka_unit_test(test_what_is_no_did_is_refused),
        cmocka_unit_test(test_only_the_exact_form_certifies_itself),
        cmocka_unit_test(test_a_self_certifying_did_stands_for_its_own_key_in_its_own_role),
        cmocka_unit_test(test_a_did_key_stands_for_its_key_in_each_role),
        cmocka_unit_test(test_any_other_did_needs_a_pin),
        cmocka_unit_test(test_a_did_resolves_to_the_key_it_stands_for),
        cmocka_unit_test(test_a_check_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
